"""TR3D's assigner: the nearest anchors of the level that a ground truth's class belongs to."""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.assigners.matches import squared_distances

_OTHER_LEVEL = 1e8  # squared metres: TR3D's stand-in for infinity, part of the rule below


@torch.no_grad()
def tr3d_assign(
    anchors: Tensor,
    anchor_levels: Tensor,
    gt_boxes: Tensor,
    gt_levels: Tensor,
    *,
    k: int = 6,
    variant: str = "mmdet3d",
) -> Tensor:
    """TR3D's rule (TR3DAssigner of SamsungLabs/tr3d; `get_targets` of mmdet3d's TR3D project).

    An anchor is a candidate for a ground truth when it lies on its level and strictly nearer to
    its centre than the (k + 1)-th nearest anchor, the N-th where a scene has fewer. So ties at that
    distance may leave fewer than k candidates, and a scene of at most k anchors, all on one level,
    loses its farthest. An anchor goes to the nearest of the ground truths that it is a candidate
    for, the first of equals.

    Args:
        anchors: (N, 3) metres.
        anchor_levels: (N,) int, 0 the fine level.
        gt_boxes: (M, 7).
        gt_levels: (M,) int, the level of each ground truth's class (`Dataset.levels`).
        k: candidates per ground truth, at most.
        variant: "samsung" drops an anchor whose nearest centre among all ground truths, whatever
            their level, is not the one that it went to; "mmdet3d" keeps it.

    Returns:
        (N,) int64 index of the ground truth, -1 for a negative.
    """
    if variant not in ("mmdet3d", "samsung"):
        raise ValueError(f"unknown variant of TR3D's assigner: {variant}")
    if len(anchors) == 0 or len(gt_boxes) == 0:
        return anchors.new_full((len(anchors),), -1, dtype=torch.int64)

    distance = squared_distances(gt_boxes[:, None, :3], anchors)  # (M, N)
    on_level = gt_levels[:, None] == anchor_levels
    eligible = torch.where(on_level, distance, _OTHER_LEVEL)
    limit = eligible.topk(min(k + 1, len(anchors)), dim=1, largest=False).values[:, -1:]
    candidate = torch.where(eligible < limit, eligible, _OTHER_LEVEL)

    nearest, assigned = candidate.min(dim=0)
    kept = nearest < _OTHER_LEVEL
    if variant == "samsung":
        kept &= distance.argmin(dim=0) == assigned
    return torch.where(kept, assigned, -1)
