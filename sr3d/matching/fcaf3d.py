"""FCAF3D's assigner: anchors inside a box, on the coarsest level with enough of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.geometry.boxes import centerness
from sr3d.matching.assigner import Anchors, all_negative
from sr3d.matching.batching import MOST_LEVELS, Rows, Scenes
from sr3d.matching.matches import places, settle


@dataclass(frozen=True)
class FCAF3DAssigner:
    """FCAF3D's rule (`get_targets` of FCAF3DHead in open-mmlab/mmdetection3d).

    A ground truth searches its level from the finest (0) upwards. It stops at the first level with
    fewer than `limit` anchors inside the box, and takes the level before, or the finest. On this
    level it claims the anchors inside that are more central than the (top + 1)-th, or than the N-th
    if the scene has fewer anchors. So ties at that centerness may leave fewer than `top`. An anchor
    goes to the claimant of least volume, the first of equals.

    limit: 1 or more.
    """

    limit: int = 27
    top: int = 18

    @torch.no_grad()
    def __call__(
        self, anchors: Anchors, boxes: Tensor, logits: Tensor, truth: GroundTruth
    ) -> Tensor:
        """See `Assigner`."""
        points, gt_boxes, truths = anchors.positions, truth.boxes, len(truth.boxes)
        if len(points) == 0 or truths == 0:
            return all_negative(anchors)
        rows = Rows.make(points, Scenes.of(anchors, truth))
        gt, anchor = rows.within(gt_boxes, gt_boxes[:, 3:6].norm(dim=1) / 2)
        central = centerness(points[anchor], gt_boxes[gt])
        inside, level = central > 0, anchors.levels[anchor]

        counts = gt.new_zeros(truths * MOST_LEVELS)
        counts.scatter_add_(0, gt * MOST_LEVELS + level, inside.long())
        enough = (counts.view(truths, MOST_LEVELS) >= self.limit).long().cumprod(dim=1).sum(dim=1)
        chosen = (enough - 1).clamp(min=0)

        # The (top + 1)-th or N-th of all anchors of a scene. Only candidates are above 0.
        candidate = inside & (level == chosen[gt])
        central = torch.where(candidate, central, 0.0)
        place = places(gt, -central, truths)
        last = (rows.in_scene - 1).clamp(max=self.top)
        last_one = torch.where(place == last[gt], central, 0.0)
        least = central.new_zeros(truths).scatter_reduce_(0, gt, last_one, "amax")
        volume = gt_boxes[:, 3:6].prod(dim=1)
        return settle(gt, anchor, volume[gt], central > least[gt], len(points))
