"""Predictions with scores from the ground truth (the paper's Table 6), before NMS.

They show the value of better scores. Boxes and all later steps do not change.
"""

from __future__ import annotations

import dataclasses

from sr3d.data.datasets import Dataset
from sr3d.data.ground_truth import GroundTruth
from sr3d.data.scene import Scene
from sr3d.detectors.common.oracle_scores import inside_smallest, with_scores
from sr3d.detectors.outputs import Predictions
from sr3d.detectors.tr3d.config import TR3DInference
from sr3d.geometry.boxes import centerness
from sr3d.geometry.iou import paired_iou
from sr3d.matching.tr3d import TR3DAssigner


def with_oracle(
    predictions: Predictions, scene: Scene, dataset: Dataset, config: TR3DInference
) -> Predictions:
    """One scene's predictions with other scores for the true classes of the foreground.

    The foreground is TR3D's positives (`foreground` "assigned"), or every anchor inside a ground
    truth ("inside"). The oracle "iou" replaces the score by the IoU of the predicted box.
    "centerness" multiplies the score by the anchor's centerness.
    """
    anchors, boxes, logits = predictions.anchors, predictions.boxes, predictions.logits
    truth = GroundTruth.collate([scene.boxes.tensor], [scene.labels]).to(boxes.device)
    if config.foreground == "inside":
        assigned = inside_smallest(anchors.positions, truth.boxes)
    else:
        assigned = TR3DAssigner(dataset.levels)(anchors, boxes, logits, truth)
    rows = (assigned >= 0).nonzero().squeeze(1)
    gt_boxes, labels = truth.boxes[assigned[rows]], truth.labels[assigned[rows]]
    if config.oracle == "iou":
        scores = paired_iou(boxes[rows], gt_boxes, dataset.rotated)
    else:
        scores = logits[rows, labels].sigmoid()
        scores = scores * centerness(anchors.positions[rows], gt_boxes)
    changed = with_scores(logits, assigned, truth.labels, scores)
    return dataclasses.replace(predictions, logits=changed)
