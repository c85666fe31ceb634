"""The building: floor, walls and ceiling, and the doors, windows and pictures in the walls.

Parts of a wall are built along x, with the room on the +y side and the wall's face at y = 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sr3d.data.rooms.furniture import Rng, bright, tinted, wood
from sr3d.data.rooms.shapes import Color, QuadMesh, block, join, mesh

# A rectangle in a wall: start and end along the wall, start and end of the height.
Opening = tuple[float, float, float, float]


@dataclass(frozen=True)
class Wall:
    """One side of the floor plan, walked with the room on the left."""

    start: np.ndarray  # (2,) metres
    yaw: float  # direction of the walk, and yaw of furniture with its back to this wall
    length: float

    def at(self, along: float, out: float = 0.0) -> np.ndarray:
        """(2,) the point `along` metres from the start and `out` metres into the room."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return self.start + along * np.array([cos, sin]) + out * np.array([-sin, cos])


@dataclass(frozen=True)
class Plan:
    """A floor plan around the origin: a rectangle, optionally with a corner cut out.

    size: (2,) of the rectangle. notch: (4,) x0, y0, x1, y1 of the cut, or None.
    """

    size: np.ndarray
    height: float
    notch: np.ndarray | None
    walls: tuple[Wall, ...]


def draw_plan(rng: Rng) -> Plan:
    """A room with sides of 3 to 4.5 m. One in four is L-shaped."""
    size, height = rng.uniform((3.0, 3.0), (4.5, 4.5)), rng.uniform(2.4, 2.7)
    x, y = size / 2
    corners = [(-x, -y), (x, -y), (x, y), (-x, y)]
    notch = None
    if rng.random() < 0.25 and size.min() > 3.3:
        cut_x, cut_y = rng.uniform(0.25, 0.4, 2) * size
        notch = np.array([x - cut_x, y - cut_y, x, y])
        corners[2:3] = [(x, y - cut_y), (x - cut_x, y - cut_y), (x - cut_x, y)]
    if rng.random() < 0.5:  # mirrored, so the cut falls on another corner
        corners = [(-a, b) for a, b in reversed(corners)]
        notch = None if notch is None else np.array([-notch[2], notch[1], -notch[0], notch[3]])
    walls = []
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        step = np.subtract(end, start)
        walls.append(Wall(np.array(start), math.atan2(step[1], step[0]), float(np.abs(step).sum())))
    return Plan(size, height, notch, tuple(walls))


def wall_mesh(
    wall: Wall, height: float, openings: Sequence[Opening], color: Color, base: Color
) -> QuadMesh:
    """The wall's face with its openings left out, and a baseboard of another colour."""
    along = np.unique([0.0, wall.length, *(edge for o in openings for edge in o[:2])])
    up = np.unique([0.0, 0.09, height, *(edge for o in openings for edge in o[2:])])
    right, low = (grid.ravel() for grid in np.meshgrid(along[:-1], up[:-1]))
    left, high = (grid.ravel() for grid in np.meshgrid(along[1:], up[1:]))
    middle_x, middle_z = (right + left) / 2, (low + high) / 2
    solid = np.ones(len(right), dtype=bool)
    for x0, x1, z0, z1 in openings:
        solid &= ~((x0 < middle_x) & (middle_x < x1) & (z0 < middle_z) & (middle_z < z1))
    right, left, low, high = right[solid], left[solid], low[solid], high[solid]
    x, z = np.stack([left, right, right, left], axis=1), np.stack([low, low, high, high], axis=1)
    colors = np.where((middle_z[solid] < 0.09)[:, None], base, color)
    face = mesh(np.stack([x, np.zeros_like(x), z], axis=-1), colors)
    return face.moved(wall.yaw, (*wall.start, 0.0))


def slab(plan: Plan, z: float, step: tuple[float, float], up: bool) -> QuadMesh:
    """Floor (facing up) or ceiling (facing down), in planks or tiles of `step` metres, white."""
    low, high = -plan.size / 2, plan.size / 2
    cut = np.empty(0) if plan.notch is None else plan.notch
    x = np.unique(
        np.clip([*np.arange(low[0], high[0], step[0]), high[0], *cut[::2]], low[0], high[0])
    )
    y = np.unique(
        np.clip([*np.arange(low[1], high[1], step[1]), high[1], *cut[1::2]], low[1], high[1])
    )
    x0, y0 = (grid.ravel() for grid in np.meshgrid(x[:-1], y[:-1]))
    x1, y1 = (grid.ravel() for grid in np.meshgrid(x[1:], y[1:]))
    if plan.notch is not None:
        a, b, c, d = plan.notch
        inside = (
            (a < (x0 + x1) / 2) & ((x0 + x1) / 2 < c) & (b < (y0 + y1) / 2) & ((y0 + y1) / 2 < d)
        )
        x0, y0, x1, y1 = x0[~inside], y0[~inside], x1[~inside], y1[~inside]
    corners = np.stack(
        [np.stack([x0, x1, x1, x0], 1), np.stack([y0, y0, y1, y1], 1), np.full((len(x0), 4), z)], -1
    )
    return mesh(corners if up else corners[:, ::-1], (1.0, 1.0, 1.0))


def floor_mesh(rng: Rng, plan: Plan) -> QuadMesh:
    """Planks, tiles or a carpet, every piece of a slightly different shade."""
    kind = rng.integers(3)
    step = ((0.9, 0.18), (0.45, 0.45), (0.6, 0.6))[kind]
    base = (wood(rng), tinted(rng, (0.72, 0.7, 0.66)), tinted(rng, (0.45, 0.43, 0.42), 0.06))[kind]
    floor = slab(plan, 0.0, step if rng.random() < 0.5 else step[::-1], up=True)
    shade = rng.normal(1.0, (0.07, 0.04, 0.02)[kind], (len(floor), 1))
    return QuadMesh(floor.corners, np.clip(base * shade, 0, 1), floor.returns)


def door(rng: Rng) -> QuadMesh:
    """A closed leaf with panels and a handle in its frame, standing on z = 0."""
    x, height = rng.uniform(0.42, 0.5), rng.uniform(2.0, 2.12)
    leaf = wood(rng) if rng.random() < 0.75 else tinted(rng, (0.35, 0.5, 0.62), 0.05)
    frame = tinted(rng, (0.92, 0.91, 0.88), 0.02) if rng.random() < 0.6 else 0.8 * leaf
    jamb = 0.07
    parts = [
        block((-x, -x + jamb), (-0.06, 0.03), (0, height), frame),
        block((x - jamb, x), (-0.06, 0.03), (0, height), frame),
        block((-x + jamb, x - jamb), (-0.06, 0.03), (height - jamb, height), frame),
        block((-x + jamb, x - jamb), (-0.05, -0.01), (0, height - jamb), leaf),
    ]
    for low, high in ((0.15, 0.85), (1.05, height - 0.2)):
        for side in ((-x + 0.15, -0.06), (0.06, x - 0.15)):
            parts.append(block(side, (-0.01, 0.01), (low, high), 0.85 * leaf))
    grip = (-x + 0.1, -x + 0.22) if rng.random() < 0.5 else (x - 0.22, x - 0.1)
    parts.append(block(grip, (-0.01, 0.06), (0.98, 1.02), (0.7, 0.65, 0.5)))
    return join(parts)


def window(rng: Rng) -> QuadMesh:
    """Frame, mullions, panes that return few rays, and a sill, standing on z = 0."""
    x, height = rng.uniform(0.45, 0.8), rng.uniform(0.95, 1.3)
    frame = tinted(rng, (0.93, 0.93, 0.92), 0.02) if rng.random() < 0.7 else wood(rng)
    bar, y = 0.07, (-0.08, 0.03)
    parts = [
        block((-x, -x + bar), y, (0, height), frame),
        block((x - bar, x), y, (0, height), frame),
        block((-x + bar, x - bar), y, (height - bar, height), frame),
        block((-x + bar, x - bar), y, (0, bar), frame),
        block((-x, x), (0.03, 0.13), (0, 0.04), frame),
    ]
    panes = 2 if x < 0.6 else 3
    for i in range(1, panes):
        middle = -x + 2 * x * i / panes
        parts.append(block((middle - 0.035, middle + 0.035), y, (bar, height - bar), frame))
    sky = tinted(rng, (0.65, 0.78, 0.92), 0.03)
    parts.append(block((-x + bar, x - bar), (-0.04, -0.03), (bar, height - bar), sky, returns=0.25))
    return join(parts)


def picture(rng: Rng) -> QuadMesh:
    """A framed canvas of a few colours, centred on z = 0."""
    x, z = rng.uniform(0.22, 0.45), rng.uniform(0.2, 0.35)
    thick, rim = rng.uniform(0.04, 0.06), 0.045
    frame = (
        tinted(rng, (0.12, 0.1, 0.09), 0.03)
        if rng.random() < 0.6
        else tinted(rng, (0.7, 0.55, 0.2))
    )
    parts = [
        block((-x, x), (0, thick), (z - rim, z), frame),
        block((-x, x), (0, thick), (-z, -z + rim), frame),
        block((-x, -x + rim), (0, thick), (-z + rim, z - rim), frame),
        block((x - rim, x), (0, thick), (-z + rim, z - rim), frame),
        block((-x + rim, x - rim), (0, thick - 0.015), (-z + rim, z - rim), bright(rng)),
    ]
    horizon = rng.uniform(-0.3, 0.3) * z
    ground = (-x + rim, x - rim), (0, thick - 0.01), (-z + rim, horizon)
    parts.append(block(*ground, bright(rng)))
    spot, size = rng.uniform(-0.4, 0.4) * x, 0.2 * z
    sun = (spot - size, spot + size), (0, thick - 0.008), (horizon, horizon + 2 * size)
    parts.append(block(*sun, bright(rng)))
    return join(parts)
