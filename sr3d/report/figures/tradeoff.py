"""Accuracy against latency (the paper's Fig. 1): ours, and beside it the paper's own numbers."""

from __future__ import annotations

from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from sr3d.report.figures.drawn import Canvas
from sr3d.report.figures.style import GREY, errors, look, panels
from sr3d.report.findings import Findings
from sr3d.report.paper import Paper, Row, Tradeoff

_LABELS = {"latency_ms": "milliseconds a scene", "AP25": "AP25 (%)", "AP50": "AP50 (%)"}


def draw_tradeoff(figure: Tradeoff, paper: Paper, findings: Findings) -> Canvas:
    """Two panels, since latencies of different machines share no axis."""
    canvas = Canvas(figure.title, "")
    table = paper.tables[figure.table]
    ours = [row for row in table.rows if row.setting and findings.summary(row.setting)]
    canvas.missing += [
        f"{row.label}: not run" for row in table.rows if row.setting and row not in ours
    ]
    ours = [row for row in ours if findings.metric(str(row.setting), figure.x)]
    dataset = findings.dataset if findings.dataset in table.datasets else table.datasets[0]
    theirs = [row for row in table.rows if _paper(row, dataset, figure.x) is not None]
    if not ours:
        return canvas
    first = findings.summary(str(ours[0].setting)) or {}
    machine = first.get("machine", {})
    where = ", ".join([machine.get("processor", "an unknown machine"), *machine.get("gpus", [])])
    canvas.caption = (
        f"Left: our runs; latency is the median from points to boxes over all scenes, measured "
        f"while testing ({first.get('device')}; {where}), error bars are 95 % intervals over the "
        f"trainings. Right: the numbers that the paper prints (latency on an RTX 4090 or cited); "
        f"the two panels have different machines, so only the order within each can be compared."
    )
    canvas.picture, axes = panels(1, 2, 9, 3.4)
    left, right = axes[0]
    for index, row in enumerate(ours):
        x, y = (findings.metric(str(row.setting), name) for name in (figure.x, figure.y))
        if x is None or y is None:
            continue
        style = look(index)
        left.errorbar(
            x["mean"],
            y["mean"],
            yerr=errors([y["mean"]], [y["interval"]]),
            color=style.color,
            marker=style.marker,
            linestyle="none",
            capsize=3,
            label=row.label,
        )
    left.set_xlim(0, 1.25 * max(left.get_xlim()[1], 1.0))
    left.legend(loc="best", fontsize=8)
    left.set_title("ours", fontsize=9)
    # By latency, names stand above and below their points in turn: neighbours overlap less.
    theirs.sort(
        key=lambda row: (_paper(row, dataset, figure.x) or 0, _paper(row, dataset, figure.y) or 0)
    )
    for i, row in enumerate(theirs):
        x_value, y_value = _paper(row, dataset, figure.x), _paper(row, dataset, figure.y)
        if x_value is None or y_value is None:
            continue
        right.plot(x_value, y_value, marker="o", markerfacecolor="none", color=GREY)
        right.annotate(
            row.label,
            (x_value, y_value),
            xytext=(4, 4 if i % 2 else -10),
            textcoords="offset points",
            fontsize=8,
        )
    right.set_xscale("log")
    right.xaxis.set_major_locator(FixedLocator([30, 50, 100, 200, 400]))
    right.xaxis.set_major_formatter(ScalarFormatter())
    right.xaxis.set_minor_locator(NullLocator())
    right.margins(x=0.15)
    right.set_title("as the paper prints it", fontsize=9)
    for ax in (left, right):
        ax.set_xlabel(_LABELS.get(figure.x, figure.x))
        ax.set_ylabel(_LABELS.get(figure.y, figure.y))
    return canvas


def _paper(row: Row, dataset: str, metric: str) -> float | None:
    """The paper's best of a row, or else its mean."""
    values = row.paper.get(dataset, {}).get(metric, {})
    return values.get("best", values.get("mean"))
