"""How many scenes an experiment has, and a few of them, or of their like, to measure on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from sr3d.data.datasets import Dataset
from sr3d.data.prepared import MANIFEST, read_manifest
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene
from sr3d.errors import InputError
from sr3d.runs.folder import open_split
from sr3d.study.planning.experiment import DataPlan

_SAMPLE = 6  # scenes; cost follows their extent, which differs

# Points of a stand-in. ScanNet's meshes have about 150,000 vertices; SUN RGB-D's frames are cut to
# 50,000 points when they are prepared; of S3DIS's a million, steps and tests draw 100,000. What
# decides the cost is rather the extent: these rooms fill 3,000 to 4,500 cells of 16 cm, two real
# scans of ScanNet 1,600 and 7,200; views fill 1,200 to 1,800, a frame of SUN RGB-D 1,200.
_POINTS = {"scannet": 150_000, "sunrgbd": 50_000, "s3dis": 300_000}
_POINTS_OF_A_ROOM = 20_000


@dataclass(frozen=True)
class Sample:
    """Scenes to measure on, and what they are, in a few words."""

    scenes: tuple[Scene, ...]
    what: str


def is_prepared(data: DataPlan) -> bool:
    """Whether the folder is whole."""
    return (data.folder / MANIFEST).is_file()


def split_sizes(data: DataPlan) -> tuple[int, int]:
    """Scenes to train on and to test: of the prepared folder or, where there is none, as planned.

    Raises:
        InputError: the prepared folder lacks a split, or cannot be read.
    """
    if not is_prepared(data):
        return data.scenes[data.split], data.scenes[data.test_split]
    splits = read_manifest(data.folder).splits
    for split in (data.split, data.test_split):
        if not splits.get(split):
            raise InputError(f"{data.folder}: no scenes in split '{split}'; prepare it again")
    return len(splits[data.split]), len(splits[data.test_split])


def sample_scenes(dataset: Dataset, data: DataPlan, split: str) -> Sample:
    """Prepared scenes spread over the split or, where there are none, procedural rooms.

    Raises:
        InputError: the folder is prepared but not readable, or of another data set.
    """
    if is_prepared(data):
        prepared = open_split(data.folder, split, dataset, instances=True)
        count = min(_SAMPLE, len(prepared))
        chosen = tuple(prepared[i * len(prepared) // count] for i in range(count))
        return Sample(chosen, f"{count} of {len(prepared)} prepared scenes")
    points = data.points or _POINTS.get(dataset.name, _POINTS_OF_A_ROOM)
    rooms = _stand_ins(points, dataset.rotated, len(dataset.classes))
    view = " of one view" if dataset.rotated else ""
    return Sample(
        rooms, f"{len(rooms)} procedural rooms{view} in their stead, {points:,} points each"
    )


@cache
def _stand_ins(points: int, rotated: bool, classes: int) -> tuple[Scene, ...]:
    rooms = [generate_room(seed, rotated=rotated, points=points) for seed in range(_SAMPLE)]
    return tuple(replace(room, labels=room.labels % classes) for room in rooms)
