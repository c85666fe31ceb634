"""The operations on a CPU, in NumPy. The results are bitwise those of `torch_engine`.

Sampling and ball query of large clouds look only into near buckets (`buckets.py`). The nearest
points come from a k-d tree. Both rule points out in float64, with a margin that is wider than all
rounding. The kernels' float32 rule decides about the remaining points.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sr3d.points import torch_engine
from sr3d.points.buckets import MARGIN, Buckets, Floats, Integers
from sr3d.points.torch_engine import initial_distances, squared_radius

_SMALL_CLOUD = 1 << 14  # up to this number of points, a step of sampling over all is faster
_FEW_PAIRS = 1 << 19  # up to this number, a ball query over all pairs is faster
_TINY = 1e-18  # metres, whose square float32 still holds
_MAX_PAIRS = 1 << 22  # distances in memory at once


def furthest_points(points: Tensor, count: int, skip_origin: bool) -> Tensor:
    """Indices (B, count), lowest index first among equal distances."""
    initial = initial_distances(points, skip_origin)
    chosen = torch.zeros(len(points), count, dtype=torch.int64)
    for cloud, distance, row in zip(points.numpy(), initial.numpy(), chosen.numpy(), strict=True):
        sample = _sample_all if len(cloud) <= _SMALL_CLOUD else _sample_buckets
        sample(cloud, distance, row)
    return chosen


def _sample_all(cloud: Floats, distance: Floats, chosen: Integers) -> None:
    """Every step looks at all points. Overwrites `distance` (N,), fills `chosen`."""
    points = np.ascontiguousarray(cloud.T)
    apart = np.empty_like(points)
    x, y, z = apart
    last = 0
    for step in range(1, len(chosen)):
        np.subtract(points, points[:, last, None], out=apart)
        apart *= apart
        x += y
        x += z
        np.minimum(distance, x, out=distance)
        last = int(distance.argmax())
        chosen[step] = last


def _sample_buckets(cloud: Floats, initial: Floats, chosen: Integers) -> None:
    """Only buckets that come near the last point can change: a step touches few of them."""
    buckets = Buckets(cloud)
    inner, norms = buckets.inner(cloud)
    # A padded slot is a copy of the last point. It never wins.
    distance = np.where(np.isinf(buckets.points[:, 0]), np.float32(-1), initial[buckets.index])
    farthest = distance.max(axis=1)  # of each bucket, and the lowest index that is so far
    at = buckets.index[np.arange(len(distance)), distance.argmax(axis=1)]
    last = 0
    for step in range(1, len(chosen)):
        if step < 64 or step % 32 == 0:  # between these, an earlier bound holds but is wider
            bound = np.sqrt(np.maximum(farthest, 0).astype(np.float64)) * (1 + MARGIN)
            reach = (buckets.radius + bound) ** 2
        from_centres = buckets.centre_distances(inner[last])
        near = np.flatnonzero(from_centres < reach - norms[last])
        least = distance.take(near, axis=0)
        np.minimum(least, buckets.squared_distances(near, cloud[last]), out=least)
        distance[near] = least
        farthest[near] = least.max(axis=1)
        at[near] = buckets.index[near, least.argmax(axis=1)]
        last = chosen[step] = at[farthest == farthest.max()].min()


def ball_query(points: Tensor, centres: Tensor, radius: float, count: int) -> Tensor:
    """Indices (B, M, count), rows filled with their first point, -1 in a ball without points."""
    if points.shape[1] * centres.shape[1] <= _FEW_PAIRS:
        return torch_engine.ball_query(points, centres, radius, count)
    found = np.full((len(points), centres.shape[1], count), -1)
    for cloud, balls, rows in zip(points.numpy(), centres.numpy(), found, strict=True):
        _ball_query(Buckets(cloud), balls, radius, rows)
    return torch.from_numpy(found)


def _ball_query(buckets: Buckets, centres: Floats, radius: float, found: Integers) -> None:
    limit = np.float32(squared_radius(radius))
    total = buckets.index.size
    step = max(1, _MAX_PAIRS // total)
    for start in range(0, len(centres), step):
        here = slice(start, start + step)
        row, bucket = buckets.near(centres[here], abs(radius))
        pair, slot = np.nonzero(buckets.squared_distances(bucket, centres[here][row]) < limit)
        key = row[pair] * total + buckets.index[bucket[pair], slot]
        key.sort()
        row, index = np.divmod(key, total)
        rows = found[here]
        first = np.searchsorted(row, np.arange(len(rows)))
        rank = np.arange(len(row)) - first[row]
        hit = np.flatnonzero(rank == 0)
        rows[row[hit]] = index[hit, None]
        hit = np.flatnonzero(rank < rows.shape[1])
        rows[row[hit], rank[hit]] = index[hit]


def nearest(points: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Squared distances and indices (B, M, k), lower index first among equal distances."""
    distance = np.full((len(points), queries.shape[1], k), np.inf, dtype=np.float32)
    index = np.zeros(distance.shape, dtype=np.int64)
    for b, (cloud, wanted) in enumerate(zip(points.numpy(), queries.numpy(), strict=True)):
        found = min(k, len(cloud))
        if found and len(wanted):
            distance[b, :, :found], index[b, :, :found] = _nearest(cloud, wanted, found)
    return torch.from_numpy(distance), torch.from_numpy(index)


def _nearest(cloud: Floats, queries: Floats, k: int) -> tuple[Floats, Integers]:
    """A tree finds candidates in float64. Rows where the next point is as near are done again."""
    from scipy.spatial import cKDTree  # slow to import, and only some networks need it

    tree = cKDTree(cloud)
    distance = np.empty((len(queries), k), dtype=np.float32)
    index = np.empty((len(queries), k), dtype=np.int64)
    open_rows: Integers = np.arange(len(queries))
    width = min(k + 1, len(cloud))
    while True:
        step = max(1, _MAX_PAIRS // width)
        unsure: list[Integers] = []
        for rows in np.array_split(open_rows, -(-len(open_rows) // step)):
            reach, near = tree.query(queries[rows], list(range(1, width + 1)))
            near.sort(axis=1)
            apart = cloud[near] - queries[rows, None]
            apart *= apart
            squared = (apart[..., 0] + apart[..., 1]) + apart[..., 2]
            order = squared.argsort(axis=1, kind="stable")[:, :k]
            distance[rows] = np.take_along_axis(squared, order, axis=1)
            index[rows] = np.take_along_axis(near, order, axis=1)
            unsure.append(rows[reach[:, -1] <= reach[:, k - 1] * (1 + MARGIN) + _TINY])
        open_rows = np.concatenate(unsure)
        if width == len(cloud) or not len(open_rows):
            return distance, index
        width = min(4 * width, len(cloud))
