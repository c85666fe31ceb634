"""What assigners share: distances of anchors, and claims on anchors settled by cost."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Points `(…, 3 or more)`, broadcast, to `(…)`; one coordinate at a time keeps it small."""
    x, y, z = (a[..., axis].contiguous() - b[..., axis].contiguous() for axis in range(3))
    return x.square_().add_(y.square_()).add_(z.square_())


def settle_claims(gt: Tensor, anchor: Tensor, cost: Tensor, k: int, anchors: int) -> Tensor:
    """Every ground truth claims its k pairs of least cost; the cheapest claim on an anchor wins.

    Of equal costs the earlier pair wins.

    Args:
        gt, anchor: (P,) int64 indices of the pairs considered.
        cost: (P,).
        anchors: how many there are.

    Returns:
        (anchors,) int64 index of the ground truth, -1 where nobody claims.
    """
    claims = _least_of_each(gt, cost, k)
    gt, anchor, cost = gt[claims], anchor[claims], cost[claims]
    winners = _least_of_each(anchor, cost, 1)
    assigned = torch.full((anchors,), -1, dtype=torch.int64, device=gt.device)
    assigned[anchor[winners]] = gt[winners]
    return assigned


def _least_of_each(group: Tensor, value: Tensor, count: int) -> Tensor:
    """Positions of the `count` least values of each group, by group, then value, then position."""
    order = value.argsort(stable=True)
    order = order[group[order].argsort(stable=True)]
    _, sizes = torch.unique_consecutive(group[order], return_counts=True)
    start = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    return order[torch.arange(len(order), device=order.device) - start < count]
