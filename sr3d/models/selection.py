"""From scored boxes to detections: what detectors have in common."""

from __future__ import annotations

from torch import Tensor

from sr3d.config import TestConfig
from sr3d.geometry.nms import nms
from sr3d.models.outputs import Detections


def suppress(boxes: Tensor, scores: Tensor, config: TestConfig, rotated: bool) -> Detections:
    """A score threshold, and NMS within each class. boxes: (N, 7). scores: (N, C).

    A box may be detected as several classes. The default NMS measures overlap from above, as that
    of open-mmlab/mmdetection3d does.
    """
    labels, rows = (scores.t() > config.score_thr).nonzero().unbind(dim=1)
    score = scores[rows, labels]
    kept = nms(boxes[rows], score, labels, config.iou_thr, rotated, bev=config.nms == "bev")
    return Detections(boxes[rows[kept]], score[kept], labels[kept])
