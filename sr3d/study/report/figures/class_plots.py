"""Figures by class: average precision, precision and recall, outcomes of the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from sr3d.data.datasets import dataset_of
from sr3d.detectors.configuration import config_from_dict
from sr3d.evaluate.average_precision import precision_at_hits
from sr3d.evaluate.detection_matches import best_ground_truth, true_positives
from sr3d.evaluate.scored_files import ScoredDetections
from sr3d.study.report.figures.canvas import Canvas
from sr3d.study.report.figures.metric_plots import ranked
from sr3d.study.report.figures.scene_choice import IOU, SCORE
from sr3d.study.report.figures.style import INK_ON_PICTURE, SMALL, Names, grid, new_figure
from sr3d.study.report.findings import Findings
from sr3d.study.report.headline import settings_of_result
from sr3d.study.report.paper import METRICS

CLASSES_TITLE, PRECISION_RECALL_TITLE = "AP by class", "Precision and recall"
_SHOWN = ("AP25", "AP50")
_THRESHOLD = 0.25  # IoU of the curves
_MOST = 4  # settings in one panel of curves
_ABREAST = 4  # panels in a row
_RECALLS = np.linspace(0, 1, 101)

Floats = NDArray[np.float64]


def draw_classes(findings: Findings, names: Names) -> Canvas:
    """AP25 and AP50 by class: a row for each setting, a column for each class."""
    canvas = Canvas(
        CLASSES_TITLE,
        "Mean over all evaluations, in percent. Settings stand in the order of their mean AP25. "
        "Classes without ground truth are left out.",
    )
    settings, classes = ranked(findings), _classes(findings)
    if not settings or not classes:
        canvas.missing.append("nothing has been evaluated")
        return canvas
    canvas.picture = new_figure(2 * (1.1 + 0.34 * len(settings)))
    for metric, (axes,) in zip(_SHOWN, grid(canvas.picture, 2, 1), strict=True):
        values = np.array(
            [[_value(findings, setting, name, metric) for name in classes] for setting in settings]
        )
        axes.imshow(values, cmap="Blues", vmin=0, vmax=180, aspect="auto")  # pale below black text
        for row, column in np.argwhere(np.isfinite(values)):
            axes.text(
                column, row, f"{values[row, column]:.0f}", ha="center", va="center", fontsize=7,
                color=INK_ON_PICTURE,
            )  # fmt: skip
        axes.set_xticks(range(len(classes)), classes, rotation=40, ha="right")
        axes.set_yticks(range(len(settings)), [names.lines(setting, 30) for setting in settings])
        axes.set_title(METRICS[metric].label)
        axes.grid(visible=False)
        axes.tick_params(length=0)
    return canvas


def draw_precision_recall(findings: Findings, names: Names) -> Canvas:
    """Precision by recall at IoU 0.25: one panel for the mean over classes, and one per class."""
    settings = ranked(findings)
    canvas = Canvas(
        PRECISION_RECALL_TITLE,
        "Interpolated precision at IoU 0.25 in the first evaluation of the first training of "
        f"{_which(len(settings))}. The area under a curve is AP25 of this evaluation. A curve ends "
        "at the highest recall that detections of any score reach.",
    )
    classes = _classes(findings)
    curves: dict[str, dict[str, Floats]] = {}
    for setting in settings[:_MOST]:
        test = canvas.first_test(findings, setting, names.label(setting))
        if test is not None:
            curves[setting] = class_curves(test, _all_classes(findings, setting))
    if not curves:
        canvas.missing.append("nothing has been evaluated")
        return canvas
    shown = [name for name in classes if any(name in found for found in curves.values())]
    rows = -(-(len(shown) + 1) // _ABREAST)
    canvas.picture = new_figure(0.5 + 1.9 * rows)
    every = list(chain(*grid(canvas.picture, rows, _ABREAST, sharex=True, sharey=True)))
    for axes in every[len(shown) + 1 :]:
        axes.set_visible(False)
    _draw_panel(every[0], {s: mean_curve(c) for s, c in curves.items()}, "mean of classes", names)
    for axes, name in zip(every[1:], shown, strict=False):
        _draw_panel(axes, {s: c[name] for s, c in curves.items() if name in c}, name, names)
    for axes in every[::_ABREAST]:
        axes.set_ylabel("precision", fontsize=SMALL)
    for axes in every[max(0, len(shown) + 1 - _ABREAST) : len(shown) + 1]:
        axes.set_xlabel("recall", fontsize=SMALL)
        axes.tick_params(labelbottom=True)
    canvas.picture.legend(
        *every[0].get_legend_handles_labels(), loc="outside lower center", ncols=2
    )
    return canvas


def class_curves(test: ScoredDetections, classes: Sequence[str]) -> dict[str, Floats]:
    """Interpolated precision at recalls of 0, 0.01, …, 1 of each class with ground truth, (101,).

    It is 0 beyond the highest recall. Detections are ranked as in `average_precision`.
    """
    score = test.detections.score
    assert score is not None
    best_first = np.argsort(-score, kind="stable")
    label, matching = test.detections.label[best_first], test.matching[best_first]
    curves = {}
    for index, name in enumerate(classes):
        positives = int((test.truth.label == index).sum())
        if positives:
            hits = precision_at_hits(true_positives(matching[label == index], _THRESHOLD))
            # The first true positive with at least the requested recall.
            place = np.ceil(_RECALLS * positives - 1e-9).astype(np.int64).clip(min=1) - 1
            curves[name] = np.append(hits, 0.0)[place.clip(max=len(hits))]
    return curves


def mean_curve(curves: dict[str, Floats]) -> Floats:
    """(101,) mean over the classes."""
    return np.mean(list(curves.values()), axis=0)


def _draw_panel(axes: Axes, curves: dict[str, Floats], title: str, names: Names) -> None:
    for setting, precision in curves.items():
        look = names.look(setting)
        reached = precision > 0
        axes.plot(
            _RECALLS[reached], precision[reached], color=look.color, linestyle=look.line,
            linewidth=1.2, label=names.label(setting),
        )  # fmt: skip
    axes.set_title(title, fontsize=SMALL)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))


def _which(tested: int) -> str:
    return "each setting" if tested <= _MOST else f"the {_MOST} settings with the highest AP25"


def _all_classes(findings: Findings, setting: str) -> list[str]:
    """Names of all classes, in the order of the labels."""
    summary = findings.summary(setting) or {}
    if summary.get("external"):
        return list(summary["external"]["classes"])
    return list(dataset_of(config_from_dict(summary["config"])).classes)


def _classes(findings: Findings) -> list[str]:
    """Classes for which any evaluation has AP, in the order of the labels."""
    found: dict[str, None] = {}
    for setting in ranked(findings):
        found |= dict.fromkeys((findings.summary(setting) or {}).get("per_class", {}))
    return list(found)


def _value(findings: Findings, setting: str, name: str, metric: str) -> float:
    per_class = (findings.summary(setting) or {}).get("per_class", {})
    return float(per_class.get(name, {}).get(metric, np.nan))


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
