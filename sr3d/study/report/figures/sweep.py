"""Metrics along hyper-parameters (the paper's Fig. 8)."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes

from sr3d.study.report.figures.canvas import Canvas
from sr3d.study.report.figures.estimates import Estimate, estimate, incomplete
from sr3d.study.report.figures.style import (
    GREY,
    draw_estimate,
    grid,
    look,
    new_figure,
    number_ticks,
)
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import METRICS, Panel, Sweep

_CAPTION = (
    "Means over all tests, with 95 % intervals over the trainings as bars; hollow: one training, "
    "no interval. The dashed line marks the default. Heights compare along a row."
)


@dataclass(frozen=True)
class Line:
    """A metric along a hyper-parameter: what there is of it, in rising order of the values."""

    values: tuple[float, ...]
    estimates: tuple[Estimate, ...]


def draw_sweep(figure: Sweep, findings: Findings) -> Canvas:
    """A column for each hyper-parameter, a row for each metric."""
    canvas = Canvas(figure.title, _CAPTION, missing=_missing(figure, findings))
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


def line_of(panel: Panel, metric: str, findings: Findings) -> Line:
    """The values that ran, and what they gave."""
    found = [
        (value, mark)
        for value, setting in panel.points
        if (mark := estimate(findings, setting, metric)) is not None
    ]
    return Line(tuple(value for value, _ in found), tuple(mark for _, mark in found))


def default_of(figure: Sweep) -> str | None:
    """The setting that the panels meet in, each at its own default."""
    settings = [{setting for _, setting in panel.points} for panel in figure.panels]
    shared = set.intersection(*settings) if len(settings) > 1 else set()
    return min(shared, default=None)


def _missing(figure: Sweep, findings: Findings) -> list[str]:
    missing: dict[str, None] = {}  # in order, each once
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


def _draw(axes: Axes, panel: Panel, line: Line, row: int, default: str | None) -> None:
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
