"""The mean size of the boxes of each class."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from sr3d.data.scene import Scene
from sr3d.errors import InputError, Kind

MeanSizes = tuple[tuple[float, float, float], ...]


def mean_sizes_of(scenes: Iterable[Scene], classes: int) -> MeanSizes:
    """`Dataset.mean_sizes` of scenes. A class without a box gets the mean of all boxes.

    Raises:
        InputError: no scene has a box.
    """
    total = torch.zeros(classes, 3, dtype=torch.float64)
    count = torch.zeros(classes, 1, dtype=torch.float64)
    for scene in scenes:
        total.index_add_(0, scene.labels, scene.boxes.sizes.double())
        count.index_add_(0, scene.labels, torch.ones(len(scene.labels), 1, dtype=torch.float64))
    if not count.any():
        raise InputError(
            "mean sizes: no scene has a box",
            kind=Kind.EMPTY,
            remedy="Label some scenes, or name another split.",
        )
    mean = torch.where(count > 0, total / count.clamp(min=1), total.sum(0) / count.sum())
    return tuple((x, y, z) for x, y, z in mean.tolist())
