"""The input of detectors on points: equally many points of each scene, and padded ground truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.data.loader import generator_for, on_device
from sr3d.data.point_features import height_above_floor
from sr3d.data.scene import Scene

Features = Callable[[Scene], Tensor]  # (N, C) of the whole scene, before points are drawn


@dataclass(frozen=True)
class PointBatch:
    """N points of each of B scenes.

    points: (B, N, 3) metres. features: (B, C, N), None if there are only points. instance: (B, N)
    int64, the ground truth of each point, counted in its scene, -1 for none. None if the points of
    an object are those inside its box: a scene has no instances, see `Scene.instance`, or the
    configuration says so, see `Config.replaces_instances`.
    """

    points: Tensor
    features: Tensor | None = None
    instance: Tensor | None = None

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class PaddedTruth:
    """The ground truth of B scenes, padded with zeros to K boxes each.

    boxes: (B, K, 7). labels: (B, K) int64. real: (B, K) bool, False where padded.
    """

    boxes: Tensor
    labels: Tensor
    real: Tensor

    @staticmethod
    def of(truth: GroundTruth, scenes: int, least: int) -> PaddedTruth:
        """scenes: their number. least: minimum of K. K is larger if a scene has more boxes."""
        counts = torch.bincount(truth.scenes, minlength=scenes)
        most = max(least, int(counts.max()))
        starts = counts.cumsum(0) - counts
        place = torch.arange(len(truth.scenes), device=counts.device) - starts[truth.scenes]
        at = (truth.scenes, place)
        boxes = truth.boxes.new_zeros(scenes, most, 7)
        labels = truth.labels.new_zeros(scenes, most)
        boxes[at], labels[at] = truth.boxes, truth.labels
        real = torch.arange(most, device=counts.device) < counts[:, None]
        return PaddedTruth(boxes, labels, real)


def height(scene: Scene) -> Tensor:
    """(N, 1): height above the floor of the scan, as VoteNet and its successors take it."""
    return height_above_floor(scene.points)


def colors(scene: Scene) -> Tensor:
    """(N, 3) in [0, 1]."""
    return scene.colors


def point_batch(
    scenes: Sequence[Scene],
    count: int,
    generators: Sequence[torch.Generator] | None,
    device: torch.device,
    features: Features | None = None,
    *,
    instances: bool = True,
) -> PointBatch:
    """A batch of `count` points of each scene, on the device.

    Points are drawn without replacement, or with replacement if a scene has fewer. generators: one
    a scene. None makes a fixed choice, which keeps the order of a scene with exactly `count`
    points. features: of each point, computed before points are drawn. instances: whether the batch
    has those of the scenes.
    """
    each: Sequence[torch.Generator | None] = generators or [None] * len(scenes)
    index = [draw(len(scene), count, own) for scene, own in zip(scenes, each, strict=True)]

    def picked(values: Tensor, rows: Tensor) -> Tensor:
        return on_device(values, device)[on_device(rows, device)]

    drawn = zip(scenes, index, strict=True)
    points = torch.stack([picked(scene.points, rows) for scene, rows in drawn])
    extra = instance = None
    if features is not None:
        drawn = zip(scenes, index, strict=True)
        extra = torch.stack([picked(features(scene), rows).t() for scene, rows in drawn])
    known = [scene.instance for scene in scenes if scene.instance is not None]
    if instances and len(known) == len(scenes):
        pairs = zip(known, index, strict=True)
        instance = torch.stack([picked(values, rows) for values, rows in pairs])
    return PointBatch(points, extra, instance)


def draw(points: int, count: int, generator: torch.Generator | None) -> Tensor:
    """(count,) int64: rows of `points` points, see `point_batch`."""
    if generator is None:
        if points == count:
            return torch.arange(count)
        generator = generator_for(0)
    if points < count:
        return torch.randint(points, (count,), generator=generator)
    return torch.randperm(points, generator=generator)[:count]
