"""What detections would be worth with better scores (the paper's Table 6): scores from the truth.

Pure functions of one scene's anchors, before NMS. `assigned` (A,) is the index of the ground truth
that an anchor is foreground of, or -1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.geometry.boxes import rotate_z


def inside_smallest(anchors: Tensor, gt_boxes: Tensor) -> Tensor:
    """(A,) the ground truth (M, 7) of least volume that each anchor (A, 3) lies in, or -1."""
    if len(gt_boxes) == 0:
        return torch.full((len(anchors),), -1, device=anchors.device)
    offset = rotate_z(anchors[:, None] - gt_boxes[:, :3], -gt_boxes[:, 6])
    inside = (offset.abs() <= gt_boxes[:, 3:6] / 2).all(dim=-1)
    volume = gt_boxes[:, 3:6].prod(dim=1).expand_as(inside).masked_fill(~inside, torch.inf)
    least, index = volume.min(dim=1)
    return torch.where(least.isfinite(), index, -1)


def centerness(points: Tensor, boxes: Tensor) -> Tensor:
    """(P,) centerness of points (P, 3) in boxes (P, 7): 1 at the centre, 0 on a face and outside.

    The square root of the product over the axes of (nearer face) / (farther face), as FCAF3D's.
    """
    offset = rotate_z(points - boxes[:, :3], -boxes[:, 6]).abs()
    near, far = boxes[:, 3:6] / 2 - offset, boxes[:, 3:6] / 2 + offset
    return (near.clamp(min=0) / far).prod(dim=1).sqrt()


def with_scores(logits: Tensor, assigned: Tensor, gt_labels: Tensor, scores: Tensor) -> Tensor:
    """Logits (A, C) with the score of each foreground anchor's true class replaced.

    scores: (P,) in [0, 1], of the foreground anchors in their order.
    """
    rows = (assigned >= 0).nonzero().squeeze(1)
    changed = logits.clone()
    changed[rows, gt_labels[assigned[rows]]] = torch.logit(scores.to(logits.dtype), eps=1e-6)
    return changed
