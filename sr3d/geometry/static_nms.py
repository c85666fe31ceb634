"""Non-maximum suppression by one sequence of operations whatever the boxes.

Shapes depend on shapes alone and the host never waits for the device, so a CUDA graph may record
it; boxes that are not there are padding, marked as not valid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.geometry.iou import static_pairwise_iou


@torch.no_grad()
def static_nms(
    boxes: Tensor,
    scores: Tensor,
    valid: Tensor,
    iou_thr: float,
    rotated: bool,
    bev: bool = True,
    groups: Tensor | None = None,
    rounds: int | None = None,
) -> tuple[Tensor, Tensor]:
    """`class_nms`, over scenes too: which box stays as which class, (…, N, C) bool, and (…) bool,
    whether that is exact.

    boxes (…, N, 7), finite or not where not valid. scores, valid (…, N, C). groups (…, N).

    In each round, at once, a box stays if and only if none of the better ones that stayed in the
    round before overlaps it. After t rounds all is right whose chains of ever better overlapping
    boxes have at most t + 1 links; so N rounds (`rounds=None`) suffice, and a round that changes
    nothing proves that all is right. With fewer rounds the caller reads the second result together
    with the first, and where it is False runs more of them (or `class_nms`).

    Memory: 4 (on a GPU 2) bytes for each (class, box, box).
    """
    overlap = static_pairwise_iou(boxes, boxes, rotated, bev) > iou_thr
    if groups is not None:
        overlap &= groups[..., :, None] == groups[..., None, :]
    # Class by class, contiguous: or every product would first copy its table.
    scores, valid = (part.transpose(-1, -2).contiguous() for part in (scores, valid))
    order = torch.sort(scores, dim=-1, descending=True, stable=True).indices
    rank = torch.argsort(order, dim=-1)
    better = rank[..., :, None] < rank[..., None, :]  # [c, i, j]: i is better than j
    # A product of matrices serves as "any": sums of ones never round to 0.
    dtype = torch.float16 if boxes.is_cuda else torch.float32
    suppresses = (better & overlap[..., None, :, :]).to(dtype)
    keep = before = valid
    for _ in range(boxes.shape[-2] if rounds is None else rounds):
        rivals = (keep[..., None, :].to(dtype) @ suppresses).squeeze(-2)
        keep, before = valid & (rivals == 0), keep
    settled = (keep == before).flatten(-2).all(dim=-1)
    return keep.transpose(-1, -2), settled
