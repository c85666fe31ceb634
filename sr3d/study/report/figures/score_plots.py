"""Consistency of score and overlap: AIC, score against IoU, PCE (the paper's Fig. 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from sr3d.evaluate.consistency import most_confident
from sr3d.evaluate.scored_files import ScoredDetections
from sr3d.study.report.figures.canvas import Band, Canvas, band, estimate, incomplete
from sr3d.study.report.figures.style import (
    GREY,
    Names,
    draw_estimate,
    epoch_ticks,
    grid,
    new_figure,
)
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import METRICS, Consistency

_ABREAST = 4  # panels of (b) in a row


@dataclass(frozen=True)
class ScoreCloud:
    """The most confident detections of an evaluation. score, iou: (K,) in [0, 1]."""

    score: NDArray[np.float64]
    iou: NDArray[np.float64]

    @property
    def error(self) -> NDArray[np.float64]:
        """|score − IoU|, (K,)."""
        return np.abs(self.score - self.iou)


def draw_consistency(figure: Consistency, findings: Findings, names: Names) -> Canvas:
    """(a) AIC by epoch, (b) a cloud per setting, (c) the errors of these clouds, and PCE."""
    canvas = Canvas(figure.title, _caption(figure.top_n))
    for setting in figure.settings:
        canvas.missing += incomplete(findings, setting, names.label(setting))
    ran = [setting for setting in figure.settings if findings.summary(setting) is not None]
    clouds: dict[str, ScoreCloud] = {}
    for setting in ran:
        test = canvas.first_test(findings, setting, names.label(setting))
        if test is not None:
            clouds[setting] = cloud_of(test, figure.top_n)
    bands = _bands(canvas, findings, ran, names)
    errors = [s for s in ran if s in clouds or estimate(findings, s, "PCE")]
    if not bands and not errors:
        return canvas
    rows = -(-len(clouds) // _ABREAST)
    heights = [2.3, *([2.4 * rows] if rows else []), 0.8 + 0.45 * len(errors)]
    canvas.picture = new_figure(sum(heights))
    top, *middle, bottom = canvas.picture.subfigures(
        len(heights), 1, squeeze=False, height_ratios=heights
    )[:, 0]
    _draw_bands(grid(top, 1, 1)[0][0], bands, names)
    for part in middle:
        _draw_clouds(grid(part, rows, min(len(clouds), _ABREAST)), clouds, names)
    _draw_errors(grid(bottom, 1, 1)[0][0], findings, errors, clouds, names)
    return canvas


def cloud_of(test: ScoredDetections, top_n: int) -> ScoreCloud:
    """The `top_n` most confident detections of each class over all scenes of the evaluation."""
    assert test.detections.score is not None
    rows = most_confident(test.detections.label, test.detections.score, top_n)
    return ScoreCloud(test.detections.score[rows].astype(np.float64), test.matching.iou[rows])


def _bands(
    canvas: Canvas, findings: Findings, settings: Sequence[str], names: Names
) -> dict[str, Band]:
    bands = {}
    for setting in settings:
        found = band(findings.curves(setting, "AIC"))
        if found is None:
            canvas.missing.append(f"{names.label(setting)}: no AIC by epoch")
            continue
        bands[setting] = found
        if found.shortest < found.longest:
            canvas.missing.append(
                f"{names.label(setting)}: its training runs have {found.shortest} to "
                f"{found.longest} epochs, and AIC is drawn for {found.shortest}"
            )
    return bands


def _draw_bands(axes: Axes, bands: Mapping[str, Band], names: Names) -> None:
    for setting, found in bands.items():
        color, marker, line = names.look(setting)
        epochs = range(1, len(found.means) + 1)
        axes.plot(
            epochs, found.means, color=color, marker=marker, linestyle=line, linewidth=1.3,
            markersize=4, label=names.label(setting),
        )  # fmt: skip
        if found.low is not None and found.high is not None:
            axes.fill_between(epochs, found.low, found.high, color=color, alpha=0.15, linewidth=0)
    axes.set_title("(a) AIC in training")
    axes.set(xlabel="epoch", ylabel="AIC", ylim=(0, None))
    epoch_ticks(axes)
    if bands:
        axes.legend(loc="best")


def _draw_clouds(
    panels: Sequence[Sequence[Axes]], clouds: Mapping[str, ScoreCloud], names: Names
) -> None:
    every = [axes for row in panels for axes in row]
    for axes in every[len(clouds) :]:
        axes.set_visible(False)
    for axes, (setting, cloud) in zip(every, clouds.items(), strict=False):
        color, marker, _ = names.look(setting)
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        axes.plot(
            cloud.iou, cloud.score, marker, color=color, markersize=2.5, alpha=0.45,
            markeredgewidth=0, rasterized=True,
        )  # fmt: skip
        axes.set_title(f"(b) {names.label(setting)}")
        axes.set(xlim=(-0.02, 1), ylim=(0, 1), xlabel="IoU", ylabel="score")
        axes.set_aspect("equal")
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])


def _draw_errors(
    axes: Axes,
    findings: Findings,
    settings: Sequence[str],
    clouds: Mapping[str, ScoreCloud],
    names: Names,
) -> None:
    """From top to bottom, per setting: a box plot of its cloud, and below it PCE and interval."""
    for row, setting in enumerate(settings):
        style = names.look(setting)
        if setting in clouds and len(clouds[setting].error):
            axes.boxplot(
                clouds[setting].error, orientation="horizontal", positions=[row - 0.12],
                widths=0.34, whis=(5, 95), showfliers=False, manage_ticks=False,
                boxprops={"color": style.color}, whiskerprops={"color": style.color},
                capprops={"color": style.color}, medianprops={"color": style.color},
            )  # fmt: skip
        found = estimate(findings, setting, "PCE")
        if found is not None:
            draw_estimate(axes, row + 0.25, found, style, upright=False)
    axes.set_yticks(range(len(settings)), [names.lines(s, 16) for s in settings])
    axes.set_ylim(len(settings) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_title("(c) errors of confident boxes")
    axes.set(xlabel="|score − IoU|", xlim=(0, None))


def _caption(top_n: int) -> str:
    return (
        "(a) Mean of each epoch over the training runs. The band is its 95 % interval. With two "
        "training runs it reaches from one to the other. "
        f"(b) The {top_n} most confident boxes of each class in the first evaluation of the first "
        "training run, against their IoU with the best ground truth of that class. On the dashed "
        "line they agree. (c) Boxes: quartiles of |score − IoU| in (b), with whiskers from the 5th "
        f"to the 95th percentile. Points: {METRICS['PCE'].label}, the mean of |score − IoU| of the "
        "30 most confident boxes of each class over all evaluations, with its 95 % interval over "
        "the training runs. A hollow mark has one training run and no interval."
    )
