"""Shared by assigners: distances, overlaps of pairs, and claims on anchors settled by cost.

A pair is a ground truth and an anchor, two int64 indices. These functions need no sync on a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.geometry.iou import paired_iou, pairs_at_a_time


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances `(…)` of points `(…, 3 or more)` that broadcast.

    Computes one coordinate at a time, to save memory.
    """
    x, y, z = (a[..., axis].contiguous() - b[..., axis].contiguous() for axis in range(3))
    return x.square_().add_(y.square_()).add_(z.square_())


def overlaps(a: Tensor, b: Tensor, a_index: Tensor, b_index: Tensor, rotated: bool) -> Tensor:
    """(P,) IoU of box a[a_index] with box b[b_index]. a: (N, 7). b: (M, 7)."""
    size = pairs_at_a_time(a.device, rotated)
    parts = zip(a_index.split(size), b_index.split(size), strict=True)
    found = [paired_iou(a.index_select(0, i), b.index_select(0, j), rotated) for i, j in parts]
    return torch.cat(found)


def places(gt: Tensor, cost: Tensor, truths: int) -> Tensor:
    """(P,) int64: the rank of each pair among the pairs of its ground truth, 0 the cheapest.

    gt: (P,) ascending, below `truths`. Of equal costs the earlier pair comes first, NaN last.
    """
    order = cost.argsort(stable=True)
    order = order[gt[order].argsort(stable=True)]  # by ground truth, then cost
    start = torch.searchsorted(gt, torch.arange(truths, device=gt.device))
    place = torch.arange(len(gt), device=gt.device) - start[gt]
    return torch.empty_like(gt).scatter_(0, order, place)


def settle(gt: Tensor, anchor: Tensor, cost: Tensor, claimed: Tensor, anchors: int) -> Tensor:
    """Give every anchor to the cheapest pair that claims it.

    Of equal costs the earlier pair wins, NaN is the highest.

    Args:
        gt, anchor: (P,) int64 indices. If a pair is not claimed, its anchor may be -1.
        cost: (P,).
        claimed: (P,) bool.
        anchors: the number of all anchors.

    Returns:
        (anchors,) int64 index of the ground truth, -1 without a claim.
    """
    pairs = len(gt)
    order = cost.argsort(stable=True)
    place = torch.empty_like(order).scatter_(0, order, torch.arange(pairs, device=order.device))
    first = torch.full((anchors,), pairs, dtype=torch.int64, device=gt.device)
    first.scatter_reduce_(0, anchor.clamp(min=0), torch.where(claimed, place, pairs), "amin")
    return torch.cat([gt[order], gt.new_full((1,), -1)])[first]
