"""Every value of every setting, and the curves of every training."""

from __future__ import annotations

from sr3d.report.figures.drawn import Canvas
from sr3d.report.figures.style import GREY, look, panels
from sr3d.report.findings import Findings
from sr3d.report.summary import METRICS


def draw_strip(findings: Findings) -> Canvas:
    """AP25 and AP50 of all tests: a row for each setting, in it a line for each training."""
    canvas = Canvas(
        "All values",
        "Every test of every training: within a setting, each training has a line of its own, from "
        "the first at the top; the bar across is the mean over all tests.",
    )
    settings = [name for name in findings.settings() if findings.metric(name, METRICS[0])]
    if not settings:
        canvas.missing.append("nothing has been tested")
        return canvas
    settings.sort(key=lambda name: -(findings.metric(name, METRICS[0]) or {})["mean"])
    canvas.picture, axes = panels(1, 2, 9, 0.9 + 0.42 * len(settings), sharey=True)
    for ax, metric in zip(axes[0], METRICS, strict=True):
        for row, name in enumerate(settings):
            values = findings.values(name, metric)
            for i, tests in enumerate(values):
                place = row + 0.6 * ((i + 0.5) / len(values) - 0.5)
                style = look(i)
                ax.plot(tests, [place] * len(tests), style.marker, color=style.color, markersize=3)
            found = findings.metric(name, metric)
            if found:
                ax.plot([found["mean"]] * 2, [row - 0.38, row + 0.38], color="black", linewidth=1)
        ax.set_xlabel(f"{metric} (%)")
        ax.set_yticks(range(len(settings)), settings)
        ax.set_ylim(len(settings) - 0.4, -0.6)
    return canvas


def draw_curves(findings: Findings) -> Canvas:
    """Loss and AIC by epoch, a thin line for each training, a row for each setting."""
    canvas = Canvas(
        "Learning curves",
        "Mean of each epoch's steps, a line for each training. AIC: mean |score − IoU| of the "
        "positives, which each assigner chooses for itself. Losses of different kinds have "
        "different scales.",
    )
    settings = [name for name in findings.settings() if findings.curves(name, "loss")]
    if not settings:
        canvas.missing.append("nothing has been trained")
        return canvas
    columns = 4
    rows = -(-len(settings) // columns)
    canvas.picture, axes = panels(2 * rows, columns, 10, 2.6 * rows + 0.4)
    for index in range(rows * columns):
        pair = (
            axes[2 * (index // columns)][index % columns],
            axes[2 * (index // columns) + 1][index % columns],
        )
        if index >= len(settings):
            for ax in pair:
                ax.set_visible(False)
            continue
        name = settings[index]
        for ax, curve in zip(pair, ("loss", "AIC"), strict=True):
            for i, values in enumerate(findings.curves(name, curve)):
                ax.plot(
                    range(1, len(values) + 1),
                    values,
                    color=GREY,
                    linestyle=look(i).line,
                    linewidth=1,
                )
            ax.set_ylabel(curve, fontsize=8)
            ax.tick_params(labelsize=8)
            ax.set_ylim(bottom=0)
        pair[0].set_title(name, fontsize=9)
        pair[1].set_xlabel("epoch", fontsize=8)
    return canvas
