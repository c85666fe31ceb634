"""FCAF3D's assigner: anchors inside a box, on the coarsest level that has enough of them there."""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.geometry.boxes import centerness
from sr3d.matching.batching import MOST_LEVELS, Rows, Scenes
from sr3d.matching.matches import places, settle


@torch.no_grad()
def fcaf3d_assign(
    anchors: Tensor,
    anchor_levels: Tensor,
    gt_boxes: Tensor,
    *,
    limit: int = 27,
    top: int = 18,
    scenes: Scenes | None = None,
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
        limit: 1 or more.
        scenes: of a batch; None for one scene.

    Returns:
        (N,) int64 index of the ground truth, -1 for a negative.
    """
    truths = len(gt_boxes)
    if len(anchors) == 0 or truths == 0:
        return anchors.new_full((len(anchors),), -1, dtype=torch.int64)
    rows = Rows.make(anchors, scenes or Scenes.one(anchors, gt_boxes))
    gt, anchor = rows.within(gt_boxes, gt_boxes[:, 3:6].norm(dim=1) / 2)
    central = centerness(anchors[anchor], gt_boxes[gt])
    inside, level = central > 0, anchor_levels[anchor]

    counts = gt.new_zeros(truths * MOST_LEVELS).scatter_add_(
        0, gt * MOST_LEVELS + level, inside.long()
    )
    enough = (counts.view(truths, MOST_LEVELS) >= limit).long().cumprod(dim=1).sum(dim=1)
    chosen = (enough - 1).clamp(min=0)

    # The (top + 1)-th or N-th of all anchors of a scene, of which only candidates are above 0.
    candidate = inside & (level == chosen[gt])
    central = torch.where(candidate, central, 0.0)
    place = places(gt, -central, truths)
    last = (rows.in_scene - 1).clamp(max=top)
    last_one = torch.where(place == last[gt], central, 0.0)
    least = central.new_zeros(truths).scatter_reduce_(0, gt, last_one, "amax")
    volume = gt_boxes[:, 3:6].prod(dim=1)
    return settle(gt, anchor, volume[gt], central > least[gt], len(anchors))
