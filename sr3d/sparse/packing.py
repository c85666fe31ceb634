"""Selections of known size: no host–device sync, and no place is written twice."""

from __future__ import annotations

import torch
from torch import Tensor


def kept_first(keep: Tensor) -> Tensor:
    """(N,) int64: the rows where `keep` (N,) is True, ascending, then the other rows, ascending."""
    count = keep.cumsum(dim=0)
    row = torch.arange(len(keep), device=keep.device)
    place = torch.where(keep, count - 1, count[-1:] + row - count)
    return torch.empty_like(row).scatter_(0, place, row)
