"""Non-maximum suppression: per class, greedy by score, exact, without a loop over boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.geometry.iou import pairwise_iou


def nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou_thr: float,
    rotated: bool,
    bev: bool = True,
) -> Tensor:
    """Indices of the boxes that stay: from the best score down, a box goes if its IoU with a
    better one of its class that stays is above `iou_thr`.

    boxes (N, 7), scores (N,), labels (N,) int64. Returns (K,) int64: class by class ascending,
    scores descending within; equal scores in the order of the input.

    bev: IoU of the footprints, as TR3D's "3D NMS" compares (mmcv nms3d, nms3d_normal); else 3-D.
    Memory grows with the square of the largest class.
    """
    order = torch.sort(scores, descending=True, stable=True).indices
    order = order[torch.sort(labels[order], stable=True).indices]
    counts = torch.unique_consecutive(labels[order], return_counts=True)[1].tolist()

    # Detectors offer one box under many classes: then compare each pair of boxes once for all.
    unique, row = torch.unique(boxes, dim=0, return_inverse=True)
    shared = None
    if len(unique) ** 2 < sum(count**2 for count in counts):
        shared = pairwise_iou(unique, unique, rotated, bev) > iou_thr
    kept = []
    for group in order.split(counts):
        if shared is not None:
            overlap = shared[row[group]][:, row[group]]
        else:
            overlap = pairwise_iou(boxes[group], boxes[group], rotated, bev) > iou_thr
        kept.append(group[_greedy(overlap)])
    return torch.cat(kept) if kept else order


def _greedy(overlap: Tensor) -> Tensor:
    """Mask of what greedy suppression keeps; `overlap` (N, N) bool, rows from best to worst.

    Each round decides many boxes: one that no undecided better box overlaps stays for certain, and
    what it overlaps goes for certain. Every row is read once, whatever the number of rounds.
    """
    overlap = overlap.triu(diagonal=1)  # [i, j]: i is better than j and would suppress it
    rivals = overlap.sum(dim=0)  # undecided better boxes that overlap each box
    undecided = torch.ones_like(rivals, dtype=torch.bool)
    keep = torch.zeros_like(undecided)
    while undecided.any():
        stays = undecided & (rivals == 0)
        goes = undecided & overlap[stays].any(dim=0)
        decided = stays | goes
        rivals = rivals - overlap[decided].sum(dim=0)
        keep |= stays
        undecided &= ~decided
    return keep
