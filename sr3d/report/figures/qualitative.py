"""Boxes of two settings beside the ground truth, seen from above (the paper's Figs. 5, 9, 10)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon
from numpy.typing import NDArray

from sr3d.data.datasets import get_dataset
from sr3d.data.prepared import PreparedDataset
from sr3d.errors import InputError
from sr3d.geometry.box_set import BoxSet
from sr3d.geometry.boxes import Boxes
from sr3d.metrics.matching import true_positives
from sr3d.metrics.scored_files import ScoredTest
from sr3d.report.figures.drawn import Canvas
from sr3d.report.figures.style import look, panels
from sr3d.report.findings import Findings
from sr3d.report.paper import Qualitative

SCORE = 0.3  # boxes below it are neither drawn nor counted
IOU = 0.25
_POINTS = 20_000  # drawn of a scene, at most


def draw_qualitative(figure: Qualitative, findings: Findings, data: Path | None) -> Canvas:
    """A row for each scene: ground truth, then both settings."""
    canvas = Canvas(
        figure.title,
        f"Seen from above, boxes with a score of {SCORE:g} or more in the first test of the first "
        f"training; solid boxes overlap a ground truth of their class by more than {IOU:g} IoU, "
        f"dotted ones do not. Scenes are chosen by a rule: where the second setting's F1 exceeds "
        f"the first's the most, where the difference is the median, and where it is the least.",
    )
    tests = {name: canvas.first_test(findings, name) for name in figure.settings}
    first, second = (tests[name] for name in figure.settings)
    if first is None or second is None:
        return canvas
    gains = {
        s: f1(second, s) - f1(first, s) for s in first.truth.scenes if s in second.truth.scenes
    }
    scenes = choose(gains, figure.count)
    points = _points(scenes, data, first)
    if points is None:
        canvas.missing.append("the points of the scenes: the prepared data were not at hand")
    canvas.picture, axes = panels(len(scenes), 3, 10, 3.2 * len(scenes))
    classes = get_dataset(findings.dataset).classes
    for row, scene in enumerate(scenes):
        cloud = None if points is None else points[scene]
        truth = first.truth[first.truth.scene == scene]
        _draw(axes[row][0], truth, np.ones(len(truth), dtype=bool), cloud, classes)
        axes[row][0].set_ylabel(f"{scene}\ngain {gains[scene]:+.2f}", fontsize=8)
        for ax, test in zip(axes[row][1:], (first, second), strict=True):
            found, right = _confident(test, scene)
            _draw(ax, found, right, cloud, classes)
            ax.set(xlim=axes[row][0].get_xlim(), ylim=axes[row][0].get_ylim())
    for ax, title in zip(axes[0], ("ground truth", *figure.settings), strict=True):
        ax.set_title(title, fontsize=9)
    return canvas


def choose(gains: dict[str, float], count: int) -> list[str]:
    """Scenes at even steps from the largest gain to the least; of equals by name."""
    order = sorted(gains, key=lambda scene: (-gains[scene], scene))
    if len(order) <= count:
        return order
    steps = np.linspace(0, len(order) - 1, count).round().astype(int) if count > 1 else [0]
    return [order[step] for step in steps]


def f1(test: ScoredTest, scene: str) -> float:
    """F1 of the confident boxes of a scene; 1 where there is nothing to find and nothing found."""
    found, right = _confident(test, scene)
    wanted = int((test.truth.scene == scene).sum())
    return 2 * int(right.sum()) / (len(found) + wanted) if len(found) + wanted else 1.0


def _confident(test: ScoredTest, scene: str) -> tuple[BoxSet, NDArray[np.bool_]]:
    """The confident boxes of a scene, best first, and which of them are right."""
    assert test.detections.score is not None
    rows = np.flatnonzero((test.detections.scene == scene) & (test.detections.score >= SCORE))
    rows = rows[np.argsort(-test.detections.score[rows], kind="stable")]
    return test.detections[rows], true_positives(test.matching[rows], IOU)


def _points(
    scenes: list[str], data: Path | None, test: ScoredTest
) -> dict[str, NDArray[np.float32]] | None:
    """Some points of each scene, from whichever split of the prepared data has them."""
    if data is None:
        return None
    for split in ("val", "train", "test"):
        try:
            prepared = PreparedDataset(data, split)
        except InputError:
            continue
        index = {scene: i for i, scene in enumerate(prepared.ids)}
        if set(scenes) <= index.keys():
            clouds = {scene: prepared[index[scene]].points.numpy() for scene in scenes}
            return {s: c[:: max(1, len(c) // _POINTS)] for s, c in clouds.items()}
    return None


def _draw(
    ax: Axes,
    boxes: BoxSet,
    right: NDArray[np.bool_],
    points: NDArray[np.float32] | None,
    classes: tuple[str, ...],
) -> None:
    if points is not None:
        ax.plot(points[:, 0], points[:, 1], ",", color="#b8b8b8", rasterized=True)
    corners = Boxes.from_array(boxes.box).corners()[:, [0, 1, 3, 2], :2].numpy()
    for corner, label, good in zip(corners, boxes.label, right, strict=True):
        style = look(int(label))
        line = style.line if good else ":"
        ax.add_patch(
            Polygon(corner, fill=False, edgecolor=style.color, linestyle="-" if good else line)
        )
        name = classes[int(label)]
        ax.annotate(name, corner.mean(axis=0), fontsize=6, ha="center", color=style.color)
    ax.set_aspect("equal")
    ax.autoscale_view()
    ax.set_xticks([])
    ax.set_yticks([])
    ax.margins(0.1)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
