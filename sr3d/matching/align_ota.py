"""AlignOTA, the assigner of DAMO-YOLO, for anchors in space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sr3d.data.ground_truth import GroundTruth
from sr3d.geometry.boxes import rotate_z
from sr3d.matching.assigner import Anchors, all_negative
from sr3d.matching.batching import Rows, Scenes
from sr3d.matching.dynamic_k import Candidates, in_region, reach_of_region

_OUTSIDE = 1e8  # added to the cost unless the anchor is in the box and near its centre
_LEAST_IOU = 1e-7  # added inside the logarithm


@dataclass(frozen=True)
class AlignOTA:
    """AlignOTA (Xu et al. 2022). Follows `ota_assigner.py` of tinyvision/DAMO-YOLO, because its
    authors confirm the code where it differs from their paper.

    An anchor is a candidate if it is in the box of a ground truth, or less than `radius` strides
    from its centre along each axis. The cost of a pair is

        cls_weight · Σ_classes BCE(p, y) |y - p|² - reg_weight · ln(IoU + 1e-7),

    with p = sigmoid(logit) and the soft label y = one-hot · IoU. The cost is 1e8 higher unless the
    anchor is both in this ground truth's box and near its centre. Claims: see `Candidates.match`.

    Changes for three dimensions: anchors are near surfaces, so there may be no anchor in a box and
    near its centre. So the nearest anchor of each ground truth always counts as both: it is a
    candidate, and has no penalty for this ground truth.

    rotated: whether the yaw counts, for the overlap and for being in a box. radius: in strides.
    top_n: the number of IoUs that sum up to the k of a ground truth.
    """

    rotated: bool
    radius: float = 2.5
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
        half_diagonal = gt_boxes[:, 3:6].norm(dim=1) / 2
        reach = torch.maximum(half_diagonal, reach_of_region(strides, self.radius))
        gt, anchor = rows.within(gt_boxes, reach)
        near = in_region(points[anchor], strides[anchor], gt_boxes[gt, :3], self.radius)
        inside = _inside(points[anchor], gt_boxes[gt], self.rotated)
        nearest = rows.nearest(gt_boxes, 1)[1][:, 0]
        chosen = Candidates.choose(
            boxes, scenes, (gt, anchor), near | inside, near & inside, nearest
        )
        if chosen is None:
            return all_negative(anchors)

        iou = chosen.iou(gt_boxes, boxes, self.rotated)
        logits = logits[chosen.index].double()
        cls_cost = _soft_label_cost(logits, chosen.candidate, truth.labels[:, None], iou)
        cost = self.cls_weight * cls_cost - self.reg_weight * (iou + _LEAST_IOU).log()
        cost += _OUTSIDE * ~chosen.region
        return chosen.match(cost, iou, self.top_n, len(points))


def _inside(points: Tensor, boxes: Tensor, rotated: bool) -> Tensor:
    """(P,) bool: whether each point (P, 3) is in its box (P, 7), including the faces."""
    offset = points - boxes[:, :3]
    if rotated:
        offset = rotate_z(offset, -boxes[:, 6])
    return (offset.abs() <= boxes[:, 3:6] / 2).all(dim=1)


def _soft_label_cost(logits: Tensor, candidate: Tensor, label: Tensor, iou: Tensor) -> Tensor:
    """(M, A) costs Σ_classes BCE(p, y) |y - p|² of candidates (M, A) with logits (K, C).

    label: (M, 1), the class of each ground truth. Its soft label is the IoU (M, A).
    """
    score = logits.sigmoid()
    if_zero = softplus(logits) * score.square()  # the term of a class with label y = 0
    logit, score = logits[candidate, label], score[candidate, label]
    labelled = (softplus(logit) - logit * iou) * (iou - score).square()
    return if_zero.sum(dim=1)[candidate] - if_zero[candidate, label] + labelled
