"""Which boxes may overlap, found along a line instead of by looking at every pair.

Boxes lie on the x axis, group after group, by their low ends. What one box may overlap is then a
run of its successors, found by bisection; the other axes thin it out. Sizes depend on the data, so
on a GPU each step waits for the one before: `static_pairwise_iou` is what needs no waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sr3d.geometry.boxes import enclosing_boxes
from sr3d.geometry.iou import pairs_at_a_time

_FAR = 1e6  # metres: boxes that diverged lie there, else nobody's place would be precise


@dataclass(frozen=True)
class SweepLine:
    """Boxes in the order of their low ends: all that follows counts in this order.

    order: (N,) int64, the rows of the input. low, high: (axes, N) float64, the ends that must meet
    for two boxes to overlap enough; x is moved so that groups lie apart.
    """

    order: Tensor
    low: Tensor
    high: Tensor

    @staticmethod
    def of(boxes: Tensor, groups: Tensor, iou_thr: float, rotated: bool, bev: bool) -> SweepLine:
        """boxes (N, 7), groups (N,) int64. Pairs are of one group; all of those with an IoU above
        `iou_thr` are found.

        An IoU above t takes more than the share t of either box, and in the slice at either end of
        a box's extent lies at most that slice's share of the box, up to a half (a box is convex
        and symmetric about its centre). So the high ends may be drawn in by the share min(t, 1/2).
        """
        box = boxes.double()
        box = enclosing_boxes(box) if rotated else box
        axes = 2 if bev else 3
        center, size = box[:, :axes].t(), box[:, 3 : 3 + axes].t()
        rounding = 16 * torch.finfo(boxes.dtype).eps
        low = center - size * (0.5 + rounding)
        high = center + size * (0.5 + rounding - min(max(iou_thr, 0.0), 0.5))
        low, high = (end.nan_to_num().clamp(-_FAR, _FAR) for end in (low, high))
        if len(boxes):
            place = torch.unique(groups, return_inverse=True)[1]
            shift = place * (2 * (high[0].max() - low[0].min()) + 1)
            low[0] += shift
            high[0] += shift
        order = torch.argsort(low[0])
        return SweepLine(order, low[:, order], high[:, order])

    def pairs_within(self, members: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs that may overlap, each once; `members` ascending. Some at a time."""
        low, high = self.low[:, members], self.high[:, members]
        start = torch.arange(1, len(members) + 1, device=members.device)
        end = torch.searchsorted(low[0], high[0], right=True)
        for p, q in _met(start, end, low, high, low, high):
            yield members.index_select(0, p), members.index_select(0, q)

    def pairs_between(self, first: Tensor, second: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of one of `first` and one of `second`, which share none; both ascending."""
        low_1, high_1 = self.low[:, first], self.high[:, first]
        low_2, high_2 = self.low[:, second], self.high[:, second]
        start = torch.searchsorted(low_2[0], low_1[0])
        end = torch.searchsorted(low_2[0], high_1[0], right=True)
        for p, q in _met(start, end, low_1, high_1, low_2, high_2):
            yield first.index_select(0, p), second.index_select(0, q)
        start = torch.searchsorted(low_1[0], low_2[0], right=True)
        end = torch.searchsorted(low_1[0], high_2[0], right=True)
        for q, p in _met(start, end, low_2, high_2, low_1, high_1):
            yield first.index_select(0, p), second.index_select(0, q)


def _met(
    start: Tensor, end: Tensor, low_p: Tensor, high_p: Tensor, low_q: Tensor, high_q: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Row p with every column q of start[p] … end[p] - 1, where they meet along the other axes."""
    for p, q in _runs(start, end):
        meet = torch.ones_like(p, dtype=torch.bool)
        for axis in range(1, len(low_p)):
            meet &= low_p[axis].index_select(0, p) <= high_q[axis].index_select(0, q)
            meet &= low_q[axis].index_select(0, q) <= high_p[axis].index_select(0, p)
        found = meet.nonzero().squeeze(1)
        yield p.index_select(0, found), q.index_select(0, found)


def _runs(start: Tensor, end: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Every row with each of its columns start … end - 1, a few rows at a time."""
    count = (end - start).clamp(min=0)
    before = count.cumsum(0) - count  # pairs of the rows before
    total = int(count.sum())
    size = pairs_at_a_time(start.device, rotated=False)
    marks = torch.arange(size, max(size, total), size, device=start.device)
    cuts = torch.unique(torch.searchsorted(before, marks)).tolist()
    for first, last in zip([0, *cuts], [*cuts, len(start)], strict=True):
        rows = torch.arange(first, last, device=start.device)
        row = rows.repeat_interleave(count[first:last])
        if len(row):
            offset = int(before[first])
            position = torch.arange(offset, offset + len(row), device=start.device)
            yield row, position + (start - before).index_select(0, row)
