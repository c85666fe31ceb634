"""Do scores tell the overlap? AIC, score against IoU, PCE (the paper's Fig. 6)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from sr3d.metrics.consistency import most_confident
from sr3d.metrics.scored_files import ScoredTest
from sr3d.report.figures.drawn import Canvas
from sr3d.report.figures.style import errors, look, panels
from sr3d.report.findings import Findings
from sr3d.report.paper import Consistency
from sr3d.stats import t_interval


def draw_consistency(figure: Consistency, findings: Findings) -> Canvas:
    """(a) AIC by epoch, (b) a scatter for each setting, (c) PCE."""
    canvas = Canvas(
        figure.title,
        "(a) Mean over the trainings of each epoch's AIC over positives, with its 95 % interval. "
        f"(b) Score against IoU with the best ground truth of the class, of the {figure.top_n} "
        "most confident detections of each class in the first test of the first training; on the "
        "diagonal both agree. (c) PCE, the mean of |score − IoU| of such detections: a dot for "
        "each training, the mean and its 95 % interval.",
    )
    ran = [name for name in figure.settings if findings.summary(name)]
    canvas.missing += [f"{name}: not run" for name in figure.settings if name not in ran]
    if not ran:
        return canvas
    found = {name: canvas.first_test(findings, name) for name in ran}
    clouds = {name: _cloud(test, figure.top_n) for name, test in found.items() if test}
    scattered = list(clouds)
    columns = 2 + len(scattered)
    canvas.picture, axes = panels(1, columns, 2.9 * columns, 3.2)
    _curves(axes[0][0], findings, ran)
    for ax, name in zip(axes[0][1:], scattered, strict=False):
        cloud, style = clouds[name], look(ran.index(name))
        ax.plot([0, 1], [0, 1], color="#767676", linewidth=1, linestyle="--")
        ax.plot(cloud[1], cloud[0], style.marker, color=style.color, markersize=3, alpha=0.5)
        ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="IoU", ylabel="score", title=f"(b) {name}")
    _errors(axes[0][-1], findings, ran)
    return canvas


def _cloud(test: ScoredTest, top_n: int) -> NDArray[np.float64]:
    """(2, K) scores and IoUs of the most confident detections."""
    assert test.detections.score is not None
    top = most_confident(test.detections.label, test.detections.score, top_n)
    return np.stack([test.detections.score[top], test.matching.iou[top]])


def _curves(ax: Axes, findings: Findings, settings: list[str]) -> None:
    for index, name in enumerate(settings):
        curves = findings.curves(name, "AIC")
        if not curves:
            continue
        epochs = range(1, min(len(curve) for curve in curves) + 1)
        columns = [[curve[epoch - 1] for curve in curves] for epoch in epochs]
        means = [float(np.mean(column)) for column in columns]
        pairs = [t_interval(column) or (m, m) for column, m in zip(columns, means, strict=True)]
        style = look(index)
        ax.plot(
            epochs, means, color=style.color, marker=style.marker, linestyle=style.line, label=name
        )
        low, high = [p[0] for p in pairs], [p[1] for p in pairs]
        ax.fill_between(epochs, low, high, color=style.color, alpha=0.15, linewidth=0)
    ax.set(xlabel="epoch", ylabel="AIC", title="(a) in training")
    ax.set_ylim(bottom=0)
    if ax.lines:
        ax.legend(fontsize=8)


def _errors(ax: Axes, findings: Findings, settings: list[str]) -> None:
    for index, name in enumerate(settings):
        found = findings.metric(name, "PCE")
        if not found:
            continue
        style = look(index)
        means = found["training_means"]
        ax.plot([index - 0.15] * len(means), means, style.marker, color=style.color, alpha=0.5)
        bars = errors([found["mean"]], [found["interval"]])
        ax.errorbar(
            index + 0.1, found["mean"], yerr=bars, fmt=style.marker, color=style.color, capsize=4
        )
    ax.set_xticks(range(len(settings)), settings, rotation=20)
    ax.set(ylabel="PCE", title="(c) after NMS", xlim=(-0.6, len(settings) - 0.4))
    ax.set_ylim(bottom=0)
