"""The coordinates of a network, worked out before any feature is: those of the backbone, which all
detectors share, and those of TR3D's neck. FCAF3D's neck depends on scores: see `folded_fcaf3d`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from torch import Tensor

from sr3d.config import ModelConfig
from sr3d.deploy.layouts import Layout, M, S


@dataclass(frozen=True)
class StageMaps(Generic[M]):
    """entry: 3³ stride 2. skip: 1³ stride 2, the way around it. same: 3³ stride 1."""

    entry: M
    skip: M
    same: M


@dataclass(frozen=True)
class BackboneMaps(Generic[M, S]):
    """stem_sites: of the stem's output, before pooling. pool: None where there is none. sites: of
    the outputs of the stages, finest first.
    """

    stem: M
    stem_sites: S
    pool: M | None
    stages: tuple[StageMaps[M], ...]
    sites: tuple[S, ...]


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
class NeckMaps(Generic[M, S]):
    """Of TR3D. levels: the sites of the outputs, finest first."""

    coarse: UpMaps[M]
    fine: UpMaps[M]
    levels: tuple[S, S]


def coarsest_stride(config: ModelConfig) -> int:
    """Stride of the last stage, in voxels."""
    return config.stem_stride * (2 if config.stem_pool else 1) * 2 ** len(config.planes)


def backbone_maps(voxels: S, config: ModelConfig, layout: Layout[S, M]) -> BackboneMaps[M, S]:
    x = layout.strided(voxels, config.stem_stride)
    stem, stem_sites, pool = layout.map(voxels, x, 3), x, None
    if config.stem_pool:
        x, before = layout.strided(x, 2), x
        pool = layout.map(before, x, 2)
    stages, sites = [], []
    for _ in config.planes:
        x, before = layout.strided(x, 2), x
        maps = layout.map(before, x, 3), layout.map(before, x, 1), layout.map(x, x, 3)
        stages.append(StageMaps(*maps))
        sites.append(x)
    return BackboneMaps(stem, stem_sites, pool, tuple(stages), tuple(sites))


def neck_maps(stages: tuple[S, ...], layout: Layout[S, M]) -> NeckMaps[M, S]:
    """stages: the sites of the backbone's outputs."""
    *_, fine, middle, below = stages
    levels, ups = [], []
    for stage in (middle, fine):
        grown = layout.generated(below, 3)
        union, stage_rows, grown_rows = layout.union(stage, grown)
        up = layout.up_map(below, grown, 3)
        ups.append(UpMaps(up, stage_rows, grown_rows, layout.map(union, union, 3)))
        levels.append(union)
        below = union
    return NeckMaps(coarse=ups[0], fine=ups[1], levels=(levels[1], levels[0]))


def tr3d_maps(
    voxels: S, config: ModelConfig, layout: Layout[S, M]
) -> tuple[BackboneMaps[M, S], NeckMaps[M, S]]:
    """All of TR3D's network."""
    backbone = backbone_maps(voxels, config, layout)
    return backbone, neck_maps(backbone.sites, layout)
