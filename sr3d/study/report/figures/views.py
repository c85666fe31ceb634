"""Draw the points and boxes of a scene, seen from above and obliquely."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from sr3d.geometry.boxes import Boxes
from sr3d.study.report.figures.scene_choice import ConfidentBoxes
from sr3d.study.report.figures.style import SMALL
from sr3d.study.report.scene_pictures import class_style, extent

Array = npt.NDArray[Any]

_PIXELS = 220  # along the longer side of a view
_PALE = 0.6  # fraction of a point's colour that is kept, so that boxes stand out
_CEILING = 0.2  # fraction of the height that is omitted
_WALL = 0.15  # metres that are omitted at the sides of the room that face the eye
_TURNED = 1e-6  # a side with a smaller cosine is seen edge-on
# The 12 edges of a box as pairs of corners, whose bits are x, y, z (`Boxes.corners`), and the two
# sides that share each edge: 2 · axis for the lower side, 2 · axis + 1 for the upper one.
_EDGES = np.array(
    [(low, low | 1 << axis) for axis in range(3) for low in range(8) if not low >> axis & 1]
)
_SIDES = np.array(
    [
        [2 * other + (low >> other & 1) for other in range(3) if not (high ^ low) >> other & 1]
        for low, high in _EDGES.tolist()
    ]
)


@dataclass(frozen=True, eq=False)
class SceneView:
    """An orthographic view. axes: (3, 3), unit vectors to the right, up the picture and towards the
    eye, one per row.
    """

    axes: Array

    def project(self, points: Array) -> Array:
        """(…, 3) metres to the right, up the picture and towards the eye."""
        return np.asarray(points @ self.axes.T)

    def shows(self, points: Array) -> npt.NDArray[np.bool_]:
        """(N,) points outside the ceiling and the walls between the eye and the room."""
        low, high = extent(points)
        depth = np.array([_WALL, _WALL, _CEILING * (high - low)[2]])
        towards = self.axes[2]
        hidden = (towards > _TURNED) & (points > high - depth)
        hidden |= (towards < -_TURNED) & (points < low + depth)
        return ~hidden.any(axis=1)

    def picture(self, points: Array, colors: Array, low: Array, high: Array) -> Array:
        """(H, W, 3) pale picture of the shown points (N, 3) between two corners of the view.

        The first row is at the bottom. A pixel shows the point that is nearest to the eye.
        """
        shown = self.shows(points)
        seen, colors = self.project(points[shown]), colors[shown]
        order = np.argsort(seen[:, 2], kind="stable")
        pixel = float((high - low).max()) / _PIXELS
        width, height = np.ceil((high - low) / pixel).astype(int)
        column, row = np.floor((seen[order, :2] - low) / pixel).astype(int).T
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        picture = np.ones((height, width, 3))
        picture[row[inside], column[inside]] = 1 - _PALE * (1 - colors[order][inside])
        return picture

    def wireframes(self, boxes: Boxes) -> tuple[Array, npt.NDArray[np.bool_]]:
        """(K, 12, 2, 2) projected edges, and (K, 12) whether the box itself leaves them visible.

        The visible edges belong to a side that faces the eye.
        """
        lines = self.project(boxes.corners().numpy())[:, _EDGES, :2]
        x, y, z = self.axes[2]
        c, s = np.cos(boxes.yaw.numpy()), np.sin(boxes.yaw.numpy())
        towards = np.stack([c * x + s * y, c * y - s * x, np.full(len(boxes), z)], axis=1)
        turned = np.stack([towards < -_TURNED, towards > _TURNED], axis=2).reshape(-1, 6)
        return lines, np.asarray(turned[:, _SIDES].any(axis=2))


def oblique(turn: float, height: float) -> SceneView:
    """A view into the room along y, from `turn` degrees to the right and `height` degrees above."""
    a, e = radians(turn), radians(height)
    right, into, up = np.array([[cos(a), sin(a), 0], [-sin(a), cos(a), 0], [0, 0, 1]])
    return SceneView(np.stack([right, sin(e) * into + cos(e) * up, sin(e) * up - cos(e) * into]))


ABOVE = SceneView(np.eye(3))
OBLIQUE = oblique(25, 45)


_DIGIT, _LINE = 0.09, 0.13  # width of a digit and height of a line in inches
_HALO = (1.0, 1.0, 1.0, 0.8)
_DOTTED: Any = (0, (0.05, 1.9))  # round caps turn the short dashes into dots
_PLATE = {"boxstyle": "square,pad=0.05", "facecolor": "white", "alpha": 0.7, "linewidth": 0}


def draw_boxes(axes: Axes, found: ConfidentBoxes, view: SceneView, inches: float) -> None:
    """Draw right boxes solid, above wrong boxes, which are dotted. Near boxes cover far ones.

    Edges of a right box that it hides itself are thin. For wrong boxes they are omitted. inches:
    per metre.
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
    first = np.flatnonzero(right)  # their numbers are placed first
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


def _draw_edges(axes: Axes, boxes: Boxes, labels: Array, right: Array, view: SceneView) -> None:
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


def place_apart(places: Array, sizes: Array) -> Array:
    """(K, 2) positions of labels of sizes (K, 2), each at one of its candidates (K, P, 2).

    Greedy: a label takes the first candidate that covers no earlier label, otherwise the one that
    covers least.
    """
    chosen = np.empty((len(places), 2))
    for i, (own, size) in enumerate(zip(places, sizes, strict=True)):
        reach = (size + sizes[:i]) / 2 - np.abs(own[:, None] - chosen[:i])  # (P, i, 2)
        shared = np.minimum(reach, np.minimum(size, sizes[:i])).clip(min=0)
        chosen[i] = own[shared.prod(axis=2).sum(axis=1).argmin()]
    return chosen
