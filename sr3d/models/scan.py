"""A scan as people have it: checked, and split into coordinates and colours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sr3d.errors import InputError


def split_points(points: Any, colors: Any) -> tuple[Tensor, Tensor]:
    """A scan as (N, 3) metres and (N, 3) colours, float32.

    points: (N, 6), or (N, 3) with `colors`; arrays or tensors.

    Raises:
        InputError: empty or wrongly shaped input, or NaN.
    """
    points = torch.as_tensor(points, dtype=torch.float32)
    if colors is not None:
        points = torch.cat([points, torch.as_tensor(colors, dtype=torch.float32)], dim=1)
    if points.ndim != 2 or points.shape[1] != 6:
        raise InputError(f"points: expected (N, 6) of x, y, z, r, g, b, got {tuple(points.shape)}")
    if len(points) == 0:
        raise InputError("points: the scan is empty")
    if not torch.isfinite(points).all():
        raise InputError("points: NaN or infinity; drop such points first")
    return points[:, :3], points[:, 3:]
