"""Converts boxes between mmdet3d and ours. z of mmdet3d's Depth boxes is that of the bottom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet3d.structures import BaseInstance3DBoxes, Box3DMode, DepthInstance3DBoxes
from mmengine.structures import InstanceData
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.outputs import Detections


def from_mmdet3d(boxes: BaseInstance3DBoxes) -> Tensor:
    """(K, 7): geometric centre, full size, yaw counter-clockwise."""
    depth = boxes.convert_to(Box3DMode.DEPTH)
    return torch.cat([depth.gravity_center, depth.tensor[:, 3:7]], dim=1)


def depth_boxes(boxes: Any, rotated: bool) -> DepthInstance3DBoxes:
    """From (K, 7) boxes, or (K, 6) boxes if none has a yaw. The result then has no yaw."""
    width = 7 if rotated else 6
    middle = (0.5, 0.5, 0.5)
    return DepthInstance3DBoxes(boxes[:, :width], width, with_yaw=rotated, origin=middle)


def ground_truth(samples: Sequence[Any], device: torch.device) -> GroundTruth:
    """The `gt_instances_3d` of a batch of `Det3DDataSample`."""
    boxes, labels = [], []
    for sample in samples:
        instances = sample.gt_instances_3d
        known = instances.labels_3d >= 0  # -1: a class that is left out
        boxes.append(from_mmdet3d(instances.bboxes_3d)[known])
        labels.append(instances.labels_3d[known])
    return GroundTruth.collate(boxes, labels).to(device)


def instances_of(found: Detections, rotated: bool) -> InstanceData:
    """Detections as the `pred_instances_3d` of a scene."""
    return InstanceData(
        bboxes_3d=depth_boxes(found.boxes, rotated),
        scores_3d=found.scores,
        labels_3d=found.labels,
    )
