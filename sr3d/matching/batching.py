"""Pairs ground truths with the anchors of their scenes: a batch as one matrix, without a loop.

A batch has the anchors and the ground truths of all its scenes. An assigner compares each ground
truth only with the anchors of its scene: a row of an (M, W) matrix, where W is the maximum number
of anchors of a scene. Shorter rows are padded with anchors at infinity. The matrix is computed in
parts, so memory does not grow with it. On a GPU its size needs one sync.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.matching.assigner import Anchors

MOST_LEVELS = 64  # more than any detector has
# Maximum number of entries of one part of a matrix: fits into a CPU's cache, or keeps a GPU busy
# (64 MiB per matrix).
_PART_CPU, _PART_GPU = 1 << 18, 1 << 24
_SLACK = 1e-3  # relative tolerance against rounding


class Scenes(NamedTuple):
    """The scene of each anchor, (N,) int64, and of each ground truth, (M,) int64, in any order."""

    anchors: Tensor
    truths: Tensor

    @staticmethod
    def of(anchors: Anchors, truth: GroundTruth) -> Scenes:
        return Scenes(anchors.scenes, truth.scenes)


@dataclass(frozen=True)
class Rows:
    """The row of anchors of each ground truth: of its scene, or of its scene and level, in order.

    anchor: (G, W) int64, -1 in padded entries. xyz: (3, G, W) metres, inf in padded entries.
    column: (N,) the place of each anchor in its row. of: (M,) the row of each ground truth.
    in_scene: (M,) the number of anchors of its scene, on all levels.
    """

    anchor: Tensor
    xyz: Tensor
    column: Tensor
    of: Tensor
    in_scene: Tensor

    @staticmethod
    def make(anchors: Tensor, scenes: Scenes, levels: tuple[Tensor, Tensor] | None = None) -> Rows:
        """anchors: (N, 3), at least one. levels: (N,) and (M,) int64, for rows by level."""
        keys, truth_keys = scenes.anchors * MOST_LEVELS, scenes.truths * MOST_LEVELS
        end = truth_keys + MOST_LEVELS
        if levels is not None:
            keys, truth_keys = keys + levels[0], truth_keys + levels[1]
        key, order = keys.sort(stable=True)
        in_scene = torch.searchsorted(key, end) - torch.searchsorted(key, end - MOST_LEVELS)

        count = len(key)
        first = torch.ones_like(key, dtype=torch.bool)  # whether the anchor is the first of its row
        first[1:] = key[1:] != key[:-1]
        row, place = first.cumsum(0) - 1, torch.arange(count, device=key.device)
        column = place - place.where(first, 0).cummax(dim=0).values  # minus the start of its row
        height, width = (torch.stack([row[-1], column.max()]) + 1).tolist()

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
        """Slices of ground truths, each small enough for one part of the matrix."""
        entries = _PART_GPU if self.anchor.is_cuda else _PART_CPU
        size = max(1, entries // self.width)
        for first in range(0, len(self.of), size):
            yield slice(first, first + size)

    def table(self, values: Tensor, fill: float) -> Tensor:
        """Values of the anchors, (N,), as (G, W). Padded entries get `fill`."""
        return _table(values, self.anchor, fill)

    def squares(self, part: slice, points: Tensor) -> Tensor:
        """(m, W) squared distances in metres from one point per ground truth, (M, 3 or more), to
        its anchors. inf in padded entries.
        """
        rows = self.of[part]
        x, y, z = (
            axis.index_select(0, rows).sub_(points[part, i, None])
            for i, axis in enumerate(self.xyz)
        )
        return x.square_().add_(y.square_()).add_(z.square_())

    def pairs(self, part: slice, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Ground truths and anchors where an (m, W) mask of a part is True, sorted by ground truth,
        then anchor. The mask must be False in padded entries. Their number needs a sync on a GPU.
        """
        row, column = chosen.nonzero().unbind(1)
        return row + part.start, self.anchor[self.of[part][row], column]

    def nearest(self, points: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Squared distances, ascending, and anchors nearest to each ground truth's point, (M, K)
        with K = min(count, W). inf and -1 in padded entries. points: see `squares`.

        Equal distances are in any order. With a count of 1 the first anchor wins.
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
        """Ground truths and anchors of all pairs up to `reach` (M,) metres apart, and of some pairs
        that are slightly farther apart. points: see `squares`.
        """
        limit = (reach.square() * (1 + _SLACK)).clamp(max=torch.finfo(reach.dtype).max)[:, None]
        parts = [self.pairs(p, self.squares(p, points) <= limit[p]) for p in self.parts()]
        truth, anchor = zip(*parts, strict=True)
        return torch.cat(truth), torch.cat(anchor)


def _table(values: Tensor, anchor: Tensor, fill: float) -> Tensor:
    return torch.cat([values, values.new_full((1,), fill)])[anchor]  # -1 takes the last
