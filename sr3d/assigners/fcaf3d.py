"""FCAF3D's assigner: anchors inside a box, on the coarsest level that has enough of them there."""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.geometry.boxes import centerness

_BOXES = 8  # at a time: bounds the memory for their offsets from all anchors


@torch.no_grad()
def fcaf3d_assign(
    anchors: Tensor, anchor_levels: Tensor, gt_boxes: Tensor, *, limit: int = 27, top: int = 18
) -> Tensor:
    """FCAF3D's rule (`get_targets` of FCAF3DHead in open-mmlab/mmdetection3d).

    A ground truth looks for its level from the finest (0) upwards: it takes the last one before the
    first that has fewer than `limit` anchors inside the box, and the finest if that has too few
    already. Of the anchors inside on that level it claims those more central than the (top + 1)-th,
    or the N-th where a scene has fewer; so ties at that centerness may leave fewer than `top`. An
    anchor goes to the claimant of least volume, the first of equals.

    Args:
        anchors: (N, 3) metres. anchor_levels: (N,) int64.
        gt_boxes: (M, 7).

    Returns:
        (N,) int64 index of the ground truth, -1 for a negative.
    """
    if len(anchors) == 0 or len(gt_boxes) == 0:
        return anchors.new_full((len(anchors),), -1, dtype=torch.int64)
    some = gt_boxes[:, None].split(_BOXES)
    central = torch.cat([centerness(anchors, boxes) for boxes in some])  # (M, N)
    inside = central > 0
    levels = range(int(anchor_levels.max()) + 1)
    counts = torch.stack([inside[:, anchor_levels == level].sum(dim=1) for level in levels])
    enough = (counts >= limit).long().cumprod(dim=0).sum(dim=0)  # levels, from the finest up
    chosen = (enough - 1).clamp(min=0)

    central = torch.where(inside & (anchor_levels == chosen[:, None]), central, -1.0)
    least = central.topk(min(top + 1, len(anchors)), dim=1).values[:, -1:]
    volume = gt_boxes[:, 3:6].prod(dim=1, keepdim=True)
    claims = torch.where(central > least, volume, torch.inf)
    smallest, assigned = claims.min(dim=0)
    return torch.where(smallest.isfinite(), assigned, -1)
