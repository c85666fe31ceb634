"""Soft relative rank of scores within groups."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def soft_rank(scores: Tensor, groups: Tensor, tau: float = 0.1) -> Tensor:
    """Paper Eq. 9 and 10 (after Qin, Liu and Li 2010): r = exp(-R), near 1 for the highest score.

    R_i = 1/N_g · sum over the other members j of i's group of sigmoid((s_j - s_i) / tau), where N_g
    is the size of the group. R is the soft share of members with a higher score, 0 for a single
    member.

    Args:
        scores: (P,), or (S, P) for S kinds of score, each with its own ranks.
        groups: (P,) int64, equal for members of one group, in any order.
        tau: temperature, in the unit of the scores.

    Returns:
        Shaped as scores, in (exp(-1), 1], without gradient: ranks are targets and weights.
    """
    if scores.numel() == 0:
        return torch.zeros_like(scores)
    group, order = groups.sort(stable=True)
    start = torch.searchsorted(group, group)
    count = torch.searchsorted(group, group, right=True) - start
    place = torch.arange(len(group), device=group.device)
    width = int(count.max())  # a sync on a GPU

    # Each member with all members of its group, (P, width). Sorting makes a group contiguous.
    other = start[:, None] + torch.arange(width, device=group.device)
    real = (other < (start + count)[:, None]) & (other != place[:, None])
    score = scores[..., order]
    above = torch.sigmoid((score[..., other.clamp(max=len(group) - 1)] - score[..., None]) / tau)
    rank = above.where(real, 0).sum(dim=-1) / count
    return torch.empty_like(scores).index_copy_(-1, order, torch.exp(-rank))
