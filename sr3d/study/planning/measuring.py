"""Real training steps and real tests of a network that is not trained yet, timed here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, cycle
from statistics import fmean
from typing import TypeVar

import numpy as np
import torch

from sr3d.config import Config
from sr3d.data.datasets import dataset_of
from sr3d.data.loader import generator_for
from sr3d.data.scene import Scene
from sr3d.data.transforms import augment, sample_points
from sr3d.detectors import build_detector
from sr3d.detectors.outputs import Detections
from sr3d.evaluate.detection_matches import best_ground_truth
from sr3d.evaluate.loop import detect_scene
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.folder import synchronise
from sr3d.train.precision import network_precision
from sr3d.train.schedule import build_optimizer
from sr3d.train.step import train_step

T = TypeVar("T")
_ENOUGH = 20  # steps or scenes; more make the mean no better worth having


@dataclass(frozen=True)
class Timed:
    """Seconds of one iteration with a full batch, or of one scene. runs: how often that was timed.
    batch: scenes a step that was timed; the rest is scaled.
    """

    seconds: float
    runs: int
    batch: int = 1


def time_training(
    config: Config, scenes: Sequence[Scene], limit: float, device: str, workers: int
) -> Timed:
    """An iteration: augmented scenes, network, loss, backward pass, optimiser.

    Batches of 1, 2, 4, … are tried as far as two steps of the next fit into `limit` seconds; the
    largest is timed, after a step to warm up and at least once, and scaled to the full batch in
    proportion. workers: threads that load scenes meanwhile; without, loading adds up.
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
        # One step of the larger batch to warm up, and two to time.
        if batch == full or 3 * one * larger / batch > ends - time.perf_counter():
            break
        batch = larger
    times = _until(ends, lambda: timed(batch))
    loading, stepping = (fmean(column) * full / batch for column in zip(*times, strict=True))
    seconds = max(loading / workers, stepping) if workers else loading + stepping
    return Timed(seconds, len(times), batch)


def time_test(config: Config, scenes: Sequence[Scene], limit: float, device: str) -> Timed:
    """A scene: drawn points, network, selection, and what each detection means.

    Scenes are timed for `limit` seconds, after one to warm up and at least once.
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
    return Timed(fmean(times), len(times))


def _until(ends: float, run: Callable[[], T]) -> list[T]:
    """Results of at least one run, of as many as there is time for, of no more than enough."""
    results = [run()]
    while len(results) < _ENOUGH and time.perf_counter() < ends:
        results.append(run())
    return results


def _clock(run: Callable[[], T], device: str) -> tuple[T, float]:
    """What it returns, and the seconds until the device had finished it."""
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
