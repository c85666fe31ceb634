"""Average precision of each class, and precision against recall."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from sr3d.config import config_from_dict
from sr3d.data.datasets import dataset_of
from sr3d.evaluate.average_precision import precision_at_hits
from sr3d.evaluate.detection_matches import true_positives
from sr3d.evaluate.scored_files import ScoredDetections
from sr3d.study.report.figures.canvas import Canvas
from sr3d.study.report.figures.names import Names
from sr3d.study.report.figures.style import INK_ON_PICTURE, SMALL, grid, new_figure
from sr3d.study.report.figures.values import ranked
from sr3d.study.report.findings import Findings
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
        axes.imshow(values, cmap="Blues", vmin=0, vmax=180, aspect="auto")  # letters stay dark
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
    """Precision by recall at IoU 0.25: a panel for the mean over classes, and one a class."""
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

    0 beyond the recall that is reached. As `average_precision` ranks detections.
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
            # The first hit whose recall is at least the one asked for.
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
    """Classes that any evaluation has AP of, in the order of the labels."""
    found: dict[str, None] = {}
    for setting in ranked(findings):
        found |= dict.fromkeys((findings.summary(setting) or {}).get("per_class", {}))
    return list(found)


def _value(findings: Findings, setting: str, name: str, metric: str) -> float:
    per_class = (findings.summary(setting) or {}).get("per_class", {})
    return float(per_class.get(name, {}).get(metric, np.nan))
