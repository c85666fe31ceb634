"""Ground truths beside the anchors of their own scenes: a batch as one matrix, without a loop.

A batch is the anchors of all its scenes and the ground truths of all its scenes. An assigner
compares each ground truth with the anchors of its scene alone: the rows of an (M, W) matrix, where
W is the most anchors that a scene has. Shorter rows end in anchors at infinity. The matrix is made
in parts, so memory does not grow with it. A GPU is waited for once, for its size, unless the host
knows how many anchors there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.matching.assigner import Anchors

MOST_LEVELS = 64  # above the number of levels of any detector
# Entries of a matrix looked at together: what a processor's cache holds; what keeps a GPU busy, at
# 64 MiB a matrix.
_PART_CPU, _PART_GPU = 1 << 18, 1 << 24
_SLACK = 1e-3  # relative: keeps what rounding moves within reach


class Scenes(NamedTuple):
    """The scene of each anchor, (N,) int64, and of each ground truth, (M,) int64, in any order.

    counts: how many anchors each level has in each scene, where the host knows it.
    """

    anchors: Tensor
    truths: Tensor
    counts: Sequence[Sequence[int]] | None = None

    @staticmethod
    def of(anchors: Anchors, truth: GroundTruth) -> Scenes:
        return Scenes(anchors.scenes, truth.scenes, anchors.counts)

    def rows(self, by_level: bool) -> list[int] | None:
        """Anchors of each scene, or of each level of each scene, that has some, if known."""
        if self.counts is None:
            return None
        rows = chain(*self.counts) if by_level else map(sum, zip(*self.counts, strict=True))
        return [count for count in rows if count]


@dataclass(frozen=True)
class Rows:
    """Each ground truth's row of anchors: those of its scene, or of its scene and level, in their
    order.

    anchor: (G, W) int64, -1 past the end of a row. xyz: (3, G, W) metres, inf there.
    column: (N,) each anchor's place in its row. of: (M,) each ground truth's row.
    in_scene: (M,) how many anchors its scene has, of all levels.
    """

    anchor: Tensor
    xyz: Tensor
    column: Tensor
    of: Tensor
    in_scene: Tensor

    @staticmethod
    def make(anchors: Tensor, scenes: Scenes, levels: tuple[Tensor, Tensor] | None = None) -> Rows:
        """anchors: (N, 3), at least one. levels: (N,) and (M,) int64, where rows are by level."""
        keys, truth_keys = scenes.anchors * MOST_LEVELS, scenes.truths * MOST_LEVELS
        end = truth_keys + MOST_LEVELS
        if levels is not None:
            keys, truth_keys = keys + levels[0], truth_keys + levels[1]
        key, order = keys.sort(stable=True)
        in_scene = torch.searchsorted(key, end) - torch.searchsorted(key, end - MOST_LEVELS)

        count = len(key)
        first = torch.ones_like(key, dtype=torch.bool)  # of its row
        first[1:] = key[1:] != key[:-1]
        row, place = first.cumsum(0) - 1, torch.arange(count, device=key.device)
        column = place - place.where(first, 0).cummax(dim=0).values  # less the start of its row
        known = scenes.rows(by_level=levels is not None)
        if known is None:
            height, width = (torch.stack([row[-1], column.max()]) + 1).tolist()
        else:
            height, width = len(known), max(known)

        anchor = order.new_full((height + 1, width), -1)  # the last row has no anchors
        anchor[row, column] = order
        found = torch.searchsorted(key, truth_keys).clamp(max=count - 1)
        of = torch.where(key[found] == truth_keys, row[found], height)
        xyz = torch.stack([_table(axis, anchor, torch.inf) for axis in anchors.unbind(1)])
        return Rows(anchor, xyz, torch.empty_like(column).scatter_(0, order, column), of, in_scene)

    @property
    def width(self) -> int:
        return self.anchor.shape[1]

    def parts(self) -> Iterator[slice]:
        """Ground truths to look at together."""
        entries = _PART_GPU if self.anchor.is_cuda else _PART_CPU
        size = max(1, entries // self.width)
        for first in range(0, len(self.of), size):
            yield slice(first, first + size)

    def table(self, values: Tensor, fill: float) -> Tensor:
        """A number of each anchor, (N,), as (G, W)."""
        return _table(values, self.anchor, fill)

    def squares(self, part: slice, points: Tensor) -> Tensor:
        """(m, W) squared metres from (M, 3 or more) points, one a ground truth, to its anchors;
        inf past the end of a row.
        """
        rows = self.of[part]
        x, y, z = (
            axis.index_select(0, rows).sub_(points[part, i, None])
            for i, axis in enumerate(self.xyz)
        )
        return x.square_().add_(y.square_()).add_(z.square_())

    def pairs(self, part: slice, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Ground truths and anchors where an (m, W) mask of a part is set, by ground truth, then
        anchor. It may not be set past the end of a row. A GPU is waited for, to say how many.
        """
        row, column = chosen.nonzero().unbind(1)
        return row + part.start, self.anchor[self.of[part][row], column]

    def nearest(self, points: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Squared distances, ascending, and anchors nearest to each ground truth's point, (M, K)
        with K = min(count, W); inf and -1 past the end of a row. points: as for `squares`.

        Of equals any may come first; with a count of 1 the first.
        """
        values, anchors = [], []
        for part in self.parts():
            squares = self.squares(part, points)
            if count == 1:
                value, column = squares.min(dim=1, keepdim=True)
            else:
                value, column = squares.topk(min(count, self.width), dim=1, largest=False)
            values.append(value)
            anchors.append(self.anchor[self.of[part, None], column])
        return torch.cat(values), torch.cat(anchors)

    def within(self, points: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
        """Ground truths and anchors of all pairs up to `reach` (M,) metres apart, and of some that
        are little more. points: as for `squares`.
        """
        limit = (reach.square() * (1 + _SLACK)).clamp(max=torch.finfo(reach.dtype).max)[:, None]
        parts = [self.pairs(p, self.squares(p, points) <= limit[p]) for p in self.parts()]
        truth, anchor = zip(*parts, strict=True)
        return torch.cat(truth), torch.cat(anchor)


def _table(values: Tensor, anchor: Tensor, fill: float) -> Tensor:
    return torch.cat([values, values.new_full((1,), fill)])[anchor]  # -1 takes the last
