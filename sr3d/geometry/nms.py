"""Non-maximum suppression: exact, greedy by score, within each class, for all classes in one call.

On a CPU a sweep finds the few pairs of boxes that overlap, and the greedy choice runs over sets of
bits. On a GPU syncs are expensive, so dense tables settle all classes at once, see `static_nms`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from sr3d.geometry.iou import OverlapRule
from sr3d.geometry.static_nms import static_nms
from sr3d.geometry.sweep_line import SweepLine

_BLOCK = 1024  # boxes per step, best first: limits memory and skips the boxes that they suppress
_SHARED = 4096  # up to this many boxes shared by classes are compared once for all classes
_DENSE = 1 << 29  # maximum number of (class, box, box) entries on a GPU: about 2 GB at the peak
_ROUNDS = 16  # on a GPU, rounds between syncs


@torch.no_grad()
def nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou_thr: float,
    rotated: bool,
    bev: bool = True,
) -> Tensor:
    """Indices of the kept boxes. From the best score down, a box is removed if its IoU with a
    better kept box of its class is above `iou_thr`.

    boxes (N, 7), scores (N,), labels (N,) int64: classes, or ids of (scene, class). Returns (K,)
    int64: class by class ascending, scores descending within. Equal scores are in the order of the
    input. Memory grows with N only.

    iou_thr: in [0, 1]. bev: IoU of the footprints, as in TR3D's "3D NMS" (mmcv nms3d,
    nms3d_normal). Otherwise 3D IoU.
    """
    every = torch.ones_like(labels, dtype=torch.bool)
    keep = class_nms(boxes, scores[:, None], every[:, None], iou_thr, rotated, bev, labels)
    order = torch.sort(scores, descending=True, stable=True).indices
    order = order[torch.sort(labels[order], stable=True).indices]
    return order[keep[order, 0]]


@torch.no_grad()
def class_nms(
    boxes: Tensor,
    scores: Tensor,
    valid: Tensor,
    iou_thr: float,
    rotated: bool,
    bev: bool = True,
    groups: Tensor | None = None,
) -> Tensor:
    """(N, C) bool: which box is kept as which class. `nms` for boxes shared by classes.

    boxes (N, 7). scores (N, C). valid (N, C) bool: the candidates. groups (N,) int64: only boxes of
    one group are compared, such as boxes of one scene. Equal scores rank in the order of rows.

    On a GPU this needs one sync. More than 23,000 boxes, or 5,400 boxes shared by 18 classes, use
    the algorithm for CPUs, with more syncs.
    """
    rule = OverlapRule(iou_thr, rotated, bev)
    if groups is None:
        groups = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
    if boxes.device.type != "cpu" and len(boxes) ** 2 * scores.shape[1] <= _DENSE:
        return _in_rounds(boxes, scores, valid, groups, rule)
    keep = torch.zeros_like(valid)
    used = valid.any(dim=1).nonzero().squeeze(1)
    if len(used) <= _SHARED and len(used) ** 2 < int((valid.sum(dim=0) ** 2).sum()):
        keep[used] = _shared(boxes[used], scores[used], valid[used], groups[used], rule)
    else:
        rows, classes = valid.nonzero().unbind(dim=1)
        apart = groups[rows] * scores.shape[1] + classes
        keep[rows, classes] = _blockwise(boxes[rows], scores[rows, classes], apart, rule)
    return keep


def _in_rounds(
    boxes: Tensor, scores: Tensor, valid: Tensor, groups: Tensor, rule: OverlapRule
) -> Tensor:
    """(N, C) bool: `class_nms` with dense tables."""
    rounds = _ROUNDS
    while True:
        keep, settled = static_nms(boxes, scores, valid, rule, groups, rounds)
        if settled:
            return keep
        rounds *= 8


def _shared(
    boxes: Tensor, scores: Tensor, valid: Tensor, groups: Tensor, rule: OverlapRule
) -> Tensor:
    """(N, C) bool: the kept boxes of all classes. Each pair is compared once for all classes."""
    line = SweepLine.of(boxes, groups, rule)
    suppresses = torch.zeros(len(boxes), len(boxes), dtype=torch.bool, device=boxes.device)
    for p, q in line.pairs_within(torch.arange(len(boxes), device=boxes.device)):
        p, q = line.order.index_select(0, p), line.order.index_select(0, q)
        for i, j in ((p, q), (q, p)):  # the class decides which one is better
            found = rule.holds(boxes, i, j)
            suppresses[i.index_select(0, found), j.index_select(0, found)] = True
    order = torch.sort(scores.t(), dim=1, descending=True, stable=True).indices
    offered = order[valid.t().gather(1, order)].split(valid.sum(dim=0).tolist())
    keep = torch.zeros_like(valid)
    for label, rows in enumerate(_greedy(suppresses, (rows.tolist() for rows in offered))):
        keep[rows, label] = True
    return keep


def _blockwise(boxes: Tensor, scores: Tensor, groups: Tensor, rule: OverlapRule) -> Tensor:
    """(N,) bool: the kept boxes, if each belongs to one group."""
    line = SweepLine.of(boxes, groups, rule)
    order = line.order
    boxes = boxes[order]
    # By rows of the input, so equal scores keep its order.
    place = torch.empty_like(order).scatter_(
        0, order, torch.arange(len(order), device=order.device)
    )
    best_first = place[torch.sort(scores, descending=True, stable=True).indices]
    keep = torch.zeros_like(order, dtype=torch.bool)
    waiting = torch.ones_like(keep)
    turn = torch.empty_like(order)  # the rank of each box in its block
    while len(best_first):
        block, best_first = best_first[:_BLOCK], best_first[_BLOCK:]
        turn[block] = torch.arange(len(block), device=block.device)
        suppresses = torch.zeros(len(block), len(block), dtype=torch.bool, device=block.device)
        for p, q in line.pairs_within(block.sort().values):
            p, q = turn.index_select(0, p), turn.index_select(0, q)
            i, j = torch.minimum(p, q), torch.maximum(p, q)
            found = rule.holds(boxes[block], i, j)
            suppresses[i.index_select(0, found), j.index_select(0, found)] = True
        (rows,) = _greedy(suppresses, [range(len(block))])
        stays = block[rows].sort().values
        keep[stays] = True
        if len(best_first):
            waiting[block] = False
            for i, j in line.pairs_between(stays, waiting.nonzero().squeeze(1)):
                waiting[j.index_select(0, rule.holds(boxes, i, j))] = False
            best_first = best_first[waiting[best_first]]
    return keep[place]


def _greedy(suppresses: Tensor, orders: Iterable[Iterable[int]]) -> list[list[int]]:
    """The kept boxes of each order. A kept box that comes earlier suppresses a later one.

    suppresses: (N, N) bool, row by column. Sets of boxes are the bits of Python's integers, so a
    step takes about 0.1 µs.
    """
    bits = np.packbits(suppresses.cpu().numpy(), axis=1, bitorder="little")
    raw, width = bits.tobytes(), bits.shape[1]
    suppressed_by = [
        int.from_bytes(raw[i * width : (i + 1) * width], "little") for i in range(len(bits))
    ]
    kept = []
    for order in orders:
        gone, stays = 0, []
        for i in order:
            if not gone >> i & 1:
                stays.append(i)
                gone |= suppressed_by[i]
        kept.append(stays)
    return kept
