"""Non-maximum suppression: exact, greedy by score, within each class, all classes in one call.

On a CPU the few pairs of boxes that overlap are found by a sweep, and the greedy choice runs over
sets of bits. On a GPU, where waiting for such data is what costs, dense tables settle all classes
at once: see `static_nms`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sr3d.geometry.iou import paired_iou, pairs_at_a_time
from sr3d.geometry.static_nms import static_nms
from sr3d.geometry.sweep_line import SweepLine

_BLOCK = 1024  # boxes decided together, best first: bounds memory and spares what they suppress
_SHARED = 4096  # up to so many boxes that classes share are compared once for all classes
_DENSE = 1 << 29  # (class, box, box) entries on a GPU: some 2 GB at the peak
_ROUNDS = 16  # on a GPU, before asking whether all is decided


@torch.no_grad()
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

    boxes (N, 7), scores (N,), labels (N,) int64: classes, or ids of (scene, class). Returns (K,)
    int64: class by class ascending, scores descending within; equal scores in the order of the
    input. Memory grows with N alone.

    iou_thr: in [0, 1]. bev: IoU of the footprints, as TR3D's "3D NMS" compares (mmcv nms3d,
    nms3d_normal); else 3-D.
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
    """Which box stays as which class, (N, C) bool: `nms` of boxes that classes share.

    boxes (N, 7). scores (N, C). valid (N, C) bool: what takes part at all. groups (N,) int64: only
    boxes of one group meet, such as those of one scene. Equal scores rank in the order of rows.

    On a GPU the host waits once, to learn that all is decided; more than 23,000 boxes, or 5,400
    that 18 classes share, take the way of a CPU, with more waiting.
    """
    rule = _Rule(iou_thr, rotated, bev)
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


@dataclass(frozen=True)
class _Rule:
    """When a box suppresses another."""

    iou_thr: float
    rotated: bool
    bev: bool

    def holds(self, boxes: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """(L,) int64: for which of the pairs i, j (K,), i the better one."""
        columns = boxes.t().contiguous()
        size = pairs_at_a_time(boxes.device, self.rotated)
        parts = []
        for p, q in zip(i.split(size), j.split(size), strict=True):
            a, b = columns.index_select(1, p).t(), columns.index_select(1, q).t()
            parts.append(paired_iou(a, b, self.rotated, self.bev) > self.iou_thr)
        return torch.cat(parts).nonzero().squeeze(1)


def _in_rounds(boxes: Tensor, scores: Tensor, valid: Tensor, groups: Tensor, rule: _Rule) -> Tensor:
    """(N, C) bool: `class_nms` by dense tables."""
    compare = rule.iou_thr, rule.rotated, rule.bev
    rounds = _ROUNDS
    while True:
        keep, settled = static_nms(boxes, scores, valid, *compare, groups, rounds)
        if settled:
            return keep
        rounds *= 8


def _shared(boxes: Tensor, scores: Tensor, valid: Tensor, groups: Tensor, rule: _Rule) -> Tensor:
    """(N, C) bool: what stays of boxes that classes share; each pair is compared once for all."""
    line = SweepLine.of(boxes, groups, rule.iou_thr, rule.rotated, rule.bev)
    suppresses = torch.zeros(len(boxes), len(boxes), dtype=torch.bool, device=boxes.device)
    for p, q in line.pairs_within(torch.arange(len(boxes), device=boxes.device)):
        p, q = line.order.index_select(0, p), line.order.index_select(0, q)
        for i, j in ((p, q), (q, p)):  # which one is better depends on the class
            found = rule.holds(boxes, i, j)
            suppresses[i.index_select(0, found), j.index_select(0, found)] = True
    order = torch.sort(scores.t(), dim=1, descending=True, stable=True).indices
    offered = order[valid.t().gather(1, order)].split(valid.sum(dim=0).tolist())
    keep = torch.zeros_like(valid)
    for label, rows in enumerate(_greedy(suppresses, (rows.tolist() for rows in offered))):
        keep[rows, label] = True
    return keep


def _blockwise(boxes: Tensor, scores: Tensor, groups: Tensor, rule: _Rule) -> Tensor:
    """(N,) bool: what stays of boxes that belong to one group each."""
    line = SweepLine.of(boxes, groups, rule.iou_thr, rule.rotated, rule.bev)
    order = line.order
    boxes = boxes[order]
    # By rows of the input, so that equal scores keep its order.
    place = torch.empty_like(order).scatter_(
        0, order, torch.arange(len(order), device=order.device)
    )
    best_first = place[torch.sort(scores, descending=True, stable=True).indices]
    keep = torch.zeros_like(order, dtype=torch.bool)
    waiting = torch.ones_like(keep)
    turn = torch.empty_like(order)  # of the boxes of a block
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
    """Of each order of boxes those that stay: a box goes if one before it that stays suppresses it.

    suppresses: (N, N) bool, row by column. Sets of boxes are the bits of Python's integers, so a
    step takes some 0.1 µs.
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
