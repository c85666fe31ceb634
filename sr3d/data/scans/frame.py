"""Transforms between a scan's own coordinates and upright metres."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sr3d.data.scans.content import bounds
from sr3d.errors import InputError, Kind

if TYPE_CHECKING:
    from sr3d.geometry.boxes import Boxes

Array = npt.NDArray[Any]

UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "ft": 0.3048, "in": 0.0254}
"""Metres per unit."""

_AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
_FAR = 1000.0  # metres. float32 resolves 0.06 mm at this distance


class FileBoxes(NamedTuple):
    """K boxes in a scan's own coordinates and unit, float64.

    centers: (K, 3). sizes: (K, 3), along each box's own axes, the last of which is up.
    rotations: (K, 3, 3), whose columns are these axes. corners: (K, 8, 3), in the order of
    `Boxes.corners`.
    """

    centers: Array
    sizes: Array
    rotations: Array
    corners: Array


@dataclass(frozen=True)
class Frame:
    """Upright metres are `scale * rotation @ (x - origin)`.

    rotation: (3, 3). origin: (3,) in the scan's unit. up: in the form of `up_vector`. walls: the
    rotation turns the upright scan clockwise by this many radians, so that its walls lie along x
    and y.
    """

    up: str = "z"
    unit: str = "m"
    rotation: Array = field(default_factory=lambda: np.eye(3))
    origin: Array = field(default_factory=lambda: np.zeros(3))
    walls: float = 0.0

    @staticmethod
    def of(points: Array, up: str, unit: str) -> Frame:
        """The frame of (N, 3) points. If they are far from the origin, they are moved to it."""
        low, high = bounds(points)
        middle = (low + high) / 2
        far = np.abs(middle).max() * UNITS[unit] > _FAR
        return Frame(up, unit, turn_upright(up), np.round(middle) if far else np.zeros(3))

    @property
    def scale(self) -> float:
        """Metres of one unit."""
        return UNITS[self.unit]

    def upright(self, points: Array) -> Array:
        """Converts (N, 3) points of the file to float32 metres, z up."""
        if self.unit == "m" and self.up == "z" and not self.origin.any() and self.walls == 0:
            # A copy, because memory mapped from a file may change and must not be written to.
            return np.array(points, dtype=np.float32, order="C")
        moved = (points.astype(np.float64) - self.origin) @ (self.rotation.T * self.scale)
        return np.ascontiguousarray(moved, dtype=np.float32)

    def moved(self, walls: float, turn: Array, shift: Array) -> Frame:
        """This frame, then a rotation (3, 3) of -walls about z, and a shift (3,) in metres."""
        rotation = turn @ self.rotation
        origin = self.origin - rotation.T @ shift / self.scale
        return replace(self, rotation=rotation, origin=origin, walls=self.walls + walls)

    def back(self, boxes: Boxes) -> FileBoxes:
        """Boxes of this frame in the coordinates of the file."""
        box = boxes.tensor.detach().cpu().numpy().astype(np.float64)
        cos, sin, zero = np.cos(box[:, 6]), np.sin(box[:, 6]), np.zeros(len(box))
        own = np.stack(
            [
                np.stack([cos, -sin, zero], axis=1),
                np.stack([sin, cos, zero], axis=1),
                np.stack([zero, zero, zero + 1], axis=1),
            ],
            axis=1,
        )
        rotations = self.rotation.T @ own
        centers = box[:, :3] @ self.rotation / self.scale + self.origin
        sizes = box[:, 3:6] / self.scale
        signs = np.array([[(i >> axis & 1) * 2 - 1 for axis in range(3)] for i in range(8)])
        offsets = signs * sizes[:, None] / 2
        corners = centers[:, None] + offsets @ rotations.transpose(0, 2, 1)
        return FileBoxes(centers, sizes, rotations, corners)


def up_vector(up: str) -> Array:
    """`x`, `-y`, … or three numbers with commas between, as a unit vector (3,).

    Raises:
        InputError: the text has another form.
    """
    name = up.removeprefix("-").removeprefix("+")
    if name in _AXES:
        return np.array(_AXES[name]) * (-1 if up.startswith("-") else 1)
    try:
        vector = np.array([float(part) for part in up.split(",")])
    except ValueError:
        vector = np.zeros(0)
    length = float(np.linalg.norm(vector))
    if vector.shape != (3,) or not np.isfinite(length) or length < 1e-6:
        raise InputError(
            "take x, y, z, -x, -y, -z, or a direction such as 0.1,-0.9,0",
            field=f"--up {up}",
            kind=Kind.UNKNOWN,
        )
    return vector / length


def turn_upright(up: str) -> Array:
    """(3, 3), the smallest rotation that brings `up` onto z. A scan upside down is first turned
    about x.
    """
    vector = up_vector(up)
    over = np.diag([1.0, -1.0, -1.0])
    return _shortest(over @ vector) @ over if vector[2] < -0.9 else _shortest(vector)


def _shortest(vector: Array) -> Array:
    x, y, z = vector
    cross = np.array([[0, 0, -x], [0, 0, -y], [x, y, 0]])  # vector × z, as a matrix
    return np.eye(3) + cross + cross @ cross / (1 + z) + 0.0  # no negative zeros
