"""All coordinates of TR3D's network for one batch, worked out before any feature is.

`free_maps` grows with the scene; `fixed_maps` has fixed shapes and never waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from sr3d.config import ModelConfig
from sr3d.sparse import Sites
from sr3d.sparse.kernel_map import KernelMap
from sr3d.sparse.static import NeighborTable, StaticSites

M = TypeVar("M", KernelMap, NeighborTable)
S = TypeVar("S", Sites, StaticSites)
M_co = TypeVar("M_co", KernelMap, NeighborTable, covariant=True)


@dataclass(frozen=True)
class StageMaps(Generic[M]):
    """entry: 3³ stride 2. skip: 1³ stride 2, the way around it. same: 3³ stride 1."""

    entry: M
    skip: M
    same: M


@dataclass(frozen=True)
class UpMaps(Generic[M]):
    """up: generative, from coarse to fine. same: 3³ on the union of what it reaches and a stage.

    stage_rows, grown_rows: (union,) int64, rows of the two in the union's order, -1 for none.
    """

    up: M
    stage_rows: Tensor
    grown_rows: Tensor
    same: M


@dataclass(frozen=True)
class Maps(Generic[M, S]):
    """What the layers need. levels: the sites of the outputs, finest first.

    sites: every set of sites: voxels, stem, pool (if there is one), stages, then for the coarse and
    the fine level what the generative layer reaches, and the union.
    """

    stem: M
    pool: M | None
    stages: tuple[StageMaps[M], ...]
    coarse: UpMaps[M]
    fine: UpMaps[M]
    levels: tuple[S, S]
    sites: tuple[S, ...]


def free_maps(voxels: Sites, config: ModelConfig) -> Maps[KernelMap, Sites]:
    """Of as many cells as the batch has."""
    return _maps(voxels, config, _Free())


def fixed_maps(
    voxels: StaticSites, config: ModelConfig, capacities: Sequence[int]
) -> Maps[NeighborTable, StaticSites]:
    """Of fixed shapes; a capacity for each of `Maps.sites`, in its order."""
    return _maps(voxels, config, _Fixed(capacities[1:]))


def coarsest_stride(config: ModelConfig) -> int:
    """Stride of the last stage, in voxels."""
    return config.stem_stride * (2 if config.stem_pool else 1) * 2 ** len(config.planes)


class _Layout(Protocol[S, M_co]):
    """How sites and maps derive from one another."""

    def strided(self, x: S, factor: int) -> S: ...
    def generated(self, x: S) -> S: ...
    def union(self, stage: S, grown: S) -> tuple[S, Tensor, Tensor]: ...
    def map(self, x: S, out: S, kernel: int) -> M_co: ...
    def up_map(self, x: S, grown: S) -> M_co: ...


def _maps(voxels: S, config: ModelConfig, layout: _Layout[S, M]) -> Maps[M, S]:
    stem = layout.strided(voxels, config.stem_stride)
    sites = [voxels, stem]
    pool = None
    if config.stem_pool:
        sites.append(layout.strided(stem, 2))
        pool = layout.map(stem, sites[-1], 2)
    stages = []
    for _ in config.planes:
        x, out = sites[-1], layout.strided(sites[-1], 2)
        maps = layout.map(x, out, 3), layout.map(x, out, 1), layout.map(out, out, 3)
        stages.append(StageMaps(*maps))
        sites.append(out)
    levels, ups = [], []
    below = sites[-1]
    for stage in (sites[-2], sites[-3]):
        grown = layout.generated(below)
        union, stage_rows, grown_rows = layout.union(stage, grown)
        same = layout.map(union, union, 3)
        ups.append(UpMaps(layout.up_map(below, grown), stage_rows, grown_rows, same))
        levels.append(union)
        below = union
        sites += [grown, union]
    return Maps(
        stem=layout.map(voxels, stem, 3),
        pool=pool,
        stages=tuple(stages),
        coarse=ups[0],
        fine=ups[1],
        levels=(levels[1], levels[0]),
        sites=tuple(sites),
    )


class _Free:
    def strided(self, x: Sites, factor: int) -> Sites:
        return x.strided(factor)

    def generated(self, x: Sites) -> Sites:
        return x.generated(3, 2)

    def union(self, stage: Sites, grown: Sites) -> tuple[Sites, Tensor, Tensor]:
        union, mine, others = stage.union(grown)
        return union, _inverse(mine, len(union)), _inverse(others, len(union))

    def map(self, x: Sites, out: Sites, kernel: int) -> KernelMap:
        return x.kernel_map(out, kernel)

    def up_map(self, x: Sites, grown: Sites) -> KernelMap:
        return grown.kernel_map(x, 3).transposed()


class _Fixed:
    def __init__(self, capacities: Sequence[int]) -> None:
        self._capacities = iter(capacities)

    def strided(self, x: StaticSites, factor: int) -> StaticSites:
        return x.strided(factor, next(self._capacities))

    def generated(self, x: StaticSites) -> StaticSites:
        return x.generated(3, 2, next(self._capacities))

    def union(self, stage: StaticSites, grown: StaticSites) -> tuple[StaticSites, Tensor, Tensor]:
        union = stage.union(grown, next(self._capacities))
        return union, stage.rows_of(union), grown.rows_of(union)

    def map(self, x: StaticSites, out: StaticSites, kernel: int) -> NeighborTable:
        return x.table(out, kernel)

    def up_map(self, x: StaticSites, grown: StaticSites) -> NeighborTable:
        return x.transposed_table(grown, 3)


def _inverse(rows: Tensor, size: int) -> Tensor:
    """(size,) which entry of `rows` names each number, -1 for none."""
    inverse = rows.new_full((size,), -1)
    inverse[rows] = torch.arange(len(rows), device=rows.device)
    return inverse
