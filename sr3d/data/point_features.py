"""Features of points beside their colours."""

from __future__ import annotations

import torch
from torch import Tensor

_FLOOR = 0.0099  # quantile of the floor: the 0.99th percentile


def floor_height(points: Tensor) -> Tensor:
    """() metres: the height that 0.99 % of the points (N, 3) lie below.

    A few stray points below the floor do not move it. Source: facebookresearch/votenet,
    `np.percentile(z, 0.99)`.
    """
    place = _FLOOR * (len(points) - 1)
    low = int(place)
    high = min(low + 1, len(points) - 1)
    z = points[:, 2].topk(high + 1, largest=False).values  # a tenth of the time of a sort
    return torch.lerp(z[low], z[high], place - low)  # interpolates neighbours, as numpy does


def height_above_floor(points: Tensor, floor: Tensor | None = None) -> Tensor:
    """(N, 1) metres. floor: `floor_height` of the whole scan, if the points are a sample of it."""
    return points[:, 2:3] - (floor_height(points) if floor is None else floor)
