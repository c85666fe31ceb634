"""Draws boxes into a view: their edges, and the numbers of their classes where there is room."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from sr3d.geometry.boxes import Boxes
from sr3d.study.report.figures.placing import place_apart
from sr3d.study.report.figures.scenes import Confident
from sr3d.study.report.figures.style import SMALL
from sr3d.study.report.figures.views import View
from sr3d.study.report.scene_pictures import class_style

Array = npt.NDArray[Any]

_DIGIT, _LINE = 0.09, 0.13  # inches that a digit takes across, and a line up
_HALO = (1.0, 1.0, 1.0, 0.8)
_DOTTED: Any = (0, (0.05, 1.9))  # its round ends make dots of it
_PLATE = {"boxstyle": "square,pad=0.05", "facecolor": "white", "alpha": 0.7, "linewidth": 0}


def draw_boxes(axes: Axes, found: Confident, view: View, inches: float) -> None:
    """Right boxes solid, over wrong ones, which are dotted; the near over the far.

    Edges that a right box itself hides are thin; those of wrong ones are left out. inches: of a
    metre.
    """
    finite = np.isfinite(found.boxes.box).all(axis=1)
    boxes, right = Boxes.from_array(found.boxes.box[finite]), found.right[finite]
    if not len(boxes):
        return
    labels = found.boxes.label[finite]
    _draw_edges(axes, boxes, labels, right, view)
    numbers = [f"{label + 1}" for label in labels]
    top = view.project(boxes.corners().numpy()[:, 4:])[:, :, :2]
    middle = top.mean(axis=1, keepdims=True)
    first = np.flatnonzero(right)  # whose numbers stand where they please, then the others
    others = np.flatnonzero(~right)
    places = np.concatenate(
        [
            np.concatenate([middle[first], top[first]], axis=1),
            np.concatenate([top[others], middle[others]], axis=1),
        ]
    )
    order = [*first.tolist(), *others.tolist()]
    sizes = np.array([[_DIGIT * len(numbers[i]), _LINE] for i in order]) / inches
    for i, (x, y) in zip(order, place_apart(places, sizes), strict=True):
        axes.text(
            x, y, numbers[i], color="0.1", fontsize=SMALL, ha="center", va="center",
            weight="bold" if right[i] else "normal", clip_on=True, bbox=_PLATE,
        )  # fmt: skip


def _draw_edges(axes: Axes, boxes: Boxes, labels: Array, right: Array, view: View) -> None:
    edges, visible = view.wireframes(boxes)
    nearness = view.project(boxes.centers.numpy())[:, 2]
    strokes: list[tuple[Array, Any, float, Any]] = []  # segment, colour, width, dashes
    for i in np.lexsort((nearness, right)):
        color, near = class_style(int(labels[i]))[0], edges[i][visible[i]]
        if right[i]:
            strokes += [(edge, color, 0.5, "solid") for edge in edges[i][~visible[i]]]
        width, dashes = (1.5, "solid") if right[i] else (1.25, _DOTTED)
        strokes += [(edge, _HALO, width + 1.3, "solid") for edge in near]
        strokes += [(edge, color, width, dashes) for edge in near]
    segments, colors, widths, styles = zip(*strokes, strict=True)
    axes.add_collection(
        LineCollection(
            segments, colors=colors, linewidths=widths, linestyles=styles, capstyle="round"
        )
    )
