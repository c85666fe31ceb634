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
        scores: (P,).
        groups: (P,) int64, equal for members of one group, in any order.
        tau: temperature, in the unit of the scores.

    Returns:
        (P,) in (exp(-1), 1], without gradient: ranks are targets and weights.
    """
    if len(scores) == 0:
        return torch.zeros_like(scores)
    order = groups.argsort(stable=True)
    _, row, counts = torch.unique_consecutive(
        groups[order], return_inverse=True, return_counts=True
    )
    column = torch.arange(len(scores), device=scores.device) - (counts.cumsum(0) - counts)[row]

    # One row a group, padded with -inf: no padding ranks higher than a member.
    table = scores.new_full((len(counts), int(counts.max())), -torch.inf)
    table[row, column] = scores[order]
    above = torch.sigmoid((table[:, None, :] - table[:, :, None]) / tau)  # of member i: each j
    above.diagonal(dim1=1, dim2=2).zero_()
    rank = above.sum(dim=2) / counts[:, None]

    soft = torch.empty_like(scores)
    soft[order] = torch.exp(-rank[row, column])
    return soft
