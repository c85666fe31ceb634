"""What happens to the ground truth of each class: found, badly localised, wrong class or missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np

from sr3d.config import config_from_dict
from sr3d.data.datasets import dataset_of
from sr3d.evaluate.detection_matches import best_ground_truth
from sr3d.evaluate.scored_files import ScoredDetections
from sr3d.study.report.figures.canvas import Canvas
from sr3d.study.report.figures.names import Names
from sr3d.study.report.figures.scenes import IOU, SCORE
from sr3d.study.report.figures.style import INK_ON_PICTURE, new_figure
from sr3d.study.report.findings import Findings
from sr3d.study.report.headline import settings_of_result

ERRORS_TITLE = "Where the errors lie"
TOUCHING = 0.05  # IoU above which a box of the right class counts as badly localised
_LABELS = ("found", "badly localised", "wrong class", "missed")
_COLORS = ("#56B4E9", "#E69F00", "#CC79A7", "#b8b8b8")
_HATCHES = ("", "//", "..", "xx")  # readable in grey


@dataclass(frozen=True)
class Outcomes:
    """Numbers of ground-truth boxes. Each box has one outcome, the first that applies."""

    found: int
    badly_localised: int
    wrong_class: int
    missed: int


def outcomes_of(
    test: ScoredDetections, classes: Sequence[str], *, rotated: bool
) -> dict[str, Outcomes]:
    """Outcomes of each class with ground truth, from detections of a score of `SCORE` or more.

    A ground truth is found if a detection of its class overlaps it by more than `IOU`. It is badly
    localised if such a detection overlaps it by more than `TOUCHING`, and of the wrong class if a
    detection of another class overlaps it by more than `IOU`. A detection counts for the ground
    truth that it overlaps most.
    """
    score = test.detections.score
    assert score is not None
    kept = np.flatnonzero(score >= np.float32(SCORE))
    detections, matching = test.detections[kept], test.matching[kept]
    anonymous = best_ground_truth(
        replace(test.truth, label=np.zeros_like(test.truth.label)),
        replace(detections, label=np.zeros_like(detections.label)),
        rotated,
    )
    outcome = np.full(len(test.truth), 3)
    outcome[anonymous.index[anonymous.iou > IOU]] = 2
    outcome[matching.index[matching.iou > TOUCHING]] = 1
    outcome[matching.index[matching.iou > IOU]] = 0
    return {
        name: Outcomes(*np.bincount(outcome[test.truth.label == label], minlength=4).tolist())
        for label, name in enumerate(classes)
        if (test.truth.label == label).any()
    }


def draw_errors(findings: Findings, names: Names) -> Canvas:
    """A bar for each class, divided by the outcomes of its ground truth."""
    canvas = Canvas(ERRORS_TITLE)
    setting = next(iter(settings_of_result(findings)), None)
    test = canvas.first_test(findings, setting, names.label(setting)) if setting else None
    if setting is None or test is None:
        canvas.missing.append("no detections of an evaluation")
        return canvas
    kind = dataset_of(config_from_dict((findings.summary(setting) or {})["config"]))
    outcomes = outcomes_of(test, kind.classes, rotated=kind.rotated)
    if not outcomes:
        canvas.missing.append("no ground truth in the evaluated scenes")
        return canvas
    counts = np.array([astuple(one) for one in outcomes.values()])
    totals = counts.sum(axis=1)
    canvas.picture = new_figure(0.9 + 0.26 * len(outcomes))
    axes = canvas.picture.subplots()
    left = np.zeros(len(outcomes))
    for i, label in enumerate(_LABELS):
        width = 100 * counts[:, i] / totals
        axes.barh(
            range(len(outcomes)), width, 0.72, left, color=_COLORS[i], hatch=_HATCHES[i],
            edgecolor="white", linewidth=0, label=label,
        )  # fmt: skip
        for row in np.flatnonzero(width >= 5).tolist():
            axes.text(
                left[row] + width[row] / 2, row, f"{counts[row, i]}", ha="center", va="center",
                fontsize=7, color=INK_ON_PICTURE,
            )  # fmt: skip
        left += width
    labels = [f"{name} ({total})" for name, total in zip(outcomes, totals, strict=True)]
    axes.set_yticks(range(len(outcomes)), labels)
    axes.set(xlim=(0, 100), ylim=(len(outcomes) - 0.5, -0.5), xlabel="ground truth (%)")
    axes.grid(visible=False, axis="y")
    canvas.picture.legend(loc="outside lower center", ncols=len(_LABELS))
    canvas.caption = (
        f"Ground truth of each class in the first evaluation of the first training run of "
        f"{names.label(setting)}, with the number of boxes. Detections have a score of {SCORE:g} "
        f"or more. Found: a box of its class overlaps it by more than {IOU:g} IoU. Badly "
        f"localised: by more than {TOUCHING:g}. Wrong class: a box of another class overlaps it by "
        f"more than {IOU:g}. Missed: none of these."
    )
    return canvas
