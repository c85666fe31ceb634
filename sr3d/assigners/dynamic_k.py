"""What simOTA and AlignOTA share: regions around centres, and as many anchors as overlaps allow.

Matrices are (M, N) or (M, A), of M ground truths and N anchors, A of them candidates. Both
assigners compute costs in float64: next to a penalty of 1e8, float32 would lose every difference
between the pairs that it is added to.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.assigners.matches import squared_distances
from sr3d.geometry.iou import pairwise_iou


def near_centers(anchors: Tensor, strides: Tensor, centers: Tensor, radius: float) -> Tensor:
    """(M, N) bool: anchors (N, 3) strictly within radius · stride of centres (M, 3) on each axis.

    strides: (N,) metres, the edge of each anchor's cell.
    """
    reach = radius * strides
    x, y, z = ((anchors[:, axis] - centers[:, axis, None]).abs() < reach for axis in range(3))
    return x & y & z


def nearest_anchors(anchors: Tensor, centers: Tensor) -> Tensor:
    """(M, N) bool, one anchor a row: the nearest to the centre, the first of equals."""
    nearest = squared_distances(centers[:, None], anchors).argmin(dim=1, keepdim=True)
    row = torch.zeros(len(centers), len(anchors), dtype=torch.bool, device=anchors.device)
    return row.scatter_(1, nearest, True)


def finite_iou(gt_boxes: Tensor, pred_boxes: Tensor, rotated: bool) -> Tensor:
    """(M, A) float64 in [0, 1]; 0 for boxes that are not finite, early in a bad training."""
    return pairwise_iou(gt_boxes, pred_boxes, rotated).double().nan_to_num(0.0).clamp(0, 1)


def dynamic_k_match(cost: Tensor, iou: Tensor, top_n: int) -> Tensor:
    """Every ground truth claims its k candidates of least cost, k being its own.

    k is the sum of the ground truth's top_n largest IoUs, rounded down, and at least 1. A candidate
    that several claim goes to the ground truth of least cost among all, which need not have claimed
    it (as in YOLOX and DAMO-YOLO); the others get no substitute. Of equal costs the lower index
    wins, and NaN is claimed last.

    Args:
        cost: (M, A).
        iou: (M, A) in [0, 1], finite.

    Returns:
        (A,) int64 index of the ground truth, -1 where nobody claims.
    """
    top_n = min(top_n, cost.shape[1])
    k = iou.topk(top_n, dim=1).values.sum(dim=1).long().clamp(min=1)
    cheapest = cost.argsort(dim=1, stable=True)[:, :top_n]  # no k is above top_n
    claimed = torch.arange(top_n, device=k.device) < k[:, None]
    claims = torch.zeros_like(cost, dtype=torch.int32).scatter_(1, cheapest, claimed.int())
    claimants = claims.sum(dim=0)
    match = torch.where(claimants > 1, cost.argmin(dim=0), claims.argmax(dim=0))
    return match.masked_fill(claimants == 0, -1)
