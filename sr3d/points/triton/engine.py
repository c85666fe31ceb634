"""The operations on a GPU: lay the tensors out and launch the kernels.

It has the same functions as `torch_engine`. Nothing here needs a sync.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from sr3d.points import torch_engine
from sr3d.points.triton import kernels
from sr3d.sparse.triton.engine import on

# Fused multiply-adds round once where the rule rounds twice.
_EXACT = dict(enable_fp_fusion=False)
_SAMPLING_BLOCK, _SAMPLING_WARPS = 4096, 16
_ROWS, _COLUMNS = 16, 256


def furthest_points(points: Tensor, count: int, skip_origin: bool) -> Tensor:
    """Indices (B, count), lowest index first among equal distances."""
    batch, number, _ = points.shape
    chosen = torch.zeros(batch, count, dtype=torch.int64, device=points.device)
    distance = torch_engine.initial_distances(points, skip_origin)
    if chosen.numel():
        with on(points.device):
            kernels.furthest_points[(batch,)](
                _by_axis(points),
                distance,
                chosen,
                number,
                count,
                BLOCK=min(_SAMPLING_BLOCK, triton.next_power_of_2(number)),
                num_warps=_SAMPLING_WARPS,
                **_EXACT,
            )
    return chosen


def ball_query(points: Tensor, centres: Tensor, radius: float, count: int) -> Tensor:
    """Indices (B, M, count), rows filled with their first point, -1 in a ball without points."""
    batch, balls, _ = centres.shape
    found = torch.empty(batch, balls, count, dtype=torch.int64, device=points.device)
    if found.numel():
        with on(points.device):
            kernels.ball_query[(batch, triton.cdiv(balls, _ROWS))](
                _by_axis(points),
                _by_axis(centres),
                found,
                torch_engine.squared_radius(radius),
                points.shape[1],
                balls,
                count,
                SLOTS=triton.next_power_of_2(count),
                BLOCK_M=_ROWS,
                BLOCK_N=_COLUMNS,
                **_EXACT,
            )
    return found


def nearest(points: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Squared distances and indices (B, M, k), lower index first among equal distances."""
    batch, rows, _ = queries.shape
    distance = queries.new_empty(batch, rows, k)
    index = torch.empty(batch, rows, k, dtype=torch.int64, device=queries.device)
    if index.numel():
        with on(points.device):
            kernels.nearest[(batch, triton.cdiv(rows, _ROWS))](
                _by_axis(points),
                _by_axis(queries),
                distance,
                index,
                points.shape[1],
                rows,
                K=k,
                BLOCK_M=_ROWS,
                BLOCK_N=_COLUMNS,
                **_EXACT,
            )
    return distance, index


def _by_axis(points: Tensor) -> Tensor:
    """(B, 3, N) contiguous, so that neighbouring threads read neighbouring numbers."""
    return points.transpose(1, 2).contiguous()
