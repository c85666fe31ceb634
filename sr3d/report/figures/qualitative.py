"""Boxes of two settings beside the ground truth, seen from above (the paper's Figs. 5, 9, 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from sr3d.data.datasets import get_dataset
from sr3d.data.prepared import PreparedDataset
from sr3d.data.scene import Scene
from sr3d.errors import InputError
from sr3d.geometry.box_set import BoxSet
from sr3d.geometry.boxes import Boxes
from sr3d.metrics.scored_files import ScoredTest
from sr3d.report.figures.drawn import Canvas
from sr3d.report.figures.estimates import incomplete
from sr3d.report.figures.names import Names
from sr3d.report.figures.scenes import IOU, RULE, SCORE, Confident, choose, confident, f1_scores
from sr3d.report.figures.style import SMALL, grid, new_figure
from sr3d.report.findings import Findings
from sr3d.report.paper import Qualitative
from sr3d.report.scene_pictures import class_style, extent, outlines, sample

_POINTS = 60_000  # drawn of a scene, at most
_PIXELS = 200  # along the longer side of a scene
_PALE = 0.6  # how much is left of a point's colour, so that boxes stand out
_CEILING = 0.8  # of the height; points above it would hide the room
_ROW = (1.6, 3.4)  # inches of a row, at least and at most
_LEGEND = 6  # classes in a line of the legend
_PLATE = {"boxstyle": "square,pad=0.05", "facecolor": "white", "alpha": 0.7, "linewidth": 0}


@dataclass(frozen=True)
class Row:
    """A scene: its cloud if there is one, and of each panel the boxes and the title."""

    cloud: Scene | None
    panels: tuple[Confident, ...]
    titles: tuple[str, ...]

    def limits(self) -> NDArray[np.float64]:
        """Left and bottom, right and top: of the points, the ground truth and boxes that are right,
        with a margin. Wrong ones may lie anywhere.
        """
        shown = [_seen(panel.boxes[panel.right]).reshape(-1, 2) for panel in self.panels]
        if self.cloud is not None:
            shown += [end[None, :2] for end in extent(self.cloud.points.numpy())]
        ends = np.concatenate(shown).astype(np.float64)
        if not len(ends):
            ends = np.array([[-2.0, -2.0], [2.0, 2.0]])
        low, high = ends.min(axis=0), ends.max(axis=0)
        margin = 0.06 * float((high - low).max()) + 1e-3
        return np.stack([low - margin, high + margin])


def draw_qualitative(
    figure: Qualitative, findings: Findings, names: Names, data: Path | None
) -> Canvas:
    """A row for each scene: ground truth, then both settings."""
    canvas = Canvas(figure.title)
    labels = [names.label(setting) for setting in figure.settings]
    tests = []
    for setting, label in zip(figure.settings, labels, strict=True):
        canvas.missing += incomplete(findings, setting, label)
        if (test := canvas.first_test(findings, setting, label)) is not None:
            tests.append(test)
    if len(tests) < 2:
        return canvas
    scores = [f1_scores(test) for test in tests]
    if apart := len(scores[0].keys() ^ scores[1].keys()):
        canvas.missing.append(f"scenes that only one of the two was tested on ({apart})")
    both = scores[0].keys() & scores[1].keys()
    scenes = choose({scene: scores[1][scene] - scores[0][scene] for scene in both}, figure.count)
    if not scenes:
        return canvas
    clouds = _clouds(canvas, findings, figure.settings[0], scenes, data)
    panels = [_truth(tests[0]), *(confident(test) for test in tests)]
    rows = [
        Row(
            clouds.get(scene),
            tuple(panel.of(scene) for panel in panels),
            (scene, *(f"{x}: F1 {f1[scene]:.2f}" for x, f1 in zip(labels, scores, strict=True))),
        )
        for scene in scenes
    ]
    canvas.picture = _draw(rows, get_dataset(findings.dataset).classes)
    canvas.caption = (
        f"Seen from above: ground truth, {labels[0]}, {labels[1]}, each in the first test of its "
        f"first training, with boxes of a score of {SCORE:g} or more. Solid: overlaps a ground "
        f"truth of its class, not yet taken, by more than {IOU:g} IoU; dotted: does not. Numbers "
        "are classes, the bar is one metre"
        + (". " if clouds else ", points are not drawn. ")
        + RULE
    )
    return canvas


def _truth(test: ScoredTest) -> Confident:
    return Confident(test.truth, np.ones(len(test.truth), dtype=bool))


def _clouds(
    canvas: Canvas, findings: Findings, setting: str, scenes: Sequence[str], data: Path | None
) -> dict[str, Scene]:
    """The scenes with their points, of the data that were tested on; none if they are not there."""
    lacking = "the points of the scenes"
    if data is None:
        canvas.missing.append(f"{lacking}: the prepared data were not given")
        return {}
    tested = (findings.summary(setting) or {}).get("test_data") or {}
    try:
        prepared = PreparedDataset(data, tested.get("split", "val"))
        if prepared.manifest.digest() != tested.get("digest"):
            canvas.missing.append(f"{lacking}: the prepared data are not those of the tests")
            return {}
        return {scene: prepared[prepared.ids.index(scene)] for scene in scenes}
    except InputError as error:
        canvas.missing.append(f"{lacking}: {error}")
        return {}


def _draw(rows: Sequence[Row], classes: Sequence[str]) -> Figure:
    """Three panels a scene, all of its limits, and below them the names of the classes."""
    limits = [row.limits() for row in rows]
    # As high as a scene is where three of it fill the width.
    heights = [float(np.clip(2.5 * np.divide(*(b - a)[::-1]), *_ROW)) + 0.25 for a, b in limits]
    seen = sorted({int(x) for row in rows for panel in row.panels for x in panel.boxes.label})
    picture = new_figure(sum(heights) + 0.1 + 0.2 * -(-len(seen) // _LEGEND))
    for line, row, (low, high) in zip(
        grid(picture, len(rows), 3, height_ratios=heights), rows, limits, strict=True
    ):
        for axes, panel, title in zip(line, row.panels, row.titles, strict=True):
            if row.cloud is not None:
                _draw_cloud(axes, row.cloud, np.stack([low, high]))
            _draw_boxes(axes, panel)
            axes.set_title(title, fontsize=SMALL)
            axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[])
            axes.set_aspect("equal")
            axes.spines[:].set_visible(False)
        foot = low + 0.015 * (high - low)
        line[0].plot([foot[0], foot[0] + 1], [foot[1]] * 2, color="black", linewidth=2)
    handles = [
        Line2D([], [], color=class_style(x)[0], linewidth=2, label=f"{x + 1} {classes[x]}")
        for x in seen
    ]
    if handles:
        picture.legend(handles=handles, loc="outside lower center", ncols=_LEGEND)
    return picture


def _draw_cloud(axes: Axes, cloud: Scene, limits: NDArray[np.float64]) -> None:
    low, high = limits
    axes.imshow(
        view_from_above(cloud, low, high), origin="lower", interpolation="none", zorder=0,
        extent=(low[0], high[0], low[1], high[1]),
    )  # fmt: skip


def view_from_above(
    cloud: Scene, low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(H, W, 3) pale picture of the points between two corners (x, y); its first row is at the
    bottom, and of points in one pixel it shows the highest below the ceiling.
    """
    points, colors = sample(cloud, _POINTS)
    bottom, top = extent(points)
    below = points[:, 2] <= bottom[2] + _CEILING * (top - bottom)[2]
    order = np.flatnonzero(below)[np.argsort(points[below, 2], kind="stable")]
    pixel = float((high - low).max()) / _PIXELS
    width, height = np.ceil((high - low) / pixel).astype(int)
    column, row = np.floor((points[order, :2] - low) / pixel).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    picture = np.ones((height, width, 3))
    picture[row[inside], column[inside]] = 1 - _PALE * (1 - colors[order][inside])
    return picture


def _draw_boxes(axes: Axes, panel: Confident) -> None:
    """Wrong ones first, so that right ones lie above them."""
    for right in (False, True):
        boxes = panel.boxes[(panel.right == right) & np.isfinite(panel.boxes.box).all(axis=1)]
        seen = list(_seen(boxes))
        axes.add_collection(LineCollection(seen, colors="white", linewidths=3.0, alpha=0.8))
        axes.add_collection(
            LineCollection(
                seen,
                colors=[class_style(int(label))[0] for label in boxes.label],
                linewidths=1.6 if right else 1.0,
                linestyles="solid" if right else (0, (1.5, 1.2)),
            )
        )
        for corners, label in zip(seen, boxes.label, strict=True):
            # Numbers of right boxes stand in the middle, of wrong ones at a corner.
            x, y = corners[:4].mean(axis=0) if right else corners[0]
            axes.text(
                x, y, f"{label + 1}", color="0.1", fontsize=SMALL, ha="center", va="center",
                weight="bold" if right else "normal", clip_on=True, bbox=_PLATE,
            )  # fmt: skip


def _seen(boxes: BoxSet) -> NDArray[np.float32]:
    """(K, 5, 2) outlines from above."""
    found: NDArray[np.float32] = outlines(Boxes.from_array(boxes.box), (0, 1))
    return found
