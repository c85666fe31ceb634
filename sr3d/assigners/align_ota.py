"""AlignOTA, the assigner of DAMO-YOLO, put on anchors in space."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sr3d.assigners.dynamic_k import dynamic_k_match, finite_iou, near_centers, nearest_anchors
from sr3d.geometry.boxes import Boxes

_OUTSIDE = 1e8  # added to the cost of an anchor that is not both in the box and near its centre
_LEAST_IOU = 1e-7  # inside the logarithm
_CHUNK = 1 << 14  # anchors tested together: bounds memory to some MB


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
) -> Tensor:
    """AlignOTA (Xu et al. 2022; `ota_assigner.py` of tinyvision/DAMO-YOLO, which its authors call
    right where their paper differs).

    An anchor is a candidate when it lies in some ground truth's box or less than radius strides
    from its centre along each axis. The cost of a pair is

        cls_weight · Σ_classes BCE(p, y) |y - p|² - reg_weight · ln(IoU + 1e-7),

    with p = sigmoid(logit) and the soft label y = one-hot · IoU, and 1e8 more unless the anchor is
    both in this ground truth's box and near its centre. Claims: see `dynamic_k_match`.

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

    Returns:
        (N,) int64 index of the ground truth, -1 for a negative.
    """
    assigned = anchors.new_full((len(anchors),), -1, dtype=torch.int64)
    if len(anchors) == 0 or len(gt_boxes) == 0:
        return assigned
    near = near_centers(anchors, strides, gt_boxes[:, :3], radius)
    inside = _inside(anchors, gt_boxes, rotated)
    nearest = nearest_anchors(anchors, gt_boxes[:, :3])
    candidates = (near | inside | nearest).any(dim=0).nonzero()[:, 0]
    region = (near & inside | nearest)[:, candidates]

    iou = finite_iou(gt_boxes, pred_boxes[candidates], rotated)
    cls_cost = _soft_label_cost(logits[candidates].double(), gt_labels, iou)
    cost = cls_weight * cls_cost - reg_weight * (iou + _LEAST_IOU).log()
    cost += _OUTSIDE * ~region
    assigned[candidates] = dynamic_k_match(cost, iou, top_n)
    return assigned


def _inside(anchors: Tensor, gt_boxes: Tensor, rotated: bool) -> Tensor:
    """(M, N) bool: which anchors lie in which box, faces included."""
    if not rotated:
        gt_boxes = torch.cat([gt_boxes[:, :6], torch.zeros_like(gt_boxes[:, 6:])], dim=1)
    boxes = Boxes(gt_boxes)
    return torch.cat([boxes.contains(part) for part in anchors.split(_CHUNK)]).T


def _soft_label_cost(logits: Tensor, gt_labels: Tensor, iou: Tensor) -> Tensor:
    """Σ_classes BCE(p, y) |y - p|² of logits (A, C) and IoUs (M, A), (M, A)."""
    score = logits.sigmoid()
    if_zero = softplus(logits) * score.square()  # a class's term where its label y is 0
    logit, score = logits[:, gt_labels].T, score[:, gt_labels].T
    labelled = (softplus(logit) - logit * iou) * (iou - score).square()
    return if_zero.sum(dim=1) - if_zero[:, gt_labels].T + labelled
