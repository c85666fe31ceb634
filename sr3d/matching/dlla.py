"""DLLA's assigner: candidates and ground truths find each other by a given distance."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def match_by_distance(distance: Tensor, candidates: Tensor, truths: Tensor) -> Tensor:
    """(B, W) int64: the ground truth of each candidate of B scenes, counted in its scene.

    Each candidate takes its nearest ground truth. Then each ground truth takes its nearest
    candidate. If several take the same one, the last of them gets it, and the others may be left
    without.

    Args:
        distance: (B, W, M), any unit.
        candidates, truths: (B, W) and (B, M) bool, False where padded. W and M are 1 or more.
    """
    apart = distance.masked_fill(~(candidates[:, :, None] & truths[:, None]), torch.inf)
    index = torch.arange(truths.shape[1], device=truths.device).expand_as(truths)
    claims = torch.where(truths, index, -1)
    taken = torch.full_like(candidates, -1, dtype=torch.int64)
    taken.scatter_reduce_(1, apart.argmin(dim=1), claims, "amax")
    return torch.where(taken >= 0, taken, apart.argmin(dim=2))
