"""TR3D's assigner: the nearest anchors of the level that a ground truth's class belongs to."""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.matching.batching import Rows, Scenes
from sr3d.matching.matches import settle, squared_distances


@torch.no_grad()
def tr3d_assign(
    anchors: Tensor,
    anchor_levels: Tensor,
    gt_boxes: Tensor,
    gt_levels: Tensor,
    *,
    k: int = 6,
    variant: str = "mmdet3d",
    scenes: Scenes | None = None,
) -> Tensor:
    """TR3D's rule (TR3DAssigner of SamsungLabs/tr3d; `get_targets` of mmdet3d's TR3D project).

    An anchor is a candidate for a ground truth when it lies on its level and strictly nearer to
    its centre than the (k + 1)-th nearest anchor, the N-th where a scene has fewer; anchors of
    other levels count as infinitely far there. So ties at that distance may leave fewer than k
    candidates, and a scene of at most k anchors, all on one level, loses its farthest. An anchor
    goes to the nearest of the ground truths that it is a candidate for, the first of equals.

    Args:
        anchors: (N, 3) metres.
        anchor_levels: (N,) int64, 0 the fine level.
        gt_boxes: (M, 7).
        gt_levels: (M,) int64, the level of each ground truth's class (`Dataset.levels`).
        k: candidates per ground truth, at most.
        variant: "samsung" drops an anchor whose nearest centre among all ground truths, whatever
            their level, is not the one that it went to; "mmdet3d" keeps it.
        scenes: of a batch; None for one scene.

    Returns:
        (N,) int64 index of the ground truth, -1 for a negative.
    """
    if variant not in ("mmdet3d", "samsung"):
        raise ValueError(f"unknown variant of TR3D's assigner: {variant}")
    if len(anchors) == 0 or len(gt_boxes) == 0:
        return anchors.new_full((len(anchors),), -1, dtype=torch.int64)
    scenes = scenes or Scenes.one(anchors, gt_boxes)
    rows = Rows.make(anchors, scenes, (anchor_levels, gt_levels))
    square, anchor = rows.nearest(gt_boxes, k + 1)
    other_levels = square.new_full((len(square), 1), torch.inf)
    last = (rows.in_scene - 1).clamp(min=0, max=min(k, square.shape[1]))  # the limit's place
    limit = torch.cat([square, other_levels], dim=1).gather(1, last[:, None])

    gt = torch.arange(len(gt_boxes), device=anchor.device)[:, None].expand_as(anchor).flatten()
    anchor = anchor.flatten()
    assigned = settle(gt, anchor, square.flatten(), (square < limit).flatten(), len(anchors))
    if variant == "samsung":
        nearest = _nearest_truth(anchors[anchor], scenes.anchors[anchor], gt_boxes, scenes.truths)
        owner = assigned[anchor]
        assigned[anchor] = torch.where(owner == nearest, owner, -1)
    return assigned


def _nearest_truth(
    points: Tensor, point_scenes: Tensor, gt_boxes: Tensor, gt_scenes: Tensor
) -> Tensor:
    """(P,) the ground truth of each point's scene whose centre is nearest, the first of equals."""
    square = squared_distances(gt_boxes, points[:, None])  # (P, M)
    return square.masked_fill_(gt_scenes != point_scenes[:, None], torch.inf).argmin(dim=1)
