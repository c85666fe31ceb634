"""simOTA, the assigner of YOLOX, for anchors in space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sr3d.data.ground_truth import GroundTruth
from sr3d.matching.assigner import Anchors, all_negative
from sr3d.matching.batching import Rows, Scenes
from sr3d.matching.dynamic_k import Candidates, in_region, reach_of_region

_OUTSIDE = 1e6  # added to the cost of an anchor outside the ground truth's region
_LEAST_IOU = 1e-8  # added inside the logarithm


@dataclass(frozen=True)
class SimOTA:
    """simOTA (Ge et al. 2021b, `yolo_head.py` of Megvii-BaseDetection/YOLOX).

    The region of a ground truth holds the anchors less than `radius` strides from its centre along
    each axis. An anchor in any region is a candidate. The cost of a pair is

        cls_weight · Σ_classes BCE(sigmoid(logit), one-hot) - reg_weight · ln(IoU + 1e-8),

    and 1e6 more outside the region of this ground truth. Claims: see `Candidates.match`.

    Changes for three dimensions: anchors are near surfaces, so a region may be empty. So the
    nearest anchor of each ground truth always counts as in its region. The head has no objectness,
    so the probability of the class is used alone, without YOLOX's square root.

    rotated: whether the yaw counts. radius: in strides, 2.5 in the paper of simOTA. top_n: the
    number of IoUs that sum up to the k of a ground truth.
    """

    rotated: bool
    radius: float = 1.5
    top_n: int = 10
    cls_weight: float = 1.0
    reg_weight: float = 3.0

    @torch.no_grad()
    def __call__(
        self, anchors: Anchors, boxes: Tensor, logits: Tensor, truth: GroundTruth
    ) -> Tensor:
        """See `Assigner`."""
        points, strides, gt_boxes = anchors.positions, anchors.strides, truth.boxes
        if len(points) == 0 or len(gt_boxes) == 0:
            return all_negative(anchors)
        scenes = Scenes.of(anchors, truth)
        rows = Rows.make(points, scenes)
        reach = reach_of_region(strides, self.radius).expand(len(gt_boxes))
        gt, anchor = rows.within(gt_boxes, reach)
        near = in_region(points[anchor], strides[anchor], gt_boxes[gt, :3], self.radius)
        nearest = rows.nearest(gt_boxes, 1)[1][:, 0]
        chosen = Candidates.choose(boxes, scenes, (gt, anchor), near, near, nearest)
        if chosen is None:
            return all_negative(anchors)

        iou = chosen.iou(gt_boxes, boxes, self.rotated)
        logits = logits[chosen.index].double()
        # BCE with target y is softplus(x) - x·y.
        labelled = logits[chosen.candidate, truth.labels[:, None]]
        cls_cost = softplus(logits).sum(dim=1)[chosen.candidate] - labelled
        cost = self.cls_weight * cls_cost - self.reg_weight * (iou + _LEAST_IOU).log()
        cost += _OUTSIDE * ~chosen.region
        return chosen.match(cost, iou, self.top_n, len(points))
