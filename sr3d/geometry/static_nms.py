"""Non-maximum suppression with the same operations for all boxes.

Shapes depend only on shapes, and no step needs a sync, so a CUDA graph may record it. Missing boxes
are padding, marked as not valid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.geometry.iou import OverlapRule


@torch.no_grad()
def static_nms(
    boxes: Tensor,
    scores: Tensor,
    valid: Tensor,
    rule: OverlapRule,
    groups: Tensor | None = None,
    rounds: int | None = None,
) -> tuple[Tensor, Tensor]:
    """`class_nms`, also over scenes: which box is kept as which class, (…, N, C) bool, and whether
    the result is exact, (…) bool.

    boxes (…, N, 7), may be infinite or NaN if not valid. scores, valid (…, N, C). groups (…, N).

    A round updates all boxes at once: a box is kept if and only if no better box that was kept in
    the round before overlaps it. After t rounds all boxes are right whose chains of ever better
    overlapping boxes have at most t + 1 links. So N rounds (`rounds=None`) suffice, and a round
    without a change proves that the result is exact. With fewer rounds, read the second result
    together with the first. If it is False, run more rounds (or `class_nms`).

    Memory: 4 (on a GPU 2) bytes for each (class, box, box).
    """
    overlap = rule.every_pair(boxes, boxes)
    if groups is not None:
        overlap &= groups[..., :, None] == groups[..., None, :]
    # Class by class, contiguous, because otherwise every product would first copy its table.
    scores, valid = (part.transpose(-1, -2).contiguous() for part in (scores, valid))
    order = torch.sort(scores, dim=-1, descending=True, stable=True).indices
    rank = torch.argsort(order, dim=-1)
    better = rank[..., :, None] < rank[..., None, :]  # [c, i, j]: i is better than j
    # A matrix product serves as "any", because sums of ones never round to 0.
    dtype = torch.float16 if boxes.is_cuda else torch.float32
    suppresses = (better & overlap[..., None, :, :]).to(dtype)
    keep = before = valid
    for _ in range(boxes.shape[-2] if rounds is None else rounds):
        rivals = (keep[..., None, :].to(dtype) @ suppresses).squeeze(-2)
        keep, before = valid & (rivals == 0), keep
    settled = (keep == before).flatten(-2).all(dim=-1)
    return keep.transpose(-1, -2), settled
