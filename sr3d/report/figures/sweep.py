"""Metrics along hyper-parameters (the paper's Fig. 8)."""

from __future__ import annotations

from sr3d.report.figures.drawn import Canvas
from sr3d.report.figures.style import GREY, errors, look, panels
from sr3d.report.findings import Findings
from sr3d.report.paper import Sweep

DEFAULT = "sr3d"  # the setting that every panel shares


def draw_sweep(figure: Sweep, findings: Findings) -> Canvas:
    """A column for each hyper-parameter, a row for each metric: means with 95 % intervals."""
    canvas = Canvas(
        figure.title,
        "Mean over the trainings and its 95 % interval (Student's t). The dashed line marks the "
        "default. The paper's figure gives no numbers to print beside them.",
    )
    metrics = figure.panels[0].metrics
    ran = {
        (panel.parameter, setting)
        for panel in figure.panels
        for _, setting in panel.points
        if any(findings.means(setting, metric) for metric in metrics)
    }
    canvas.missing += [
        f"{panel.parameter} = {value:g} ({setting}): not run"
        for panel in figure.panels
        for value, setting in panel.points
        if (panel.parameter, setting) not in ran
    ]
    if not ran:
        return canvas
    columns = len(figure.panels)
    canvas.picture, axes = panels(len(metrics), columns, 2.4 * columns, 2.0 * len(metrics))
    for column, panel in enumerate(figure.panels):
        # β = 0 has no logarithm: values then stand at equal distances.
        values = [value for value, _ in panel.points]
        places = list(range(len(values)))
        for row, metric in enumerate(metrics):
            ax = axes[row][column]
            found = [
                (place, entry)
                for place, (_, setting) in zip(places, panel.points, strict=True)
                if (entry := findings.metric(setting, metric))
            ]
            for place, (_, setting) in zip(places, panel.points, strict=True):
                if setting == DEFAULT:
                    ax.axvline(place, color=GREY, linestyle="--", linewidth=1)
            means = [entry["mean"] for _, entry in found]
            bars = errors(means, [entry["interval"] for _, entry in found])
            style = look(row)
            ax.errorbar(
                [place for place, _ in found],
                means,
                yerr=bars,
                color=style.color,
                marker=style.marker,
                linestyle=style.line,
                capsize=3,
                markersize=4,
            )
            ax.set_xticks(places, [f"{value:g}" for value in values])
            ax.set_xlim(-0.4, len(values) - 0.6)
            if column == 0:
                ax.set_ylabel(f"{metric} (%)")
            if row == len(metrics) - 1:
                ax.set_xlabel(panel.parameter)
    return canvas
