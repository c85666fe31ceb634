"""The furniture of each kind of room, and furnished rooms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sr3d.data.datasets import SYNTHETIC
from sr3d.data.rooms import building, clutter
from sr3d.data.rooms.building import Opening, Plan
from sr3d.data.rooms.furniture import BUILDERS, Rng, chair, tinted
from sr3d.data.rooms.layout import Pose, Space, bounds_of, own_box
from sr3d.data.rooms.shapes import QuadMesh, join

CLUTTER, BUILDING = -1, -2  # owners of quadrilaterals that belong to no object
_PLAIN = 0.45  # share of points kept on floor and walls, because scans are thinned on flat surfaces

# Mean number of pieces of each class per kind of room, large pieces first. A piece without a free
# place is left out. Tables and desks add their own chairs.
_RECIPES: dict[str, dict[str, float]] = {
    "bedroom": {"bed": 1.4, "desk": 0.8, "cabinet": 2.2, "bookshelf": 0.8, "sofa": 0.4,
                "garbagebin": 0.7, "chair": 0.5, "picture": 2.0},
    "living": {"sofa": 1.8, "table": 1.6, "cabinet": 1.4, "bookshelf": 1.0, "desk": 0.3,
               "garbagebin": 0.5, "chair": 0.6, "picture": 2.4},
    "office": {"desk": 2.4, "bookshelf": 1.4, "sofa": 0.6, "cabinet": 1.0, "table": 0.5,
               "refrigerator": 0.3, "garbagebin": 1.4, "chair": 0.4, "picture": 1.6},
    "kitchen": {"refrigerator": 1.3, "table": 1.5, "cabinet": 2.2, "bookshelf": 0.3,
                "garbagebin": 1.3, "chair": 0.4, "picture": 1.6},
    "bathroom": {"toilet": 2.5, "cabinet": 2.0, "table": 0.3, "garbagebin": 1.4, "bookshelf": 0.5,
                 "chair": 0.7, "picture": 1.8},
    "studio": {"bed": 1.0, "refrigerator": 1.0, "toilet": 1.0, "sofa": 0.6, "desk": 1.0,
               "table": 0.5, "cabinet": 1.2, "bookshelf": 0.6, "garbagebin": 0.8, "picture": 1.6},
}  # fmt: skip
_SHARES = (0.18, 0.16, 0.13, 0.14, 0.19, 0.2)

# Free floor in front of a piece when it is placed, in metres.
_CLEAR = {
    "cabinet": 0.3,
    "bookshelf": 0.3,
    "refrigerator": 0.4,
    "toilet": 0.4,
    "sofa": 0.4,
    "desk": 0.65,
}
# Parts of walls: the builder, the free space in front, and the height of the part, in metres.
_FIXTURES = {
    "door": (building.door, 0.75, (0.0, 0.0)),
    "window": (building.window, 0.2, (0.85, 1.0)),
    "picture": (building.picture, 0.12, (1.4, 1.7)),
}
_OFF_WALL = 0.002  # metres, minimum distance of free space from the walls


@dataclass(frozen=True)
class Room:
    """A furnished room: one mesh of Q quadrilaterals with K labelled objects.

    owner: (Q,) the object of each quadrilateral, or CLUTTER or BUILDING.
    labels: (K,) into SYNTHETIC.classes. boxes: (K, 7) exact, each in its object's own frame.
    aligned: (K, 7) exact and axis-aligned. under: (K,) the table or desk of a chair, which the
    chair may reach under. -1 for other objects.
    """

    kind: str
    plan: Plan
    mesh: QuadMesh
    owner: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    aligned: np.ndarray
    under: np.ndarray


class _Furnisher:
    """A room while it is furnished."""

    def __init__(self, rng: Rng, plan: Plan) -> None:
        self.rng, self.space = rng, Space(rng, plan)
        self.openings: list[list[Opening]] = [[] for _ in plan.walls]
        self.parts: list[tuple[int, QuadMesh]] = []  # owner and mesh
        self.objects: list[tuple[str, np.ndarray, np.ndarray, int]] = []  # class, boxes, under

    def add(self, name: str, thing: QuadMesh, pose: Pose, under: int = -1) -> int:
        """Add an object and return its number."""
        placed = pose.place(thing)
        low, high = placed.extent()
        aligned = np.array([*(low + high) / 2, *(high - low), 0.0])
        self.parts.append((len(self.objects), placed))
        self.objects.append((name, own_box(thing, pose), aligned, under))
        return len(self.objects) - 1

    def litter(self, thing: QuadMesh, pose: Pose) -> None:
        """Add an object without a label."""
        self.parts.append((CLUTTER, pose.place(thing)))

    def into_wall(self, name: str) -> None:
        """Add a door, a window or a picture, if a wall has room for it."""
        build, depth, heights = _FIXTURES[name]
        thing = build(self.rng)
        zone = bounds_of(thing)
        zone[:, 0] += (-0.05, 0.05)
        zone[:, 1] = _OFF_WALL, depth
        low = self.rng.uniform(*heights)
        found = self.space.by_wall(zone, 0.0, low, cornered=0.0)
        if found is None:
            return
        wall, along, pose = found
        self.space.take(pose.place_bounds(zone))
        if name != "picture":
            (x0, _, _), (x1, _, top) = thing.extent()
            self.openings[wall].append((along + x0, along + x1, low, low + top))
        self.add(name, thing, pose)

    def doorway(self) -> None:
        """Add an opening without a door, into the dark."""
        half = self.rng.uniform(0.4, 0.5)
        zone = np.array([(-half, _OFF_WALL, 0.0), (half, 0.6, 2.05)])
        found = self.space.by_wall(zone, 0.0, cornered=0.0)
        if found is not None:
            wall, along, pose = found
            self.space.take(pose.place_bounds(zone))
            self.openings[wall].append((along - half, along + half, 0.0, 2.05))

    def furniture(self, name: str) -> None:
        """Add one piece at a usual place, with its accessories."""
        rng, space = self.rng, self.space
        thing = BUILDERS[name](rng)
        if name in ("table", "chair"):
            pose = space.anywhere(thing, 0.3 if name == "table" else 0.05, turns=name == "chair")
        else:
            zone = bounds_of(thing)
            zone[0, 1] -= 0.015
            out = 0.02 - thing.extent()[0][1]
            zone[1, 1] += _CLEAR.get(name, 0.0)
            found = space.by_wall(zone, out, cornered=0.7 if name == "garbagebin" else 0.3)
            pose = None if found is None else found[2]
        if pose is None:
            return
        bounds = bounds_of(pose.place(thing))
        number = self.add(name, thing, pose)
        space.take(bounds)
        if name == "desk":
            self.draw_up_chairs(number, thing, pose, bounds)
            self.litter(
                clutter.monitor(rng), pose.beside(rng.uniform(-0.2, 0.2), -0.1, bounds[1, 2], 0)
            )
        elif name == "table" and bounds[1, 2] > 0.6:
            self.draw_up_chairs(number, thing, pose, bounds)
        if name in ("table", "cabinet") and bounds[1, 2] < 1.2:
            self.lay_out(thing, pose)

    def draw_up_chairs(self, number: int, thing: QuadMesh, pose: Pose, bounds: np.ndarray) -> None:
        """Add chairs around a table, or one at a desk. All face it."""
        rng = self.rng
        x, y = thing.extent()[1][:2]
        if self.objects[number][0] == "desk":
            seats = [(rng.uniform(-0.15, 0.15), y, math.pi)]
            reach = (-0.15, 0.02)
        else:
            rows = (0.0,) if x < 0.62 else (-0.28, 0.28)
            seats = [
                (at, sign * y, turn) for at in rows for sign, turn in ((1, math.pi), (-1, 0.0))
            ]
            seats += [(sign * x, 0.0, sign * math.pi / 2) for sign in (-1, 1)]
            chosen = rng.permutation(len(seats))[: int(rng.integers(2, 5))]
            seats, reach = [seats[i] for i in chosen], (-0.12, 0.18)
        build_seed = int(rng.integers(2**32))  # the chairs at one table look alike
        for along, out, turn in seats:
            seat = chair(np.random.default_rng(build_seed))
            depth, tuck = seat.extent()[1][1], rng.uniform(*reach)
            away = depth - tuck  # from the edge to the middle of the chair
            along, out = along + away * math.sin(turn), out - away * math.cos(turn)
            where = pose.beside(along, out, 0.0, turn + rng.normal(0, 0.15))
            taken = bounds_of(where.place(seat))
            if self.space.free(taken[None], ignore=bounds)[0]:
                self.add("chair", seat, where, under=number)
                self.space.take(taken)

    def lay_out(self, thing: QuadMesh, pose: Pose) -> None:
        """Add small objects on a top, side by side."""
        rng = self.rng
        low, high = thing.extent()
        count = int((high[0] - low[0]) / 0.4)
        for i in range(count):
            if rng.random() < 0.5:
                small = clutter.ON_TOP[rng.integers(len(clutter.ON_TOP))](rng)
                at = low[0] + 0.2 + (i + rng.uniform(0.3, 0.7)) * (high[0] - low[0] - 0.4) / count
                spot = pose.beside(at, rng.uniform(-0.05, 0.05), high[2], rng.uniform(-0.5, 0.5))
                self.litter(small, spot)

    def scatter(self) -> None:
        """Add cartons, plants and lamps on the floor."""
        rng = self.rng
        for _ in range(int(rng.integers(0, 4))):
            thing = clutter.ON_FLOOR[rng.integers(len(clutter.ON_FLOOR))](rng)
            found = self.space.by_wall(bounds_of(thing), 0.03 - thing.extent()[0][1], cornered=0.6)
            if found is not None:
                self.litter(thing, found[2])
                self.space.take(bounds_of(found[2].place(thing)))

    def finish(self, kind: str) -> Room:
        """Add the building around the furniture."""
        rng, plan = self.rng, self.space.plan
        paint = tinted(
            rng, ((0.88, 0.87, 0.83), (0.85, 0.8, 0.68), (0.7, 0.78, 0.82))[rng.integers(3)], 0.03
        )
        base = (0.95, 0.95, 0.93) if rng.random() < 0.6 else (0.4, 0.28, 0.2)
        shell = [
            building.floor_mesh(rng, plan),
            building.slab(plan, plan.height, (0.6, 0.6), up=False),
            *(
                building.wall_mesh(wall, plan.height, openings, paint, base)
                for wall, openings in zip(plan.walls, self.openings, strict=True)
            ),
        ]
        whole = join(shell)
        thinned = QuadMesh(whole.corners, whole.colors, np.full(len(whole), _PLAIN))
        parts = [*self.parts, (BUILDING, thinned)]
        return Room(
            kind=kind,
            plan=plan,
            mesh=join([part for _, part in parts]),
            owner=np.repeat([owner for owner, _ in parts], [len(part) for _, part in parts]),
            labels=np.array([SYNTHETIC.classes.index(o[0]) for o in self.objects], dtype=np.int64),
            boxes=np.array([o[1] for o in self.objects]),
            aligned=np.array([o[2] for o in self.objects]),
            under=np.array([o[3] for o in self.objects], dtype=np.int64),
        )


def furnished_room(rng: Rng) -> Room:
    """Draw a floor plan and furnish it."""
    kind = str(rng.choice(list(_RECIPES), p=_SHARES))
    fill = _Furnisher(rng, building.draw_plan(rng))
    fill.into_wall("door")
    if rng.random() < 0.25:
        fill.into_wall("door")
    if rng.random() < 0.3:
        fill.doorway()
    for _ in range(1 + int(rng.random() < 0.4)):
        fill.into_wall("window")
    if rng.random() < 0.4:
        # Before the furniture, which may then stand on it.
        rug = clutter.rug(rng)
        pose = fill.space.anywhere(rug, 0.0, turns=False)
        if pose is not None:
            fill.litter(rug, pose)
    for name, mean in _RECIPES[kind].items():
        for _ in range(int(mean + rng.random())):
            if name == "picture":
                fill.into_wall(name)
            else:
                fill.furniture(name)
    fill.scatter()
    return fill.finish(kind)
