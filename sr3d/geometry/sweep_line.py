"""Finds boxes that may overlap by a sweep along a line, instead of comparing all pairs.

Boxes are on the x axis, group after group, sorted by their low ends. The candidates of a box are
then a run of its successors, found by bisection. The other axes exclude some of them. Sizes depend
on the data, so on a GPU each step needs a sync. `static_pairwise_iou` needs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sr3d.geometry.boxes import enclosing_boxes
from sr3d.geometry.iou import OverlapRule, pairs_at_a_time

_FAR = 1e6  # metres. Diverged boxes are moved here, because otherwise all places lose precision


@dataclass(frozen=True)
class SweepLine:
    """Boxes sorted by their low ends. All indices below refer to this order.

    order: (N,) int64, the rows of the input. low, high: (axes, N) float64, the shrunk extents that
    must meet for two boxes to overlap enough. x is shifted so groups are apart.
    """

    order: Tensor
    low: Tensor
    high: Tensor

    @staticmethod
    def of(boxes: Tensor, groups: Tensor, rule: OverlapRule) -> SweepLine:
        """boxes (N, 7), groups (N,) int64. Finds all pairs within a group that overlap.

        An IoU above t needs more than the share t of either box. A slice at the end of a box's
        extent holds at most the slice's share of the box, up to a half (a box is convex and
        symmetric about its centre). So the high ends may be moved inwards by the share min(t, 1/2).
        """
        box = boxes.double()
        box = enclosing_boxes(box) if rule.rotated else box
        axes = 2 if rule.bev else 3
        center, size = box[:, :axes].t(), box[:, 3 : 3 + axes].t()
        rounding = 16 * torch.finfo(boxes.dtype).eps
        low = center - size * (0.5 + rounding)
        high = center + size * (0.5 + rounding - min(max(rule.iou_thr, 0.0), 0.5))
        low, high = (end.nan_to_num().clamp(-_FAR, _FAR) for end in (low, high))
        if len(boxes):
            place = torch.unique(groups, return_inverse=True)[1]
            shift = place * (2 * (high[0].max() - low[0].min()) + 1)
            low[0] += shift
            high[0] += shift
        order = torch.argsort(low[0])
        return SweepLine(order, low[:, order], high[:, order])

    def pairs_within(self, members: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs that may overlap, each once, in portions. `members`: ascending."""
        low, high = self.low[:, members], self.high[:, members]
        start = torch.arange(1, len(members) + 1, device=members.device)
        end = torch.searchsorted(low[0], high[0], right=True)
        for p, q in _met(start, end, low, high, low, high):
            yield members.index_select(0, p), members.index_select(0, q)

    def pairs_between(self, first: Tensor, second: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of one box in `first` and one in `second`, which are disjoint and ascending."""
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
    """Row p with every column q of start[p] … end[p] - 1 that meets it along the other axes."""
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
    before = count.cumsum(0) - count  # number of pairs of the rows before
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
