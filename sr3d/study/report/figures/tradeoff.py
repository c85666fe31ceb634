"""Accuracy against latency (the paper's Fig. 1): our values beside the paper's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from sr3d.study.report.figures.canvas import Canvas, Estimate, estimate, incomplete
from sr3d.study.report.figures.style import (
    GREY,
    SMALL,
    Names,
    grid,
    new_figure,
    number_ticks,
    round_ticks,
    spans_decades,
)
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import METRICS, Paper, PaperTable, Tradeoff, printed_dataset
from sr3d.study.report.verdicts.judgement import listed


@dataclass(frozen=True)
class MeasuredPoint:
    """A setting with runs, as a point."""

    setting: str
    label: str
    x: Estimate
    y: Estimate


@dataclass(frozen=True)
class PrintedPoint:
    """A row of the paper's table as a point. mean: None if the paper prints one number only."""

    label: str
    x: float
    best: float
    mean: float | None


def draw_tradeoff(
    figure: Tradeoff, paper: Paper, findings: Findings, names: Names, cited: Collection[str] = ()
) -> Canvas:
    """Two panels, since latencies of different machines do not compare on one axis.

    cited: settings that were not meant to run.
    """
    canvas = Canvas(figure.title)
    table = paper.tables[figure.table]
    ours, canvas.missing = our_points(figure, table, findings, cited)
    if not ours:
        return canvas
    same = findings.dataset in table.datasets
    dataset = findings.dataset if same else figure.datasets[0]
    theirs = paper_points(figure, table, dataset)
    canvas.caption = _caption(findings, ours, bool(theirs), same)
    canvas.picture = new_figure(3.7)
    columns = 2 if theirs else 1
    # On the same data heights compare. Latencies never do.
    panels = grid(canvas.picture, 1, columns, sharey=same)[0]
    _draw_ours(panels[0], ours, names)
    if theirs:
        _draw_theirs(panels[1], theirs)
        panels[0].set_title("measured here")
        panels[1].set_title(f"printed in the paper: {printed_dataset(dataset).label}")
    for axes in panels:
        axes.set_xlabel(METRICS[figure.x].label)
        axes.set_ylabel(METRICS[figure.y].label)
    canvas.picture.legend(loc="outside lower left", ncols=4)
    if theirs:
        place_names(
            panels[1],
            [(p.x, p.best) for p in theirs],
            [p.label for p in theirs],
            [(p.x, p.mean) for p in theirs if p.mean is not None],
            size=SMALL,
            color="0.25",
        )
    return canvas


def our_points(
    figure: Tradeoff, table: PaperTable, findings: Findings, cited: Collection[str] = ()
) -> tuple[list[MeasuredPoint], list[str]]:
    """The rows with both metrics, and what the other rows lack, except `cited` settings."""
    points, missing = [], []
    for row in table.rows:
        if row.setting is None or (row.setting in cited and not findings.summary(row.setting)):
            continue
        lacking = incomplete(findings, row.setting, row.label)
        x, y = (estimate(findings, row.setting, metric) for metric in (figure.x, figure.y))
        if x is not None and y is not None:
            points.append(MeasuredPoint(row.setting, row.label, x, y))
        elif findings.metric(row.setting, figure.x) or findings.metric(row.setting, figure.y):
            absent = figure.x if x is None else figure.y
            lacking = [*lacking, f"{row.label}: no {METRICS[absent].label}"]
        missing += lacking
    return points, missing


def paper_points(figure: Tradeoff, table: PaperTable, dataset: str) -> list[PrintedPoint]:
    """The rows for which the paper prints both metrics on this data set."""
    points = []
    for row in table.rows:
        x, best, mean = (
            row.value(dataset, metric, statistic)
            for metric, statistic in ((figure.x, "mean"), (figure.y, "best"), (figure.y, "mean"))
        )
        if x is not None and best is not None:
            points.append(PrintedPoint(row.label, x, best, mean))
    return points


def machine_of(summary: dict[str, Any]) -> str:
    """The GPU, or the processor with its number of threads."""
    facts = summary.get("machine") or {}
    if str(summary.get("device")).startswith("cuda"):
        return ", ".join(dict.fromkeys(facts.get("gpus") or ())) or "an unnamed GPU"
    threads = facts.get("threads")
    processor = facts.get("processor") or "an unnamed processor"
    return processor + (f" with {threads} thread{'s' if threads > 1 else ''}" if threads else "")


def _draw_ours(axes: Axes, points: Sequence[MeasuredPoint], names: Names) -> None:
    for point in points:
        color, marker, _ = names.look(point.setting)
        x, y = point.x, point.y
        if x.interval:
            axes.plot(x.interval, [y.mean] * 2, color=color, linewidth=1.2, marker="|")
        if y.interval:
            axes.plot([x.mean] * 2, y.interval, color=color, linewidth=1.2, marker="_")
        axes.plot(
            x.mean, y.mean, marker, color=color, markersize=7, label=point.label, zorder=3,
            markerfacecolor=color if y.interval else "white",
        )  # fmt: skip
    ends = [end for p in points for end in p.x.interval or (p.x.mean,)]
    _scale(axes, [p.x.mean for p in points], max(ends))
    axes.margins(y=0.15)


def _draw_theirs(axes: Axes, points: Sequence[PrintedPoint]) -> None:
    for point in points:
        if point.mean is not None:
            axes.plot([point.x] * 2, [point.mean, point.best], color=GREY, linewidth=1, zorder=1)
            axes.plot(point.x, point.mean, "_", color=GREY)
        axes.plot(point.x, point.best, "o", color=GREY, markerfacecolor="white", zorder=3)
    values = [p.x for p in points]
    _scale(axes, values, max(values))
    axes.margins(y=0.1)


def _scale(axes: Axes, values: Sequence[float], end: float) -> None:
    """Start at zero, or use a logarithmic scale if the values span more than a factor of ten."""
    if spans_decades(list(values)):
        low, high = min(values) / 1.5, end * 1.7
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        number_ticks(axes, round_ticks(low, high))
    else:
        axes.set_xlim(0, max(1.3 * max(values), 1.05 * end))


def _caption(findings: Findings, ours: Sequence[MeasuredPoint], beside: bool, same: bool) -> str:
    machines: dict[str, list[str]] = {}
    for point in ours:
        where = machine_of(findings.summary(point.setting) or {})
        machines.setdefault(where, []).append(point.label)
    if len(machines) == 1:
        measured = f"measured on {next(iter(machines))}"
    else:
        parts = [f"{where} ({', '.join(labels)})" for where, labels in machines.items()]
        measured = f"measured on machines that do not compare: {listed(parts)}"
    text = (
        f"{'Left: means' if beside else 'Means'} over all evaluations. Bars are 95 % intervals "
        "over the training runs. A hollow mark has one training run and no interval. Latency is "
        f"the median of an evaluation from points to boxes, {measured}."
    )
    if beside:
        text += " Right: the paper's numbers, best (circle) and, if printed, mean (dash). " + (
            "Heights compare between the panels, latencies do not."
            if same
            else "The two panels do not compare."
        )
    return text


Point = tuple[float, float]

# Possible positions of a name: points to the right and up from its point, and its alignment. The
# first free one is used.
_PLACES = (
    (6, 0, "left", "center"), (-6, 0, "right", "center"), (0, 5, "center", "bottom"),
    (0, -5, "center", "top"), (5, 4, "left", "bottom"), (5, -4, "left", "top"),
    (-5, 4, "right", "bottom"), (-5, -4, "right", "top"),
)  # fmt: skip
_RADIUS = 5.0  # points around a point that names must not cover
_OUTSIDE = 10.0  # weight of the area outside the panel, relative to covered area


def place_names(
    axes: Axes,
    points: Sequence[Point],
    names: Sequence[str],
    others: Sequence[Point] = (),
    *,
    size: float,
    color: str,
) -> None:
    """Write each name beside its point, which is already drawn. `others` must stay visible, too.

    Greedy, from left to right: of eight positions, take the one that covers least. The limits of
    the axes must be final.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # to compute the layout of the panel
    renderer = canvas.get_renderer()
    radius = _RADIUS * figure.dpi / 72
    inside = axes.get_window_extent()
    taken = [
        Bbox.from_extents(x - radius, y - radius, x + radius, y + radius)
        for x, y in axes.transData.transform([*points, *others])
    ]
    for i in sorted(range(len(points)), key=lambda i: points[i]):
        occupied = [box for j, box in enumerate(taken) if j != i]
        choices = []
        for rank, (right, up, across, along) in enumerate(_PLACES):
            note = axes.annotate(
                names[i], points[i], (right, up), textcoords="offset points", ha=across, va=along,
                fontsize=size, color=color,
            )  # fmt: skip
            note.set_in_layout(False)
            box = note.get_window_extent(renderer)
            out = box.width * box.height - _shared(box, inside)
            cost = sum(_shared(box, other) for other in occupied) + _OUTSIDE * out
            choices.append((cost, rank, note, box))
        best = min(choices, key=lambda choice: choice[:2])
        for choice in choices:
            if choice is not best:
                choice[2].remove()
        taken.append(best[3])


def _shared(a: Bbox, b: Bbox) -> float:
    """The area of the intersection of two boxes."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0.0) * max(height, 0.0)
