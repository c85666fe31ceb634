"""The only shape in rooms, coloured quadrilaterals, and solids built from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

Color = Sequence[float] | np.ndarray
Span = tuple[float, float]

# Faces of a cuboid, counter-clockwise seen from outside. Index bits 0, 1, 2 are x, y, z.
_FACES = np.array(
    [(0, 4, 6, 2), (1, 3, 7, 5), (0, 1, 5, 4), (2, 6, 7, 3), (0, 2, 3, 1), (4, 5, 7, 6)]
)
_BITS = np.array([[i >> axis & 1 for axis in range(3)] for i in range(8)], dtype=bool)


@dataclass(frozen=True)
class QuadMesh:
    """Q one-sided quadrilaterals. They are visible from where their corners run counter-clockwise.

    corners: (Q, 4, 3) metres. colors: (Q, 3) in [0, 1]. returns: (Q,) share of a scanner's rays
    that come back. Glass and dark surfaces lose some.
    """

    corners: np.ndarray
    colors: np.ndarray
    returns: np.ndarray

    def __len__(self) -> int:
        return len(self.corners)

    def moved(self, yaw: float, offset: Sequence[float]) -> QuadMesh:
        """Rotated counter-clockwise about z, then shifted by (x, y, z)."""
        turned = self.corners @ rotation(yaw).T
        return replace(self, corners=turned + np.asarray(offset, dtype=float))

    def extent(self) -> tuple[np.ndarray, np.ndarray]:
        """The minimum and maximum corner (3,) of its axis-aligned extent."""
        return self.corners.min(axis=(0, 1)), self.corners.max(axis=(0, 1))

    def area_normals(self) -> np.ndarray:
        """(Q, 3) outward normals with the quadrilateral's area as length."""
        c = self.corners
        return 0.5 * np.cross(c[:, 2] - c[:, 0], c[:, 3] - c[:, 1])


def rotation(yaw: float) -> np.ndarray:
    """(3, 3) rotation about z, free of rounding at quarter turns."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    if abs(cos * sin) < 1e-12:
        cos, sin = round(cos), round(sin)
    return np.array([(cos, -sin, 0.0), (sin, cos, 0.0), (0.0, 0.0, 1.0)])


def mesh(corners: np.ndarray, color: Color, returns: float = 1.0) -> QuadMesh:
    """Quadrilaterals (Q, 4, 3) of one colour, or of one colour each."""
    count = len(corners)
    colors = np.broadcast_to(np.asarray(color, dtype=float), (count, 3))
    return QuadMesh(corners, colors, np.full(count, returns))


def join(parts: Sequence[QuadMesh]) -> QuadMesh:
    """All parts as one mesh, in order."""
    return QuadMesh(
        np.concatenate([part.corners for part in parts]),
        np.concatenate([part.colors for part in parts]),
        np.concatenate([part.returns for part in parts]),
    )


def block(x: Span, y: Span, z: Span, color: Color, returns: float = 1.0) -> QuadMesh:
    """A cuboid, each axis given as (low, high)."""
    spans = np.array([x, y, z])
    corners = np.where(_BITS, spans[:, 1], spans[:, 0])
    return mesh(corners[_FACES], color, returns)


def lathe(
    profile: Sequence[Span],
    color: Color,
    center: Sequence[float] = (0.0, 0.0, 0.0),
    stretch: Span = (1.0, 1.0),
    sides: int = 12,
) -> QuadMesh:
    """A solid of revolution about z: `profile` is its (radius, z) outline from the bottom up.

    An outline that runs up outside and down inside makes a vessel. `stretch` scales x and y. If
    sides is divisible by four, the extent is exactly the greatest radius.
    """
    radius, z = np.array(profile, dtype=float).T
    angle = np.arange(sides + 1) * (2 * math.pi / sides)
    ring = np.stack(
        [
            np.outer(radius, np.cos(angle)) * stretch[0],
            np.outer(radius, np.sin(angle)) * stretch[1],
            np.broadcast_to(z[:, None], (len(z), sides + 1)),
        ],
        axis=-1,
    )
    quads = np.stack([ring[:-1, :-1], ring[:-1, 1:], ring[1:, 1:], ring[1:, :-1]], axis=2)
    return mesh(quads.reshape(-1, 4, 3) + np.asarray(center, dtype=float), color)


def cylinder(radius: float, z: Span, color: Color, center: Span = (0.0, 0.0)) -> QuadMesh:
    """A closed upright cylinder."""
    outline = [(0.0, z[0]), (radius, z[0]), (radius, z[1]), (0.0, z[1])]
    return lathe(outline, color, (*center, 0.0), sides=8 if radius < 0.1 else 16)


def blob(size: Sequence[float], color: Color, center: Sequence[float]) -> QuadMesh:
    """A rounded lump of `size` (x, y, z) standing on `center`: cushions, foliage, bulbs."""
    outline = [(0.0, 0.0), (0.8, 0.1), (1.0, 0.5), (0.8, 0.9), (0.0, 1.0)]
    scaled = [(r, z * size[2]) for r, z in outline]
    return lathe(scaled, color, center, (size[0] / 2, size[1] / 2), sides=8)


def subdivided(whole: QuadMesh, size: float) -> tuple[QuadMesh, np.ndarray]:
    """The mesh cut into pieces at most `size` metres long, and the (Q',) quadrilateral of each."""
    c = whole.corners
    length = np.linalg.norm(c[:, (1, 2, 2, 3)] - c[:, (0, 3, 1, 0)], axis=2)
    pieces_u = np.maximum(np.ceil(length[:, :2].max(axis=1) / size - 1e-6), 1).astype(int)
    pieces_v = np.maximum(np.ceil(length[:, 2:].max(axis=1) / size - 1e-6), 1).astype(int)
    count = pieces_u * pieces_v
    parent = np.repeat(np.arange(len(whole)), count)
    order = np.arange(len(parent)) - np.repeat(np.cumsum(count) - count, count)
    step_u, step_v = 1 / pieces_u[parent], 1 / pieces_v[parent]
    u, v = (order % pieces_u[parent]) * step_u, (order // pieces_u[parent]) * step_v
    u4 = np.stack([u, u + step_u, u + step_u, u], axis=1)[..., None]
    v4 = np.stack([v, v, v + step_v, v + step_v], axis=1)[..., None]
    a, b, d, e = (c[parent, i][:, None] for i in range(4))
    corners = (a * (1 - u4) + b * u4) * (1 - v4) + (e * (1 - u4) + d * u4) * v4
    return QuadMesh(corners, whole.colors[parent], whole.returns[parent]), parent
