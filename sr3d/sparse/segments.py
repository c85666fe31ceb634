"""Reductions of rows by the segment that each row belongs to, in a fixed order, differentiable.

A segment is a superpoint, a cell or the window of a pool. `torch.scatter_reduce` has no fixed order
of sums on a GPU without deterministic algorithms, so they are switched on here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.sparse.determinism import deterministic_algorithms


def segment_sum(x: Tensor, segment: Tensor, count: int) -> Tensor:
    """Sums of the rows of x (N, C) by segment (N,) int64, to (count, C). An empty one is zero."""
    with deterministic_algorithms(True):
        return x.new_zeros(count, x.shape[1]).index_add(0, segment, x)


def segment_mean(x: Tensor, segment: Tensor, count: int) -> Tensor:
    """Means of the rows of x (N, C) by segment (N,) int64, to (count, C). An empty one is zero."""
    sizes = segment_sizes(segment, count).clamp(min=1)
    return segment_sum(x, segment, count) / sizes[:, None].to(x.dtype)


def segment_max(x: Tensor, segment: Tensor, count: int) -> Tensor:
    """Channel-wise maxima of the rows of x (N, C) by segment, to (count, C). An empty one is zero.

    Equal maxima share the gradient equally.
    """
    rows = segment[:, None].expand_as(x)
    return x.new_zeros(count, x.shape[1]).scatter_reduce(0, rows, x, "amax", include_self=False)


def segment_sizes(segment: Tensor, count: int) -> Tensor:
    """(count,) int64: number of rows of each segment."""
    ones = torch.ones_like(segment)
    return ones.new_zeros(count).index_add_(0, segment, ones)
