"""From coloured points to a sparse tensor: one point stands for each occupied voxel."""

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
    """A batch of clouds to a sparse tensor whose features are the colours.

    points, colors: one (N, 3) each a scene, metres and [0, 1]; coordinates are floor(xyz / size).
    The first point of a voxel represents it. order: a permutation of the points of all scenes, to
    take the first in this order. A random order gives each point of a voxel the same chance.
    engine: "minkowski" gives the tensor MinkowskiEngine's sites, so that MinkowskiEngine computes
    every layer that it passes.

    Raises:
        InputError: an engine that is not installed, or not for the points' device; points so far
            apart that their voxels cannot be numbered.
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
