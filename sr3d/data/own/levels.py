"""TR3D's level of each class: the larger half by mean size is coarse."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sr3d.data.scene import Scene


def coarse_classes(scenes: Sequence[Scene], count: int) -> tuple[int, ...]:
    """Of each of `count` classes, 0 for the fine level or 1 for the coarse one.

    Size is the mean volume; of an odd number of classes the smaller half has one more, and classes
    without a box are fine. See `Dataset.levels`.
    """
    labels = torch.cat([scene.labels for scene in scenes])
    volumes = torch.cat([scene.boxes.sizes.double().prod(dim=1) for scene in scenes])
    totals = torch.zeros(count, dtype=torch.float64).index_add(0, labels, volumes)
    mean = totals / torch.bincount(labels, minlength=count).clamp(min=1)
    larger = sorted(range(count), key=lambda i: -float(mean[i]))[: count // 2]
    return tuple(int(i in larger and float(mean[i]) > 0) for i in range(count))
