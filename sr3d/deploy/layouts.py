"""How sets of cells derive from one another: of as many cells as a scene has, or of fixed shapes.

A `FreeLayout` makes `Sites`, which grow with the scene; a `FixedLayout` makes `StaticSites`, whose
capacities are known beforehand, and never waits for the device. A network asks either for the same
sets in the same order: so what the first has made tells the second for how much to have room.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from sr3d.detectors.fcaf3d.network import best_cells
from sr3d.sparse import Sites, SparseTensor
from sr3d.sparse.functional import INSTANCE_NORM_EPS, instance_norm
from sr3d.sparse.interpolation import interpolate
from sr3d.sparse.kernel_map import KernelMap
from sr3d.sparse.static import NeighborTable, StaticSites

M = TypeVar("M", KernelMap, NeighborTable)
S = TypeVar("S", Sites, StaticSites)
M_co = TypeVar("M_co", KernelMap, NeighborTable, covariant=True)


class Layout(Protocol[S, M_co]):
    """Rows that are named, (n,) int64, are -1 where there is none."""

    def strided(self, x: S, factor: int) -> S:
        """The coarser cells that hold one."""

    def generated(self, x: S, kernel: int) -> S:
        """The finer cells that a generative convolution of stride 2 reaches."""

    def union(self, stage: S, grown: S) -> tuple[S, Tensor, Tensor]:
        """Cells of either, and their rows in each."""

    def pruned(self, x: S, scored: S, scores: Tensor, most: int) -> tuple[S, Tensor]:
        """The `most` cells where the scores (n,) of coarser cells, interpolated, are best, and
        their rows in `x`.
        """

    def normed(self, features: Tensor, sites: S) -> Tensor:
        """Features (n, C) of a scene with zero mean and unit variance a channel."""

    def map(self, x: S, out: S, kernel: int) -> M_co:
        """Of a convolution."""

    def up_map(self, x: S, grown: S, kernel: int) -> M_co:
        """Of a generative one."""


class FreeLayout:
    """made: every set that may be of any size, in the order in which they were asked for."""

    def __init__(self) -> None:
        self.made: list[Sites] = []

    def strided(self, x: Sites, factor: int) -> Sites:
        return self._made(x.strided(factor))

    def generated(self, x: Sites, kernel: int) -> Sites:
        return self._made(x.generated(kernel, 2))

    def union(self, stage: Sites, grown: Sites) -> tuple[Sites, Tensor, Tensor]:
        union, mine, others = stage.union(grown)
        return self._made(union), _inverse(mine, len(union)), _inverse(others, len(union))

    def pruned(self, x: Sites, scored: Sites, scores: Tensor, most: int) -> tuple[Sites, Tensor]:
        if max(x.counts, default=0) <= most:
            return x, torch.arange(len(x), device=scores.device)
        expected = interpolate(SparseTensor(scores[:, None], scored), x)[:, 0]
        rows = best_cells(expected, x.counts, most)
        _, sites = x.pruned(scores.new_empty(len(x), 0), rows)
        return sites, rows

    def normed(self, features: Tensor, sites: Sites) -> Tensor:
        return instance_norm(features, sites.counts)

    def map(self, x: Sites, out: Sites, kernel: int) -> KernelMap:
        return x.kernel_map(out, kernel)

    def up_map(self, x: Sites, grown: Sites, kernel: int) -> KernelMap:
        return grown.kernel_map(x, kernel).transposed()

    def _made(self, sites: Sites) -> Sites:
        self.made.append(sites)
        return sites


class FixedLayout:
    """capacities: of each set of `FreeLayout.made`."""

    def __init__(self, capacities: Sequence[int]) -> None:
        self._capacities = iter(capacities)

    def strided(self, x: StaticSites, factor: int) -> StaticSites:
        return x.strided(factor, next(self._capacities))

    def generated(self, x: StaticSites, kernel: int) -> StaticSites:
        return x.generated(kernel, 2, next(self._capacities))

    def union(self, stage: StaticSites, grown: StaticSites) -> tuple[StaticSites, Tensor, Tensor]:
        union = stage.union(grown, next(self._capacities))
        return union, stage.rows_of(union), grown.rows_of(union)

    def pruned(
        self, x: StaticSites, scored: StaticSites, scores: Tensor, most: int
    ) -> tuple[StaticSites, Tensor]:
        return x.best(scored.interpolated(scores, x), most)

    def normed(self, features: Tensor, sites: StaticSites) -> Tensor:
        # As `instance_norm`, of the rows that are no padding.
        padding, count = ~sites.valid[:, None], sites.count.clamp(min=1)
        wide = features.float().masked_fill(padding, 0)
        centred = (wide - wide.sum(dim=0) / count).masked_fill(padding, 0)
        variance = centred.square().sum(dim=0) / count
        return (centred * (variance + INSTANCE_NORM_EPS).rsqrt()).to(features.dtype)

    def map(self, x: StaticSites, out: StaticSites, kernel: int) -> NeighborTable:
        return x.table(out, kernel)

    def up_map(self, x: StaticSites, grown: StaticSites, kernel: int) -> NeighborTable:
        return x.transposed_table(grown, kernel)


def _inverse(rows: Tensor, size: int) -> Tensor:
    """(size,) which entry of `rows` names each number, -1 for none."""
    inverse = rows.new_full((size,), -1)
    inverse[rows] = torch.arange(len(rows), device=rows.device)
    return inverse
