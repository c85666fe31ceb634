"""The operations in plain PyTorch, on any device: the reference for the faster engines."""

import math
from functools import lru_cache

import torch
from torch import Tensor

FARTHEST = 1e10  # squared distance to no point yet
NEAR_ORIGIN = 1e-3  # squared distance
MAX_PAIRS = 1 << 24  # distances in memory at once


def squared_distances(centres: Tensor, points: Tensor) -> Tensor:
    """(..., M, N) between centres (..., M, 3) and points (..., N, 3), rounded as the kernels do."""
    x, y, z = (centres[..., axis, None] - points[..., None, :, axis] for axis in range(3))
    return (x * x + y * y) + z * z


def squared_radius(radius: float) -> float:
    """radius * radius, rounded to float32."""
    rounded = torch.tensor(radius, dtype=torch.float32)
    return float(rounded * rounded)


def initial_distances(points: Tensor, skip_origin: bool) -> Tensor:
    """(B, N) before the first point was chosen: FARTHEST, or -1 for a point to skip."""
    x, y, z = points.unbind(-1)
    distance = torch.full_like(x, FARTHEST)
    return (
        distance.masked_fill_((x * x + y * y) + z * z <= NEAR_ORIGIN, -1)
        if skip_origin
        else distance
    )


def furthest_points(points: Tensor, count: int, skip_origin: bool) -> Tensor:
    """Indices (B, count), lowest index first among equal distances."""
    chosen = torch.zeros(len(points), count, dtype=torch.int64, device=points.device)
    distance = initial_distances(points, skip_origin)
    last = chosen[:, :1]
    for step in range(1, count):
        centre = points.gather(1, last[..., None].expand(-1, -1, 3))
        torch.minimum(distance, squared_distances(centre, points)[:, 0], out=distance)
        last = distance.argmax(1, keepdim=True)
        chosen[:, step] = last[:, 0]
    return chosen


@lru_cache(maxsize=8)
def thread_order(number: int, threads: int) -> Tensor:
    """Point indices in the order in which a CUDA block prefers them among equal distances.

    The kernel gives point k to thread k modulo the block's size. A tree reduction then prefers
    the smallest bit-reversed thread, and each thread its lowest index.
    """
    bits = int(math.log2(max(min(number, threads), 1)))
    index = torch.arange(number)
    reversed_thread = torch.zeros_like(index)
    for bit in range(bits):
        reversed_thread = reversed_thread * 2 + (index >> bit & 1)
    return reversed_thread.argsort(stable=True)


def ball_query(points: Tensor, centres: Tensor, radius: float, count: int) -> Tensor:
    """Indices (B, M, count), rows filled with their first point, -1 in a ball without points."""
    batch, number, _ = points.shape
    found = torch.full((batch, centres.shape[1], count), -1, device=points.device)
    limit = squared_radius(radius)
    rows = max(1, MAX_PAIRS // max(batch * number, 1))
    for start in range(0, centres.shape[1] if number else 0, rows):
        inside = squared_distances(centres[:, start : start + rows], points) < limit
        rank = inside.cumsum(2)
        wanted = torch.arange(1, count + 1, device=points.device)
        index = torch.searchsorted(rank, wanted.expand(*rank.shape[:2], count).contiguous())
        first = torch.where(rank[..., -1:] > 0, index[..., :1], -1)
        found[:, start : start + rows] = torch.where(index < number, index, first)
    return found


def nearest(points: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Squared distances and indices (B, M, k), lower index first among equal distances."""
    batch, number, _ = points.shape
    shape = (batch, queries.shape[1], k)
    distance = torch.full(shape, math.inf, device=points.device)
    index = torch.zeros(shape, dtype=torch.int64, device=points.device)
    rows = max(1, MAX_PAIRS // max(batch * number, 1))
    for start in range(0, queries.shape[1], rows):
        between = squared_distances(queries[:, start : start + rows], points)
        for rank in range(min(k, number)):
            least, at = between.min(2)
            distance[:, start : start + rows, rank] = least
            index[:, start : start + rows, rank] = at
            between.scatter_(2, at[..., None], math.inf)
    return distance, index
