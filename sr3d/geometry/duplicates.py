"""Removes duplicate boxes of one object that NMS keeps, for people who look at detections.

NMS within a class at IoU 0.5 is right for average precision, which scores each class separately. It
keeps boxes of two classes on one object, and shifted copies of thin objects such as windows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.geometry.iou import pairwise_iou

SAME_CLASS, OTHER_CLASS = 0.25, 0.5  # two boxes above this IoU are of one object
_THICKNESS = 0.2  # metres, minimum size in the comparison, because thin boxes hardly overlap


def without_duplicates(boxes: Tensor, scores: Tensor, labels: Tensor, rotated: bool) -> Tensor:
    """Indices of the boxes of distinct objects, best score first, int64.

    A box is removed if its 3D IoU with a better kept box is above 0.25 within its class, or above
    0.5 across classes. Sizes below 20 cm count as 20 cm.

    boxes: (K, 7). scores: (K,). labels: (K,). Compares all pairs, so K should be a few hundred,
    after a score threshold.
    """
    order = torch.sort(scores, descending=True, stable=True).indices
    thick = boxes[order].clone()
    thick[:, 3:6] = thick[:, 3:6].clamp(min=_THICKNESS)
    label = labels[order]
    limit = torch.where(label[:, None] == label, SAME_CLASS, OTHER_CLASS)
    overlaps = (pairwise_iou(thick, thick, rotated) > limit).tolist()
    kept: list[int] = []
    for i, row in enumerate(overlaps):
        if not any(row[j] for j in kept):
            kept.append(i)
    return order[torch.tensor(kept, dtype=torch.int64)]
