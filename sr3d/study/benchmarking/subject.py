"""The measured detector and scenes, as small values that can be sent to a measuring process."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sr3d.config import Config
from sr3d.data.datasets import dataset_of, get_dataset
from sr3d.data.loader import generator_for
from sr3d.data.mean_sizes import MeanSizes, mean_sizes_of
from sr3d.data.prepared import PreparedDataset
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scans import ScanOptions, read_scan
from sr3d.data.scene import Scene
from sr3d.data.transforms import sample_points
from sr3d.deploy.compiled import PRECISIONS, CompiledDetector
from sr3d.detectors import build_detector
from sr3d.detectors.base import Detector
from sr3d.detectors.starting_config import starting_config
from sr3d.detectors.weights import load_weights
from sr3d.geometry.boxes import Boxes
from sr3d.runs.folder import open_split


@dataclass(frozen=True)
class Subject:
    """A detector to measure. weights: None for random weights of seed 0. threads: CPU threads.
    compiled: the precision of the detector's inference runner, None for eager float32.
    """

    config: Config
    weights: Path | None = None
    device: str = "cpu"
    threads: int = 1
    compiled: str | None = None

    def build(self) -> Detector[Any, Any]:
        """The detector on its device, in evaluation mode.

        Raises:
            InputError: weights that do not fit.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = build_detector(self.config)
        if self.weights is not None:
            load_weights(model, self.weights)
        return model.to(self.device).eval()

    def compile(self, model: Detector[Any, Any]) -> CompiledDetector | None:
        """Its inference runner, if one is requested.

        Raises:
            InputError: an engine without a runner.
        """
        return None if self.compiled is None else model.compile(self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the network."""
        return PRECISIONS[self.compiled or "fp32"]


# Points of a room that stands in for a scene: vertices of ScanNet's meshes, prepared points of SUN
# RGB-D's frames. Evaluations draw 100,000 of an S3DIS room's million points.
_POINTS = {"scannet": 150_000, "sunrgbd": 50_000, "s3dis": 300_000}
_POINTS_OF_A_ROOM = 20_000
_ROOMS_OF_A_FLOOR = 8  # different ones, in turn
_WALL = 0.2  # metres between the rooms of a floor
# Scans to measure on have the axes of the data sets. Nothing is guessed.
_TOLD = ScanOptions(up="z", unit="m", columns="6")


@dataclass(frozen=True)
class PreparedScenes:
    """Some scenes of a prepared split, spread over it."""

    dataset: str
    folder: Path
    split: str
    count: int

    def load(self) -> list[Scene]:
        dataset = dataset_of(starting_config(self.dataset, self.folder, self.split))
        prepared = open_split(self.folder, self.split, dataset, instances=True)
        count = min(self.count, len(prepared))
        return [prepared[i * len(prepared) // count] for i in range(count)]

    def __str__(self) -> str:
        return f"prepared scenes of {self.folder}, split {self.split}"


@dataclass(frozen=True)
class ScanFile:
    """One scan in metres, z up, without boxes. Points without colours are grey."""

    dataset: str
    path: Path

    def load(self) -> list[Scene]:
        scan = read_scan(self.path, _TOLD)
        points, colors = torch.from_numpy(scan.points), torch.from_numpy(scan.painted())
        none = Boxes.from_array(np.zeros((0, 7), dtype=np.float32))
        labels = torch.zeros(0, dtype=torch.int64)
        return [Scene(self.path.name, points, colors, none, labels)]

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class Rooms:
    """Procedural rooms with about as many points as the data set's scenes. Their labels are mapped
    to its classes.
    """

    dataset: str
    count: int

    def load(self) -> list[Scene]:
        return [_room(self.dataset, seed) for seed in range(self.count)]

    def __str__(self) -> str:
        return "procedural rooms"


@dataclass(frozen=True)
class Floor:
    """One scene of exactly `points` points: part of a room's, or rooms side by side."""

    dataset: str
    points: int

    @property
    def rooms(self) -> int:
        return math.ceil(self.points / points_of_a_room(self.dataset))

    def load(self) -> list[Scene]:
        different = [
            _room(self.dataset, seed) for seed in range(min(self.rooms, _ROOMS_OF_A_FLOOR))
        ]
        floor = side_by_side([different[i % len(different)] for i in range(self.rooms)])
        scene = sample_points(floor, self.points, generator_for(0, self.points), "never")
        return [replace(scene, id=f"floor_{self.points}")]

    def __str__(self) -> str:
        return f"a floor of {self.rooms} procedural rooms, {self.points} points"


SceneSource = PreparedScenes | ScanFile | Rooms | Floor
_ROOMS_OF_A_SCAN = 4  # generated rooms for mean sizes, because a scan has no boxes


def mean_sizes(source: SceneSource) -> MeanSizes:
    """`Dataset.mean_sizes` of the prepared folder, otherwise of generated rooms."""
    if isinstance(source, PreparedScenes):
        return PreparedDataset(source.folder, source.split).mean_sizes()
    rooms = source if isinstance(source, Rooms) else Rooms(source.dataset, _ROOMS_OF_A_SCAN)
    return mean_sizes_of(rooms.load(), len(get_dataset(rooms.dataset).classes))


def points_of_a_room(dataset: str) -> int:
    return _POINTS.get(dataset, _POINTS_OF_A_ROOM)


def side_by_side(rooms: list[Scene]) -> Scene:
    """Place rooms on a square grid, each cell as large as the largest room, with walls between."""
    low = torch.stack([room.points.amin(dim=0) for room in rooms])
    high = torch.stack([room.points.amax(dim=0) for room in rooms])
    pitch = (high - low).amax(dim=0) + _WALL
    columns = math.ceil(math.sqrt(len(rooms)))
    points, boxes, instances, before = [], [], [], 0
    for i, room in enumerate(rooms):
        place = torch.tensor([i % columns, i // columns, 0]) * pitch
        move = place - low[i] * torch.tensor([1, 1, 0])  # heights do not change
        points.append(room.points + move)
        boxes.append(room.boxes.translated(move).tensor)
        assert room.instance is not None
        instances.append(torch.where(room.instance < 0, -1, room.instance + before))
        before += len(room.boxes)
    return Scene(
        id="floor",
        points=torch.cat(points),
        colors=torch.cat([room.colors for room in rooms]),
        boxes=Boxes(torch.cat(boxes)),
        labels=torch.cat([room.labels for room in rooms]),
        instance=torch.cat(instances),
    )


def _room(dataset: str, seed: int) -> Scene:
    about = get_dataset(dataset)
    room = generate_room(seed, rotated=about.rotated, points=points_of_a_room(dataset))
    return replace(room, labels=room.labels % len(about.classes))
