"""Rays from a cluster of votes, and the anchors on them. No weights here.

P clusters of B scenes have R rays each, with K anchors on a ray. A fraction of a ray is 0 at the
cluster and 1 at its end. Source: Haiyang-W/RBGNet (pcdet/models/dense_heads/rbg_head.py).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

_EPSILON = 1e-5  # weight of a bin that its ray does not hit
_FIRST, _LAST = 1e-4, 1 - 1e-5  # quantiles of the outermost and the innermost fine anchor


def rings_of(count: int) -> int:
    """The number of rings above the equator, for at least `count` rays."""
    return math.ceil(math.sqrt(max(count - 2, 4) / 4))


def unit_rays(count: int) -> Tensor:
    """(R, 3) float32 directions, ring by ring from the north pole. R = 4 n² + 2, see `rings_of`."""
    above = rings_of(count)
    rays = []
    for ring in range(2 * above + 1):
        inclination = ring * math.pi / (2 * above)
        size = 4 * (above - abs(ring - above)) or 1
        for step in range(1, size + 1):
            azimuth = step * 2 * math.pi / size
            across = math.sin(inclination)
            rays.append(
                (math.cos(azimuth) * across, math.sin(azimuth) * across, math.cos(inclination))
            )
    return torch.tensor(rays, dtype=torch.float32)


def anchors_on(centres: Tensor, length: Tensor, fractions: Tensor, rays: Tensor) -> Tensor:
    """(B, P, K, R, 3) anchors of clusters with centres (B, P, 3).

    length: (B, P) of the rays in metres. fractions: broadcast to (B, P, K, R). rays: (R, 3).
    """
    ends = rays * length[..., None, None]  # (B, P, R, 3)
    return centres[:, :, None, None] + ends[:, :, None] * fractions[..., None]


def coarse_fractions(bins: int, device: torch.device) -> Tensor:
    """(K, 1): equally spaced, the outermost first."""
    return (torch.arange(bins, 0, -1, device=device) / bins)[:, None]


def fine_fractions(hits: Tensor, count: int, margin: float | Tensor) -> Tensor:
    """(B, P, count, R) fractions of fine anchors, close to coarse anchors that were hit.

    Quantiles of the distribution in which each hit bin of a ray weighs the same. A quantile within
    a bin moves from `margin` beyond its coarse anchor to `margin` before it. hits: (B, P, K, R)
    bool.
    """
    bins = hits.shape[2]
    weights = hits.transpose(2, 3).float() + _EPSILON
    share = weights / weights.sum(dim=-1, keepdim=True)
    reached = pad(share.cumsum(dim=-1), (1, 0))  # (B, P, R, K + 1)
    wanted = torch.linspace(_FIRST, _LAST, count, device=hits.device)
    wanted = wanted.expand(*reached.shape[:-1], count).contiguous()
    at = torch.searchsorted(reached, wanted, right=True)
    above = at.clamp(max=bins)
    low, high = reached.gather(-1, (at - 1).clamp(min=0)), reached.gather(-1, above)
    width = high - low
    inside = (wanted - low) / torch.where(width < _EPSILON, 1.0, width)
    coarse = (bins + 1 - above) / bins
    coarse, inside = coarse.transpose(2, 3), inside.transpose(2, 3)
    return (coarse + margin) - inside * (2 * margin)
