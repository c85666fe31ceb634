"""AP by class and precision against recall, against a brute-force curve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sr3d.evaluate.average_precision import score_matches
from sr3d.evaluate.detection_matches import DetectionMatches
from sr3d.evaluate.scored_files import ScoredDetections
from sr3d.geometry.box_set import BoxSet
from sr3d.study.report.figures.class_plots import (
    class_curves,
    draw_classes,
    draw_precision_recall,
    mean_curve,
)
from sr3d.study.report.figures.style import Names
from sr3d.study.report.findings import Findings
from tests.report.figure_trees import make_full_tree

CLASSES = ("chair", "table", "bed", "lamp")


def scored(seed: int) -> ScoredDetections:
    """Random detections of three classes. Lamps have no ground truth."""
    rng = np.random.default_rng(seed)
    truth_label, label = rng.integers(0, 3, 25), rng.integers(0, 4, 80)
    box = np.ones((80, 7), np.float32)
    index = np.array(
        [rng.choice(np.flatnonzero(truth_label == k)) if (truth_label == k).any() else -1
         for k in label]
    )  # fmt: skip
    iou = np.where(index < 0, 0.0, rng.random(80))
    score = (rng.permutation(80) / 80).astype(np.float32)
    return ScoredDetections(
        BoxSet(np.array(["a"] * 25), truth_label, box[:25]),
        BoxSet(np.array(["a"] * 80), label, box, score),
        DetectionMatches(index, iou),
    )


def brute_force(test: ScoredDetections, label: int) -> list[float]:
    """Highest precision of any prefix of the ranking with at least the requested recall."""
    assert test.detections.score is not None
    order = np.argsort(-test.detections.score)
    positives, taken, hits, points = int((test.truth.label == label).sum()), set(), 0, []
    for count, k in enumerate((k for k in order if test.detections.label[k] == label), start=1):
        gt = int(test.matching.index[k])
        if test.matching.iou[k] > 0.25 and gt not in taken:
            taken.add(gt)
            hits += 1
        points.append((hits / positives, hits / count))
    found = []
    for i in range(101):
        # A recall of 0 asks for the first true positive.
        least = max(i / 100, 1 / positives) - 1e-9
        found.append(max((p for recall, p in points if recall >= least), default=0.0))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_curves_are_those_of_a_brute_force_search(seed: int) -> None:
    test = scored(seed)
    curves = class_curves(test, CLASSES)
    assert "lamp" not in curves
    for name, curve in curves.items():
        assert curve.shape == (101,)
        assert np.allclose(curve, brute_force(test, CLASSES.index(name)))
    assert np.allclose(mean_curve(curves), np.mean(list(curves.values()), axis=0))
    # The area is the AP of the metric, up to the 101 recalls.
    ap = score_matches(test.truth, test.detections, test.matching, CLASSES)["per_class"]
    for name, curve in curves.items():
        assert 100 * curve[1:].mean() == pytest.approx(ap[name]["AP25"], abs=3)


def test_figures_of_classes(tmp_path: Path) -> None:
    make_full_tree(tmp_path, {"sr3d": [], "baseline": []})
    findings = Findings(tmp_path, "synthetic")
    names = Names({"sr3d": "SR3D", "baseline": "Baseline"})
    picture = draw_classes(findings, names).picture
    assert picture is not None
    per_class = (findings.summary("sr3d") or {})["per_class"]
    for axes, metric in zip(picture.axes, ("AP25", "AP50"), strict=True):
        assert [tick.get_text() for tick in axes.get_xticklabels()] == list(per_class)
        row = [tick.get_text() for tick in axes.get_yticklabels()].index("SR3D")
        written = [text.get_text() for text in axes.texts if text.get_position()[1] == row]
        assert written == [f"{scores[metric]:.0f}" for scores in per_class.values()]
    curves = draw_precision_recall(findings, names)
    assert curves.picture is not None
    mean, *titles = [axes.get_title() for axes in curves.picture.axes if axes.get_visible()]
    assert mean not in per_class
    assert set(titles) <= set(per_class)

    empty = Findings(tmp_path, "scannet")
    for canvas in (draw_classes(empty, names), draw_precision_recall(empty, names)):
        assert canvas.picture is None
        assert canvas.missing
