"""Post-processing that detectors share: from scored boxes to detections."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sr3d.config import InferenceConfig
from sr3d.detectors.common.sparse_config import SparseInferenceConfig
from sr3d.detectors.outputs import Detections, Predictions
from sr3d.geometry.nms import class_nms


def suppress(boxes: Tensor, scores: Tensor, config: InferenceConfig, rotated: bool) -> Detections:
    """Apply a score threshold, and NMS within each class. boxes: (N, 7). scores: (N, C).

    A box may be detected as several classes. The default NMS compares boxes in bird's-eye view, as
    open-mmlab/mmdetection3d does.
    """
    valid = scores > config.score_thr
    keep = class_nms(boxes, scores, valid, config.iou_thr, rotated, bev=config.nms == "bev")
    return kept(boxes, scores, keep)


def best_anchors(scores: Tensor, levels: Sequence[int], most: int) -> Tensor:
    """Rows of the `most` best of each level. scores: (A,). levels: number of anchors of each."""
    rows, start = [], 0
    for own in scores.split(list(levels)):
        rows.append(own.topk(min(most, len(own))).indices + start)
        start += len(own)
    return torch.cat(rows)


def kept(boxes: Tensor, scores: Tensor, keep: Tensor) -> Detections:
    """The detections of boxes (N, 7) kept (N, C) as some classes: class by class, best first.

    Needs a sync.
    """
    order = torch.sort(scores.t(), dim=1, descending=True, stable=True).indices
    labels, places = keep.t().gather(1, order).nonzero().unbind(dim=1)
    rows = order[labels, places]
    return Detections(boxes[rows], scores[rows, labels], labels)


def select_detections(
    predictions: Predictions, config: SparseInferenceConfig, rotated: bool
) -> Detections:
    """One scene's detections: the `nms_pre` best anchors of all levels, threshold, NMS."""
    scores = predictions.scores
    best = scores.amax(dim=1)
    top = torch.topk(best, min(config.nms_pre, len(best))).indices
    return suppress(predictions.boxes[top], scores[top], config, rotated)
