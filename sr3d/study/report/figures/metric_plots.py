"""Values of a metric: by setting, by epoch, and along hyper-parameters (the paper's Fig. 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from matplotlib.axes import Axes

from sr3d.study.report.figures.canvas import Canvas, Estimate, estimate, incomplete
from sr3d.study.report.figures.style import (
    GREY,
    SMALL,
    Names,
    draw_estimate,
    epoch_ticks,
    grid,
    look,
    new_figure,
    number_ticks,
    spans_decades,
)
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import METRICS, Panel, Sweep

SHOWN = ("AP25", "AP50")
CURVES = ("loss", "AIC")
_ABREAST = 4  # settings in a row of curves
STRIP_TITLE, CURVES_TITLE = "All values", "Learning curves"
_DOT, _LINE = "#0072B2", "#000000"


def draw_strip(findings: Findings, names: Names) -> Canvas:
    """AP25 and AP50 of all evaluations: a row per setting, in it a line per training run."""
    canvas = Canvas(
        STRIP_TITLE,
        "Every evaluation of every training run. Within a setting each training run has its own "
        "line, the first at the top. Dots are its evaluations and the short bar is their mean. The "
        "long bar is the mean over all evaluations. The shading is its 95 % interval over the "
        "training runs, if there are two or more. Settings stand in the order of their mean AP25.",
    )
    settings = ranked(findings)
    if not settings:
        canvas.missing.append("nothing has been evaluated")
        return canvas
    most = max(len(findings.values(s, SHOWN[0])) for s in settings)
    height = max(0.34, 0.075 * most)  # of a setting, inches
    canvas.picture = new_figure(0.6 + height * len(settings))
    panels = grid(canvas.picture, 1, 2, sharey=True)[0]
    for axes, metric in zip(panels, SHOWN, strict=True):
        for row, setting in enumerate(settings):
            _draw_values(axes, findings, setting, metric, row)
        axes.set_xlabel(METRICS[metric].label)
        axes.grid(visible=False, axis="y")
    for line in range(1, len(settings)):
        for axes in panels:
            axes.axhline(line - 0.5, color="#e4e4e4", linewidth=0.8, zorder=0)
    panels[0].set_yticks(range(len(settings)), [names.lines(s, 34) for s in settings])
    panels[0].set_ylim(len(settings) - 0.5, -0.5)
    return canvas


def ranked(findings: Findings) -> list[str]:
    """The settings with evaluations, by decreasing mean AP25. Ties are ordered by name."""
    found = {name: estimate(findings, name, SHOWN[0]) for name in findings.settings()}
    tested = [(-mark.mean, name) for name, mark in found.items() if mark is not None]
    return [name for _, name in sorted(tested)]


def draw_curves(findings: Findings, names: Names) -> Canvas:
    """Loss and AIC by epoch: a thin line per training run, two panels per setting."""
    canvas = Canvas(
        CURVES_TITLE,
        "Mean over the steps of each epoch, with a line for each training run. All settings have "
        "the same axes. AIC is the mean of |score − IoU| over the positives, which each assigner "
        "chooses for itself. Do not compare the heights of different losses.",
    )
    settings = [s for s in names.labels if any(findings.curves(s, c) for c in CURVES)]
    settings += [
        s
        for s in findings.settings()
        if s not in names.labels and any(findings.curves(s, c) for c in CURVES)
    ]
    if not settings:
        canvas.missing.append("nothing has been trained")
        return canvas
    columns = max(2, min(_ABREAST, len(settings)))
    blocks = -(-len(settings) // columns)
    canvas.picture = new_figure(0.2 + 2.5 * blocks)
    panels = grid(canvas.picture, 2 * blocks, columns, sharex=True)
    for metric, rows in ((CURVES[0], panels[::2]), (CURVES[1], panels[1::2])):
        _draw_curves(list(chain(*rows)), findings, settings, metric, columns)
    for i, setting in enumerate(settings):
        top, bottom = (panels[2 * (i // columns) + k][i % columns] for k in (0, 1))
        top.set_title(names.lines(setting, 26), fontsize=SMALL)
        bottom.set_xlabel("epoch", fontsize=SMALL)
        bottom.tick_params(labelbottom=True)
    return canvas


def _draw_values(axes: Axes, findings: Findings, setting: str, metric: str, row: int) -> None:
    values, found = findings.values(setting, metric), estimate(findings, setting, metric)
    if found is None:
        return
    for i, tests in enumerate(values):
        place = row + 0.7 * ((i + 0.5) / len(values) - 0.5)
        axes.plot(tests, [place] * len(tests), "o", color=_DOT, markersize=2.4, markeredgewidth=0)
        mean = sum(tests) / len(tests)
        axes.plot(mean, place, "|", color=_LINE, markersize=4, markeredgewidth=1.2)
    if found.interval:
        axes.fill_betweenx(
            [row - 0.4, row + 0.4], *found.interval, color=GREY, alpha=0.18, linewidth=0
        )
    axes.plot([found.mean] * 2, [row - 0.4, row + 0.4], color=_LINE, linewidth=0.9)


def _draw_curves(
    every: Sequence[Axes], findings: Findings, settings: Sequence[str], metric: str, columns: int
) -> None:
    """One metric of all settings, each in its own panel, on the same scale."""
    for axes in every[len(settings) :]:
        axes.set_visible(False)
    drawn = []
    for i, (axes, setting) in enumerate(zip(every, settings, strict=False)):
        for values in findings.curves(setting, metric):
            axes.plot(range(1, len(values) + 1), values, color=_DOT, linewidth=0.8, alpha=0.8)
            drawn += values
        epoch_ticks(axes)
        axes.set_ylabel(metric, fontsize=SMALL) if i % columns == 0 else axes.tick_params(
            labelleft=False
        )
    if not drawn:
        return
    wide = spans_decades(drawn)
    for axes in every[: len(settings)]:
        axes.set_yscale("log" if wide else "linear")
        axes.set_ylim(min(drawn) / 1.2 if wide else 0, 1.05 * max(drawn) or 1.0)


_SWEEP_CAPTION = (
    "Means over all evaluations. Bars are 95 % intervals over the training runs. A hollow mark has "
    "one training run and no interval. The dashed line marks the default. Heights compare along a "
    "row."
)


@dataclass(frozen=True)
class SweepSeries:
    """The available values of a metric along a hyper-parameter, by rising parameter value."""

    values: tuple[float, ...]
    estimates: tuple[Estimate, ...]


def draw_sweep(figure: Sweep, findings: Findings) -> Canvas:
    """A column per hyper-parameter, a row per metric."""
    canvas = Canvas(figure.title, _SWEEP_CAPTION, missing=_missing(figure, findings))
    metrics = tuple(dict.fromkeys(m for panel in figure.panels for m in panel.metrics))
    lines = {
        (column, metric): line_of(panel, metric, findings)
        for column, panel in enumerate(figure.panels)
        for metric in panel.metrics
    }
    if not any(line.values for line in lines.values()):
        return canvas
    canvas.picture = new_figure(0.5 + 1.7 * len(metrics))
    panels = grid(canvas.picture, len(metrics), len(figure.panels), sharey="row", sharex="col")
    default = default_of(figure)
    for (column, metric), line in lines.items():
        row = metrics.index(metric)
        axes = panels[row][column]
        _draw(axes, figure.panels[column], line, row, default)
        if column == 0:
            axes.set_ylabel(METRICS[metric].label)
        if row == len(metrics) - 1:
            axes.set_xlabel(figure.panels[column].parameter)
    canvas.picture.align_ylabels()
    return canvas


def line_of(panel: Panel, metric: str, findings: Findings) -> SweepSeries:
    """The parameter values that have runs, with their results."""
    found = [
        (value, mark)
        for value, setting in panel.points
        if (mark := estimate(findings, setting, metric)) is not None
    ]
    return SweepSeries(tuple(value for value, _ in found), tuple(mark for _, mark in found))


def default_of(figure: Sweep) -> str | None:
    """The setting that all panels share, each at its own default."""
    settings = [{setting for _, setting in panel.points} for panel in figure.panels]
    shared = set.intersection(*settings) if len(settings) > 1 else set()
    return min(shared, default=None)


def _missing(figure: Sweep, findings: Findings) -> list[str]:
    missing: dict[str, None] = {}  # an ordered set
    for panel in figure.panels:
        never = [f"{v:g}" for v, setting in panel.points if findings.summary(setting) is None]
        if never:
            missing[f"{panel.parameter} = {', '.join(never)}: not run"] = None
        for value, setting in panel.points:
            if findings.summary(setting) is not None:
                is_default = setting == default_of(figure)
                label = "the default" if is_default else f"{panel.parameter} = {value:g}"
                missing.update(dict.fromkeys(incomplete(findings, setting, label)))
    return list(missing)


def _draw(axes: Axes, panel: Panel, line: SweepSeries, row: int, default: str | None) -> None:
    style = look(row)
    for value, setting in panel.points:
        if setting == default:
            axes.axvline(value, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
    means = [mark.mean for mark in line.estimates]
    axes.plot(line.values, means, color=style.color, linestyle=style.line, linewidth=1)
    for value, mark in zip(line.values, line.estimates, strict=True):
        draw_estimate(axes, value, mark, style)
    values = [value for value, _ in panel.points]
    if panel.log and values[0] > 0:
        axes.set_xscale("log")
        axes.set_xlim(values[0] / 1.6, values[-1] * 1.6)
    else:
        room = 0.08 * (values[-1] - values[0]) or 1.0
        axes.set_xlim(values[0] - room, values[-1] + room)
    number_ticks(axes, values)
    axes.margins(y=0.1)
