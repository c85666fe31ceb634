"""Finds the floor and the walls of a scanned room."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

AT_ZERO = 0.1
"""Metres: a floor this near to z = 0 is not moved. Training shifts scenes by as much."""

_POINTS = 50_000  # enough to find floor and walls
_COLUMN, _STEP = 0.10, 0.02  # metres: edge of a column, and of a bin of heights
_LEVEL = 0.25  # minimum number of columns of a floor, relative to the most frequent height
_CELL, _SLICE = 0.05, 0.10  # metres: edge of a column in the search for walls, and its slices
_TALL = 3  # minimum number of occupied slices of a column of a wall
_CLEAR = 1.4  # minimum contrast of directions


class Walls(NamedTuple):
    """angle: of a wall to the x axis, radians counter-clockwise, in [-pi/4, pi/4).

    contrast: sharpness of the floor plan in this direction over its median of all directions. A
    scan without straight walls has about 1, a procedural room 3 to 6.
    """

    angle: float
    contrast: float

    @property
    def clear(self) -> bool:
        """Whether the scan has a clear direction."""
        return self.contrast >= _CLEAR


def find_floor(points: Array) -> float:
    """The height of the floor in a scan: the lowest height at which many columns end.

    points: (N, 3) metres, z up, N > 0. Stray points below the floor do not matter. If the floor is
    not visible, the result is the lowest large surface.
    """
    points = _some(points)
    _, column = np.unique(_cells(points[:, :2], _COLUMN), return_inverse=True)
    lowest = np.full(int(column.max()) + 1, np.inf)
    np.minimum.at(lowest, column, points[:, 2].astype(np.float64))
    base = lowest.min()
    # A stray point far below must not make the histogram huge.
    base = max(base, float(np.median(lowest)) - 1000 * _STEP)
    bins = np.floor((lowest - base) / _STEP).clip(0, 2000).astype(np.int64)
    ends = np.convolve(np.bincount(bins), np.ones(3), "same")
    first = int(np.argmax(ends >= _LEVEL * ends.max()))
    peak = first + int(np.argmax(ends[first : first + 5]))
    return float(np.median(lowest[np.abs(bins - peak) <= 1]))


def find_walls(points: Array) -> Walls:
    """The direction of the walls of a room, most of which meet at right angles.

    The floor plan is projected onto an axis and onto its normal. Walls along them give a few sharp
    peaks. The sum of the squares of both profiles is the sharpness of this direction.

    points: (N, 3) metres, z up, N > 0.
    """
    points = _some(points)
    # One point per occupied slice of a column, so dense surfaces count no more than thin ones.
    _, first = np.unique(_cells(points, (_CELL, _CELL, _SLICE)), return_index=True)
    plan = points[first, :2].astype(np.float64)
    _, column, slices = np.unique(_cells(plan, _CELL), return_inverse=True, return_counts=True)
    weights = slices[column].astype(np.float64)
    tall = weights >= _TALL
    if not tall.any():
        return Walls(0.0, 1.0)
    plan, weights = plan[tall], weights[tall]

    def sharpness(degrees: float) -> float:
        cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        profiles = (_profile(plan @ axis, weights) for axis in ([cos, sin], [-sin, cos]))
        return float(sum((profile**2).sum() for profile in profiles))

    coarse = np.arange(-45.0, 45.0)
    values = np.array([sharpness(degrees) for degrees in coarse])
    fine = coarse[values.argmax()] + np.arange(-10, 11) / 10
    best = float(fine[np.argmax([sharpness(degrees) for degrees in fine])])
    angle = np.deg2rad((best + 45) % 90 - 45)
    return Walls(float(angle), float(values.max() / np.median(values)))


def _profile(places: Array, weights: Array) -> Array:
    return np.bincount(np.floor((places - places.min()) / _CELL).astype(np.int64), weights)


def _cells(points: Array, edges: float | tuple[float, ...]) -> Array:
    """(N,) int64, equal for points of one cell of a grid."""
    cells = np.floor((points - points.min(axis=0)) / edges).astype(np.int64)
    key = cells[:, 0]
    for axis in range(1, cells.shape[1]):
        key = key * (cells[:, axis].max() + 1) + cells[:, axis]
    return key


def _some(points: Array) -> Array:
    """Evenly chosen rows, to limit the time for large scans."""
    return points[:: -(-len(points) // _POINTS)]
