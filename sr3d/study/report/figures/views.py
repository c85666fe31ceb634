"""Looks at a scene, from above and obliquely: where points and edges of boxes are seen."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin
from typing import Any

import numpy as np
import numpy.typing as npt

from sr3d.geometry.boxes import Boxes
from sr3d.study.report.scene_pictures import extent

Array = npt.NDArray[Any]

_PIXELS = 220  # along the longer side of a view
_PALE = 0.6  # how much is left of a point's colour, so that boxes stand out
_CEILING = 0.2  # of the height, and
_WALL = 0.15  # metres: as much is left out of the room's sides that are turned to the eye
_TURNED = 1e-6  # a side that is turned to the eye by less is seen edge-on
# The 12 edges of a box by their corners, whose bits are x, y, z (`Boxes.corners`), and the two
# sides that meet in each: 2 · axis for the lower one, 2 · axis + 1 for the upper one.
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
class View:
    """An orthographic look. axes: (3, 3) rows of unit length, to the right, up the picture and
    towards the eye.
    """

    axes: Array

    def project(self, points: Array) -> Array:
        """(…, 3) metres to the right, up the picture and towards the eye."""
        return np.asarray(points @ self.axes.T)

    def shows(self, points: Array) -> npt.NDArray[np.bool_]:
        """(N,) which points are not of the ceiling or of a wall between the eye and the room."""
        low, high = extent(points)
        depth = np.array([_WALL, _WALL, _CEILING * (high - low)[2]])
        towards = self.axes[2]
        hidden = (towards > _TURNED) & (points > high - depth)
        hidden |= (towards < -_TURNED) & (points < low + depth)
        return ~hidden.any(axis=1)

    def picture(self, points: Array, colors: Array, low: Array, high: Array) -> Array:
        """(H, W, 3) pale picture of what is shown of points (N, 3) between two corners of the view,
        its first row at the bottom; of points in one pixel the nearest to the eye is seen.
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
        """(K, 12, 2, 2) edges as they are seen, and (K, 12) which of them the box itself does not
        hide: those of a side that is turned to the eye.
        """
        lines = self.project(boxes.corners().numpy())[:, _EDGES, :2]
        x, y, z = self.axes[2]
        c, s = np.cos(boxes.yaw.numpy()), np.sin(boxes.yaw.numpy())
        towards = np.stack([c * x + s * y, c * y - s * x, np.full(len(boxes), z)], axis=1)
        turned = np.stack([towards < -_TURNED, towards > _TURNED], axis=2).reshape(-1, 6)
        return lines, np.asarray(turned[:, _SIDES].any(axis=2))


def oblique(turn: float, height: float) -> View:
    """Into the room along y, from so many degrees to the right, from so many above the floor."""
    a, e = radians(turn), radians(height)
    right, into, up = np.array([[cos(a), sin(a), 0], [-sin(a), cos(a), 0], [0, 0, 1]])
    return View(np.stack([right, sin(e) * into + cos(e) * up, sin(e) * up - cos(e) * into]))


ABOVE = View(np.eye(3))
OBLIQUE = oblique(25, 45)
