"""From coloured points to a sparse tensor: one point represents each occupied voxel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sr3d.config_groups import EngineName
from sr3d.sparse import Sites, SparseTensor
from sr3d.sparse.minkowski import MinkowskiSites


def voxelize(
    points: Sequence[Tensor],
    colors: Sequence[Tensor],
    voxel_size: float,
    order: Tensor | None = None,
    engine: EngineName = "native",
) -> SparseTensor:
    """Convert a batch of clouds to a sparse tensor with colours as features.

    points, colors: one (N, 3) per scene, in metres and in [0, 1]. Coordinates are floor(xyz /
    size). The first point of a voxel represents it. order: a permutation of the points of all
    scenes, to take the first point in this order. A random order gives each point of a voxel the
    same chance. engine: "minkowski" makes sites of MinkowskiEngine, so MinkowskiEngine computes all
    layers.

    Raises:
        InputError: the engine is not installed or does not support the device, or the points are
            too far apart to number their voxels.
    """
    cells = torch.floor(torch.cat(list(points)) / voxel_size).long()
    scene = torch.cat([cells.new_full((len(p), 1), i) for i, p in enumerate(points)])
    coords = torch.cat([scene, cells], dim=1)
    features = torch.cat(list(colors))
    if order is not None:
        coords, features = coords[order], features[order]
    kind = MinkowskiSites if engine == "minkowski" else Sites
    sites, first = kind.unique(coords, batch_size=len(points))
    return SparseTensor(features[first], sites)
