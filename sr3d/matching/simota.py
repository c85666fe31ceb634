"""simOTA, the assigner of YOLOX, put on anchors in space."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sr3d.matching.batching import Rows, Scenes
from sr3d.matching.dynamic_k import Candidates, in_region, reach_of_region

_OUTSIDE = 1e6  # added to the cost of an anchor outside the ground truth's region
_LEAST_IOU = 1e-8  # inside the logarithm


@torch.no_grad()
def simota_assign(
    anchors: Tensor,
    strides: Tensor,
    pred_boxes: Tensor,
    logits: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    *,
    rotated: bool,
    radius: float = 1.5,
    top_n: int = 10,
    cls_weight: float = 1.0,
    reg_weight: float = 3.0,
    scenes: Scenes | None = None,
) -> Tensor:
    """simOTA (Ge et al. 2021b; `yolo_head.py` of Megvii-BaseDetection/YOLOX).

    The region of a ground truth holds the anchors less than radius strides from its centre along
    each axis; an anchor in any region is a candidate. The cost of a pair is

        cls_weight · Σ_classes BCE(sigmoid(logit), one-hot) - reg_weight · ln(IoU + 1e-8),

    and 1e6 more outside the ground truth's own region. Claims: see `Candidates.match`.

    What the third dimension changes: anchors lie near surfaces, so that a region may hold none.
    Each ground truth's nearest anchor therefore always counts as in its region. The head has no
    objectness: the class's probability stands alone, without YOLOX's square root.

    Args:
        anchors: (N, 3) metres, of all levels.
        strides: (N,) metres, the edge of each anchor's cell.
        pred_boxes: (N, 7), each anchor's decoded box.
        logits: (N, C) of the classes.
        gt_boxes: (M, 7).
        gt_labels: (M,) int in [0, C).
        radius: in strides; the paper of simOTA has 2.5.
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
    reach = reach_of_region(strides, radius).expand(len(gt_boxes))
    gt, anchor = rows.within(gt_boxes, reach)
    near = in_region(anchors[anchor], strides[anchor], gt_boxes[gt, :3], radius)
    nearest = rows.nearest(gt_boxes, 1)[1][:, 0]
    chosen = Candidates.choose(pred_boxes, scenes, (gt, anchor), near, near, nearest)
    if chosen is None:
        return nobody

    iou = chosen.iou(gt_boxes, pred_boxes, rotated)
    logits = logits[chosen.index].double()
    # BCE with target y is softplus(x) - x·y.
    labelled = logits[chosen.candidate, gt_labels[:, None]]
    cls_cost = softplus(logits).sum(dim=1)[chosen.candidate] - labelled
    cost = cls_weight * cls_cost - reg_weight * (iou + _LEAST_IOU).log()
    cost += _OUTSIDE * ~chosen.region
    return chosen.match(cost, iou, top_n, len(anchors))
