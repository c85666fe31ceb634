"""Time real training steps and evaluations of an untrained network, and sample scenes for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import count, cycle
from statistics import fmean
from typing import TypeVar

import numpy as np
import torch

from sr3d.config import Config
from sr3d.data.datasets import Dataset, dataset_of
from sr3d.data.loader import generator_for
from sr3d.data.prepared import MANIFEST, read_manifest
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene
from sr3d.data.transforms import augment, sample_points
from sr3d.detectors import build_detector
from sr3d.detectors.outputs import Detections
from sr3d.errors import InputError, Kind
from sr3d.evaluate.detection_matches import best_ground_truth
from sr3d.evaluate.loop import detect_scene
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.folder import open_split, synchronise
from sr3d.study.planning.experiment import DataPlan
from sr3d.train.precision import network_precision
from sr3d.train.schedule import build_optimizer
from sr3d.train.step import train_step

T = TypeVar("T")
_ENOUGH = 20  # steps or scenes. More would hardly improve the mean.


@dataclass(frozen=True)
class Timing:
    """Seconds of one iteration with a full batch, or of one scene.

    runs: number of timed iterations or scenes. batch: scenes in a timed iteration, from which the
    time of a full batch is extrapolated.
    """

    seconds: float
    runs: int
    batch: int = 1


def time_training(
    config: Config, scenes: Sequence[Scene], limit: float, device: str, workers: int
) -> Timing:
    """Time an iteration: augmented scenes, network, loss, backward pass, optimiser.

    Batch sizes 1, 2, 4, … are tried as long as two steps of the next size fit into `limit`
    seconds. The largest is timed at least once, after one warm-up step, and its time is scaled to
    the full batch in proportion. workers: threads that load scenes ahead. With 0, the time to load
    adds to the step.
    """
    torch.manual_seed(0)
    model = build_detector(config).to(device).train()
    optimizer = build_optimizer(model, config.train)
    dataset, place, endless = dataset_of(config), count(), cycle(scenes)

    def load(batch: int) -> list[Scene]:
        return [
            augment(next(endless), config.augment, dataset.rotated, generator_for(0, next(place)))
            for _ in range(batch)
        ]

    def step(loaded: list[Scene]) -> None:
        with network_precision(model, config.train.precision):
            train_step(model, loaded, optimizer, config.train.clip_norm)

    def timed(batch: int) -> tuple[float, float]:
        loaded, loading = _clock(lambda: load(batch), device)
        return loading, _clock(lambda: step(loaded), device)[1]

    ends, batch, full = time.perf_counter() + limit, 1, config.train.batch_size
    while True:
        one = sum(timed(batch))
        larger = min(2 * batch, full)
        # One warm-up step of the larger batch, and two timed steps.
        if batch == full or 3 * one * larger / batch > ends - time.perf_counter():
            break
        batch = larger
    times = _until(ends, lambda: timed(batch))
    loading, stepping = (fmean(column) * full / batch for column in zip(*times, strict=True))
    seconds = max(loading / workers, stepping) if workers else loading + stepping
    return Timing(seconds, len(times), batch)


def time_test(config: Config, scenes: Sequence[Scene], limit: float, device: str) -> Timing:
    """Time the evaluation of a scene: sampled points, network, selection, match of each detection.

    Scenes are timed for `limit` seconds and at least once, after one warm-up scene.
    """
    torch.manual_seed(0)
    model = build_detector(config).to(device).eval()
    place, endless = count(), cycle(scenes)

    @torch.inference_mode()
    def one() -> None:
        scene, generator = next(endless), generator_for(0, next(place))
        if config.test.sample_count:
            scene = sample_points(scene, config.test.sample_count, generator)
        found, _ = detect_scene(model, scene, generator)
        rotated = model.dataset.rotated
        best_ground_truth(_truth(scene), _detections(scene, found), rotated)

    ends = time.perf_counter() + limit
    one()
    times = _until(ends, lambda: _clock(one, device)[1])
    return Timing(fmean(times), len(times))


def _until(ends: float, run: Callable[[], T]) -> list[T]:
    """Results of one run or more: as many as there is time for, at most `_ENOUGH`."""
    results = [run()]
    while len(results) < _ENOUGH and time.perf_counter() < ends:
        results.append(run())
    return results


def _clock(run: Callable[[], T], device: str) -> tuple[T, float]:
    """The result, and the seconds until the device had finished."""
    synchronise(torch.device(device))
    started = time.perf_counter()
    result = run()
    synchronise(torch.device(device))
    return result, time.perf_counter() - started


def _truth(scene: Scene) -> BoxSet:
    names = np.repeat(np.array([scene.id]), len(scene.labels))
    return BoxSet(names, scene.labels.numpy(), scene.boxes.tensor.numpy())


def _detections(scene: Scene, found: Detections) -> BoxSet:
    names = np.repeat(np.array([scene.id]), len(found.labels))
    labels, boxes = found.labels.cpu().numpy(), found.boxes.cpu().numpy()
    return BoxSet(names, labels, boxes, found.scores.cpu().numpy())


_SAMPLE = 6  # scenes. Their cost depends on their extent, which varies.

# Points of a stand-in scene. ScanNet's meshes have about 150,000 vertices. SUN RGB-D's frames are
# reduced to 50,000 points when they are prepared. Of an S3DIS room's million points, training
# steps and evaluations draw 100,000. But the extent decides the cost. These rooms fill 3,000 to
# 4,500 cells of 16 cm, two real scans of ScanNet 1,600 and 7,200. Single views fill 1,200 to 1,800
# cells, a frame of SUN RGB-D 1,200.
_POINTS = {"scannet": 150_000, "sunrgbd": 50_000, "s3dis": 300_000}
_POINTS_OF_A_ROOM = 20_000


@dataclass(frozen=True)
class Sample:
    """Scenes to measure on, and a description of a few words."""

    scenes: tuple[Scene, ...]
    what: str


def is_prepared(data: DataPlan) -> bool:
    """Whether the folder is completely prepared."""
    return (data.folder / MANIFEST).is_file()


def split_sizes(data: DataPlan) -> tuple[int, int]:
    """Numbers of training and evaluation scenes, of the prepared folder if available, else planned.

    Raises:
        InputError: the prepared folder lacks a split, or cannot be read.
    """
    if not is_prepared(data):
        return data.scenes[data.split], data.scenes[data.test_split]
    splits = read_manifest(data.folder).splits
    for split in (data.split, data.test_split):
        if not splits.get(split):
            raise InputError(
                f"no scenes in split '{split}'",
                file=data.folder,
                kind=Kind.EMPTY,
                remedy="Prepare the data set again.",
            )
    return len(splits[data.split]), len(splits[data.test_split])


def sample_scenes(dataset: Dataset, data: DataPlan, split: str) -> Sample:
    """Prepared scenes spread over the split if available, otherwise procedural rooms.

    Raises:
        InputError: the prepared folder cannot be read, or holds another data set.
    """
    if is_prepared(data):
        prepared = open_split(data.folder, split, dataset, instances=True)
        count = min(_SAMPLE, len(prepared))
        chosen = tuple(prepared[i * len(prepared) // count] for i in range(count))
        return Sample(chosen, f"{count} of {len(prepared)} prepared scenes")
    points = data.points or _POINTS.get(dataset.name, _POINTS_OF_A_ROOM)
    rooms = _stand_ins(points, dataset.rotated, len(dataset.classes))
    view = " of one view" if dataset.rotated else ""
    return Sample(rooms, f"{len(rooms)} procedural rooms{view} instead, {points:,} points each")


@cache
def _stand_ins(points: int, rotated: bool, classes: int) -> tuple[Scene, ...]:
    rooms = [generate_room(seed, rotated=rotated, points=points) for seed in range(_SAMPLE)]
    return tuple(replace(room, labels=room.labels % classes) for room in rooms)
