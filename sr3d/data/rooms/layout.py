"""Free space: where furniture can stand in a room without collisions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sr3d.data.rooms.building import Plan
from sr3d.data.rooms.furniture import Rng
from sr3d.data.rooms.shapes import QuadMesh, rotation

_TRIES = 48


@dataclass(frozen=True)
class Pose:
    """The pose of a piece in the room: position in metres, yaw in radians."""

    x: float
    y: float
    z: float
    yaw: float

    def place(self, thing: QuadMesh) -> QuadMesh:
        """The piece, transformed into the room."""
        return thing.moved(self.yaw, (self.x, self.y, self.z))

    def place_bounds(self, bounds: np.ndarray) -> np.ndarray:
        """Bounds (2, 3) transformed from the own frame into the room, for quarter turns."""
        ends = bounds @ rotation(self.yaw).T + (self.x, self.y, self.z)
        return np.stack([ends.min(axis=0), ends.max(axis=0)])

    def beside(self, x: float, y: float, z: float, turn: float) -> Pose:
        """A pose relative to this pose."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        turned = self.x + x * cos - y * sin, self.y + x * sin + y * cos
        return Pose(*turned, self.z + z, self.yaw + turn)


class Space:
    """The occupied space of a room, as axis-aligned bounds (2, 3): low and high corner."""

    def __init__(self, rng: Rng, plan: Plan) -> None:
        self.rng, self.plan = rng, plan
        self.taken: list[np.ndarray] = []
        if plan.notch is not None:
            x0, y0, x1, y1 = plan.notch
            self.take(np.array([(x0, y0, -1.0), (x1, y1, 9.0)]))

    def take(self, bounds: np.ndarray) -> None:
        """Mark these bounds as occupied."""
        self.taken.append(bounds)

    def free(self, bounds: np.ndarray, ignore: np.ndarray | None = None) -> np.ndarray:
        """(C,) bool: bounds (C, 2, 3) inside the room that touch nothing but `ignore`."""
        half = self.plan.size / 2
        fine = ((bounds[:, 0, :2] >= -half) & (bounds[:, 1, :2] <= half)).all(axis=1)
        others = [other for other in self.taken if other is not ignore]
        if others:
            low, high = np.stack(others, axis=1)[:, None]
            meet = (bounds[:, None, 0] < high) & (bounds[:, None, 1] > low)
            fine &= ~meet.all(axis=2).any(axis=1)
        return np.asarray(fine)

    def by_wall(
        self, zone: np.ndarray, out: float, low: float = 0.0, cornered: float = 0.3
    ) -> tuple[int, float, Pose] | None:
        """A pose with the back to a wall, as (index of the wall, metres along it, pose), or None.

        zone: (2, 3) the required free space around the piece's own origin, which is `out` metres
        from the wall and `low` metres above the floor. cornered: chance of a place in a corner.
        """
        rng, walls = self.rng, self.plan.walls
        length = np.array([wall.length for wall in walls])
        pick = rng.choice(len(walls), _TRIES, p=length / length.sum())
        first, last = 0.02 - zone[0, 0], length[pick] - 0.02 - zone[1, 0]
        along = first + rng.random(_TRIES) * (last - first)
        corner = rng.random(_TRIES)
        along = np.where(corner < cornered / 2, first, along)
        along = np.where(corner > 1 - cornered / 2, last, along)
        yaw = np.array([wall.yaw for wall in walls])[pick]
        step = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
        side = np.stack([-step[:, 1], step[:, 0]], axis=1)
        origin = np.array([w.start for w in walls])[pick] + along[:, None] * step + out * side
        bounds = np.empty((_TRIES, 2, 3))
        ends = [origin + end[0] * step + end[1] * side for end in zone]
        bounds[:, 0, :2], bounds[:, 1, :2] = np.minimum(*ends), np.maximum(*ends)
        bounds[:, :, 2] = zone[:, 2] + low
        found = np.flatnonzero((last >= first) & self.free(bounds))
        if len(found) == 0:
            return None
        best = found[0]
        x, y = origin[best]
        return int(pick[best]), float(along[best]), Pose(float(x), float(y), low, float(yaw[best]))

    def anywhere(self, thing: QuadMesh, around: float, turns: bool) -> Pose | None:
        """A free pose on the floor with `around` metres of free floor around the piece, or None.

        turns: whether any yaw is allowed. Otherwise only quarter turns are.
        """
        rng = self.rng
        for _ in range(4):
            yaw = rng.uniform(-math.pi, math.pi) if turns else rng.integers(4) * math.pi / 2
            low, high = thing.moved(yaw, (0, 0, 0)).extent()
            margin = np.array([around, around, 0.0])
            zone = np.stack([low - margin, high + margin])
            reach = np.maximum(self.plan.size / 2 - (zone[1] - zone[0])[:2] / 2, 0)
            spot = np.zeros((_TRIES // 4, 3))
            spot[:, :2] = rng.uniform(-reach, reach, (_TRIES // 4, 2))
            found = np.flatnonzero(self.free(zone + spot[:, None]))
            if len(found):
                x, y, _ = spot[found[0]]
                return Pose(float(x), float(y), 0.0, float(yaw))
        return None


def bounds_of(thing: QuadMesh) -> np.ndarray:
    """(2, 3) low and high corner."""
    return np.stack(thing.extent())


def own_box(thing: QuadMesh, pose: Pose) -> np.ndarray:
    """(7,) the exact box of a piece in its own frame, transformed into the room."""
    low, high = thing.extent()
    center = rotation(pose.yaw) @ ((low + high) / 2) + (pose.x, pose.y, pose.z)
    return np.array([*center, *(high - low), pose.yaw])
