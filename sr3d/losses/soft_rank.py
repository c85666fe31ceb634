"""Soft relative rank of scores within groups."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def soft_rank(scores: Tensor, groups: Tensor, tau: float = 0.1) -> Tensor:
    """Paper Eq. 9 and 10 (after Qin, Liu and Li 2010): r = exp(-R), near 1 for the highest score.

    R_i = 1/N_g · sum over the other members j of i's group of sigmoid((s_j - s_i) / tau), where
    N_g is the group's size: the share of members that score higher, so R = 0 for a lone member.

    Args:
        scores: (P,), or (S, P) for S kinds of score, each with its own ranks.
        groups: (P,) int64, equal for members of one group, in any order.
        tau: temperature, in the unit of the scores.

    Returns:
        As scores, in (exp(-1), 1], without gradient: ranks are targets and weights.
    """
    if scores.numel() == 0:
        return torch.zeros_like(scores)
    group, order = groups.sort(stable=True)
    start = torch.searchsorted(group, group)
    count = torch.searchsorted(group, group, right=True) - start
    column = torch.arange(len(group), device=group.device) - start
    row = (column == 0).cumsum(0) - 1
    height, width = (torch.stack([row[-1], column.max()]) + 1).tolist()  # waits for a GPU, once

    # One row a group, padded with -inf: no padding ranks higher than a member.
    table = scores.new_full((*scores.shape[:-1], height, width), -torch.inf)
    table[..., row, column] = scores[..., order]
    above = torch.sigmoid((table[..., None, :] - table[..., :, None]) / tau)  # of member i: each j
    above.diagonal(dim1=-2, dim2=-1).zero_()
    rank = above.sum(dim=-1)[..., row, column] / count
    return torch.empty_like(scores).index_copy_(-1, order, torch.exp(-rank))
