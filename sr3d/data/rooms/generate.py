"""Rooms from seeds: a single room as a scene, or a data set in the prepared format."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from sr3d.data.datasets import SYNTHETIC, SYNTHETIC_ROTATED
from sr3d.data.prepared import Manifest, PreparedWriter, read_manifest, verify
from sr3d.data.readers.conversion import ConversionOptions, Source, convert
from sr3d.data.readers.published import PublishedCounts
from sr3d.data.rooms.furnish import Room, furnished_room
from sr3d.data.rooms.scanner import RoomScan, View, scan
from sr3d.data.rooms.shapes import rotation
from sr3d.data.scene import Scene
from sr3d.errors import InputError, Kind
from sr3d.geometry.boxes import Boxes
from sr3d.runs.files import code_digest

MIN_VISIBLE = 30  # minimum number of visible points of a labelled object
VAL_FIRST = 500_000  # number of the first validation room, so the splits are independent in size


@dataclass(frozen=True)
class ScannedRoom:
    """A room and its scan, still in the room's frame.

    visible: (K,) number of points of each object. origin: (3,) and yaw: the frame of the scene.
    """

    room: Room
    scan: RoomScan
    visible: np.ndarray
    origin: np.ndarray
    yaw: float

    @property
    def owner(self) -> np.ndarray:
        """(N,) the object of each point. Negative for a point on no object."""
        return self.room.owner[self.scan.quad]


def build_room(seed: int, *, rotated: bool = False, points: int = 20_000) -> ScannedRoom:
    """Furnish a room and scan it. Contains more than the scene of `generate_room`."""
    rng = np.random.default_rng([seed, int(rotated)])
    room = furnished_room(rng)
    views = [_frame(rng, room)] if rotated else _walk(rng, room)
    light = np.array([*rng.uniform(-0.5, 0.5, 2), room.plan.height - 0.1])
    seen = scan(room.mesh, views, points, light, rng)
    owner = room.owner[seen.quad]
    visible = np.bincount(owner[owner >= 0], minlength=len(room.labels))
    if rotated:  # as in RGB-D frames, the camera is the origin and looks along y
        return ScannedRoom(room, seen, visible, views[0].eye, math.pi / 2 - views[0].yaw)
    return ScannedRoom(room, seen, visible, np.zeros(3), 0.0)


def generate_room(seed: int, *, rotated: bool = False, points: int = 20_000) -> Scene:
    """One room as a scene of exactly `points` points. The same seed gives the same scene.

    Axis-aligned, as ScanNet: seen from two to four standpoints. The centre of the floor is the
    origin and boxes have yaw 0. Rotated, as SUN RGB-D: one view of limited width. The camera is the
    origin and looks along y, so the room is rotated and boxes have a yaw.
    """
    made = build_room(seed, rotated=rotated, points=points)
    room, kept = made.room, made.visible >= MIN_VISIBLE
    boxes = (room.boxes if rotated else room.aligned)[kept]
    turn = rotation(made.yaw)
    if rotated:
        boxes[:, :3] = (boxes[:, :3] - made.origin) @ turn.T
        boxes[:, 6] = (boxes[:, 6] + made.yaw + math.pi) % (2 * math.pi) - math.pi
    xyz = np.einsum("ij,nj->ni", turn, made.scan.points - made.origin)
    return Scene(
        id=f"room_{seed:06d}",
        points=torch.from_numpy(np.ascontiguousarray(xyz, dtype=np.float32)),
        colors=torch.from_numpy(made.scan.colors),
        boxes=Boxes.from_array(boxes),
        labels=torch.from_numpy(room.labels[kept]),
        instance=torch.from_numpy(_instance(made.owner, kept)),
    )


def _instance(owner: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(N,) the index of each point's object among the kept objects, -1 for other points.

    kept: (K,) bool. owner: (N,), negative for a point on no object.
    """
    place = np.where(kept, np.cumsum(kept) - 1, -1)
    # A negative owner indexes from the end, so the last entries are for points on no object.
    found: np.ndarray = np.append(place, -1)[np.maximum(owner, -1)]
    return found


def _walk(rng: np.random.Generator, room: Room) -> list[View]:
    """Two to four standpoints on free floor, far apart, looking all around but not straight up."""
    spots = _free_spots(rng, room)
    chosen = [int(rng.integers(len(spots)))]
    for _ in range(int(rng.integers(1, 4))):
        gap = np.linalg.norm(spots[:, None] - spots[chosen], axis=2).min(axis=1)
        chosen.append(int(gap.argmax()))
    return [View(np.array([*spots[i], rng.uniform(1.3, 1.7)])) for i in chosen]


def _frame(rng: np.random.Generator, room: Room) -> View:
    """One camera at the side of the room, which looks across it and a little down."""
    spots = _free_spots(rng, room)
    far = np.linalg.norm(spots, axis=1)
    spot = spots[rng.choice(np.argsort(far)[-len(far) // 4 :])]
    heading = math.atan2(-spot[1], -spot[0]) + rng.uniform(-0.35, 0.35)
    return View(
        eye=np.array([*spot, rng.uniform(1.2, 1.7)]),
        yaw=heading,
        pitch=math.radians(rng.uniform(-25, -10)),
        half_width=math.radians(47),
        half_height=math.radians(38),
    )


def _free_spots(rng: np.random.Generator, room: Room) -> np.ndarray:
    """(M, 2) places on the floor where a person can stand and hold a scanner."""
    half = room.plan.size / 2 - 0.3
    spots = rng.uniform(-half, half, (200, 2))
    low, high = (room.aligned[:, :2] + side * room.aligned[:, 3:5] / 2 for side in (-1, 1))
    blocks = list(zip(low, high, strict=True))
    if room.plan.notch is not None:
        blocks.append((room.plan.notch[:2], room.plan.notch[2:]))
    taken = np.zeros(len(spots), dtype=bool)
    for start, end in blocks:
        taken |= ((spots > start - 0.15) & (spots < end + 0.15)).all(axis=1)
    return spots[~taken] if (~taken).any() else spots[:1]


def prepare_rooms(
    out: Path,
    *,
    train: int,
    val: int,
    seed: int,
    rotated: bool = False,
    points: int = 20_000,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Write a data set of rooms in the prepared format, with the splits train and val.

    The result does not depend on `workers`. If the folder already has this data set, it is not
    changed. progress: called with (rooms done, rooms in all).

    Raises:
        InputError: an invalid count.
    """
    if not 1 <= train <= VAL_FIRST or not 1 <= val <= VAL_FIRST:
        raise InputError(
            f"train={train}, val={val}: each must lie in 1 to {VAL_FIRST}", kind=Kind.VALUE
        )
    if points < 1000 or seed < 0 or workers < 1:
        raise InputError(
            f"points={points}, seed={seed}, workers={workers}: a room needs at "
            "least 1000 points, a seed of at least 0 and a worker",
            kind=Kind.VALUE,
        )
    dataset = SYNTHETIC_ROTATED if rotated else SYNTHETIC
    source = f"procedural rooms, seed {seed}, {points} points a room, generator {_generator()}"
    numbered = [("train", n) for n in range(train)]
    numbered += [("val", n) for n in range(VAL_FIRST, VAL_FIRST + val)]
    if manifest := _already_there(out, dataset.name, source, (train, val)):
        if progress is not None:
            progress(len(numbered), len(numbered))
        return manifest
    writer = PreparedWriter(out, dataset.name, dataset.classes, rotated, source, labels="exact")
    # A room is not read from a file. The writer's `source` identifies it.
    rooms = [
        Source(split, _room_id(n), (), partial(numbered_room, n, seed, rotated, points))
        for split, n in numbered
    ]
    return convert(
        rooms, writer, PublishedCounts(), "", ConversionOptions(workers, progress=progress)
    )


def numbered_room(number: int, seed: int, rotated: bool, points: int) -> Scene:
    """Room `number` of the data set with this `seed`."""
    state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)
    scene = generate_room(int(state[0]), rotated=rotated, points=points)
    return replace(scene, id=_room_id(number))


def _room_id(number: int) -> str:
    return f"room_{number:06d}"


def _already_there(
    out: Path, dataset: str, source: str, counts: tuple[int, int]
) -> Manifest | None:
    """The manifest of a complete folder with this data set, else None."""
    try:
        manifest = read_manifest(out)
        same = manifest.dataset == dataset and manifest.source == source
        whole = tuple(map(len, manifest.splits.values())) == counts and manifest.has_instances
        if not (same and whole):
            return None
        verify(out)
    except InputError:
        return None
    return manifest


def _generator() -> str:
    """Identifies the generator, because another version makes other rooms from the same seed."""
    return code_digest(Path(__file__).parent)
