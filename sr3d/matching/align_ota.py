"""AlignOTA, the assigner of DAMO-YOLO, put on anchors in space."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sr3d.geometry.boxes import rotate_z
from sr3d.matching.batching import Rows, Scenes
from sr3d.matching.dynamic_k import Candidates, in_region, reach_of_region

_OUTSIDE = 1e8  # added to the cost of an anchor that is not both in the box and near its centre
_LEAST_IOU = 1e-7  # inside the logarithm


@torch.no_grad()
def align_ota_assign(
    anchors: Tensor,
    strides: Tensor,
    pred_boxes: Tensor,
    logits: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    *,
    rotated: bool,
    radius: float = 2.5,
    top_n: int = 10,
    cls_weight: float = 1.0,
    reg_weight: float = 3.0,
    scenes: Scenes | None = None,
) -> Tensor:
    """AlignOTA (Xu et al. 2022; `ota_assigner.py` of tinyvision/DAMO-YOLO, which its authors call
    right where their paper differs).

    An anchor is a candidate when it lies in some ground truth's box or less than radius strides
    from its centre along each axis. The cost of a pair is

        cls_weight · Σ_classes BCE(p, y) |y - p|² - reg_weight · ln(IoU + 1e-7),

    with p = sigmoid(logit) and the soft label y = one-hot · IoU, and 1e8 more unless the anchor is
    both in this ground truth's box and near its centre. Claims: see `Candidates.match`.

    What the third dimension changes: anchors lie near surfaces, so that no anchor may be in a box
    and near its centre. Each ground truth's nearest anchor therefore always counts as both, even
    where it is neither: it is a candidate, and free of this ground truth's penalty.

    Args:
        anchors: (N, 3) metres, of all levels.
        strides: (N,) metres, the edge of each anchor's cell.
        pred_boxes: (N, 7), each anchor's decoded box.
        logits: (N, C) of the classes.
        gt_boxes: (M, 7).
        gt_labels: (M,) int in [0, C).
        rotated: whether the yaw counts, for the overlap and for being in a box.
        radius: in strides.
        top_n: how many IoUs make up a ground truth's k.
        scenes: of a batch; None for one scene.

    Returns:
        (N,) int64 index of the ground truth, -1 for a negative.
    """
    nobody = anchors.new_full((len(anchors),), -1, dtype=torch.int64)
    if len(anchors) == 0 or len(gt_boxes) == 0:
        return nobody
    scenes = scenes or Scenes.one(anchors, gt_boxes)
    rows = Rows.make(anchors, scenes)
    reach = torch.maximum(gt_boxes[:, 3:6].norm(dim=1) / 2, reach_of_region(strides, radius))
    gt, anchor = rows.within(gt_boxes, reach)
    near = in_region(anchors[anchor], strides[anchor], gt_boxes[gt, :3], radius)
    inside = _inside(anchors[anchor], gt_boxes[gt], rotated)
    nearest = rows.nearest(gt_boxes, 1)[1][:, 0]
    pairs = gt, anchor
    chosen = Candidates.choose(pred_boxes, scenes, pairs, near | inside, near & inside, nearest)
    if chosen is None:
        return nobody

    iou = chosen.iou(gt_boxes, pred_boxes, rotated)
    logits = logits[chosen.index].double()
    cls_cost = _soft_label_cost(logits, chosen.candidate, gt_labels[:, None], iou)
    cost = cls_weight * cls_cost - reg_weight * (iou + _LEAST_IOU).log()
    cost += _OUTSIDE * ~chosen.region
    return chosen.match(cost, iou, top_n, len(anchors))


def _inside(points: Tensor, boxes: Tensor, rotated: bool) -> Tensor:
    """(P,) bool: which point (P, 3) lies in its box (P, 7), faces included."""
    offset = points - boxes[:, :3]
    if rotated:
        offset = rotate_z(offset, -boxes[:, 6])
    return (offset.abs() <= boxes[:, 3:6] / 2).all(dim=1)


def _soft_label_cost(logits: Tensor, candidate: Tensor, label: Tensor, iou: Tensor) -> Tensor:
    """Σ_classes BCE(p, y) |y - p|² of the logits (K, C) of candidates (M, A), with the IoU (M, A)
    as the label (M, 1)'s, to (M, A).
    """
    score = logits.sigmoid()
    if_zero = softplus(logits) * score.square()  # a class's term where its label y is 0
    logit, score = logits[candidate, label], score[candidate, label]
    labelled = (softplus(logit) - logit * iou) * (iou - score).square()
    return if_zero.sum(dim=1)[candidate] - if_zero[candidate, label] + labelled
