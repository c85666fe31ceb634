"""Limits of votes: a vote may leave the voxels by a margin only."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from sr3d.sparse import Sites

_MARGIN = 2  # voxels


def vote_limits(
    sites: Sites, extent: Literal["batch", "scene"], voxel_size: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Lowest and highest positions of votes, (N, 3) each, in metres.

    extent: whose voxels limit a vote. With batch, the votes of a scene depend on the others.
    Source: the forward pass of the original SPGroup3D and CAGroup3D, which take the batch.
    """
    scenes, places = sites.coords[:, 0].long(), sites.coords[:, 1:]
    if extent == "batch":
        low, high = (f(dim=0).expand_as(places) for f in (places.amin, places.amax))
    else:
        index, empty = scenes[:, None].expand_as(places), places.new_zeros(sites.batch_size, 3)
        low = empty.scatter_reduce(0, index, places, "amin", include_self=False)[scenes]
        high = empty.scatter_reduce(0, index, places, "amax", include_self=False)[scenes]
    return (low - _MARGIN).to(dtype) * voxel_size, (high + _MARGIN).to(dtype) * voxel_size


def limited(votes: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The nearest positions within the limits. All are (…, 3)."""
    return torch.maximum(torch.minimum(votes, high), low)
