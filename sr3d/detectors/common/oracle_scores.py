"""Scores from the ground truth, for the oracles of the paper's Table 6.

Pure functions of one scene's anchors, before NMS. `assigned` (A,) is the index of the ground truth
of each foreground anchor, or -1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.geometry.boxes import Boxes


def inside_smallest(anchors: Tensor, gt_boxes: Tensor) -> Tensor:
    """(A,) the ground truth (M, 7) of least volume around each anchor (A, 3), or -1."""
    if len(gt_boxes) == 0:
        return torch.full((len(anchors),), -1, device=anchors.device)
    inside = Boxes(gt_boxes).contains(anchors)
    volume = gt_boxes[:, 3:6].prod(dim=1).expand_as(inside).masked_fill(~inside, torch.inf)
    least, index = volume.min(dim=1)
    return torch.where(least.isfinite(), index, -1)


def with_scores(logits: Tensor, assigned: Tensor, gt_labels: Tensor, scores: Tensor) -> Tensor:
    """Logits (A, C) with the score of each foreground anchor's true class replaced.

    scores: (P,) in [0, 1], of the foreground anchors, in order.
    """
    rows = (assigned >= 0).nonzero().squeeze(1)
    changed = logits.clone()
    changed[rows, gt_labels[assigned[rows]]] = torch.logit(scores.to(logits.dtype), eps=1e-6)
    return changed
