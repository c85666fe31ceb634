"""DLLA's losses on learned distances: clusters of candidates around their ground truths.

Distances are between W queries and M keys of each of B scenes. Padded rows are marked by `real`
masks, (B, W) or (B, M) bool. Source: liuxinrun/dlla.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pairwise_distance

_LEAST = 1e-6  # of sums of distances, for equal keys


def distances(a: Tensor, b: Tensor) -> Tensor:
    """(B, W, M) Euclidean distances of (B, W, D) and (B, M, D), without products of matrices.

    So padding does not change them, and equal rows are exactly 0 apart.
    """
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def cluster_spread(queries: Tensor, keys: Tensor, owner: Tensor, real: Tensor) -> Tensor:
    """(B, W): distance of each query to its own key, over the sum of those to the other keys.

    Args:
        queries: (B, W, D).
        keys: (B, M, D). No gradient flows to them.
        owner: (B, W) int64, the key of each query.
        real: (B, M) bool.

    Returns:
        0 in a scene with a single key. Padded queries have any finite value.
    """
    keys = keys.detach()
    own = keys.gather(1, owner[:, :, None].expand(-1, -1, keys.shape[2]))
    near = pairwise_distance(queries, own)
    far = distances(queries, keys).where(real[:, None], 0).sum(dim=2) - near
    several = real.sum(dim=1, keepdim=True) > 1
    return torch.where(several, near / far.clamp(min=_LEAST), 0)


def cluster_closeness(keys: Tensor, real: Tensor) -> Tensor:
    """(B, M): one over the mean distance of each key (B, M, D) to the others of its scene.

    0 in padded rows, in a scene with a single key, and for a key that all others equal.
    real: (B, M) bool.
    """
    others = (real.sum(dim=1, keepdim=True) - 1).clamp(min=1)
    mean = distances(keys, keys).where(real[:, None], 0).sum(dim=2) / others
    apart = real & (mean > _LEAST)
    return torch.where(apart, 1 / mean.clamp(min=_LEAST), 0)
