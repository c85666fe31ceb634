"""From coloured points to a sparse tensor: one point stands for each occupied voxel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sr3d.sparse import Sites, SparseTensor


def voxelize(
    points: Sequence[Tensor],
    colors: Sequence[Tensor],
    voxel_size: float,
    generator: torch.Generator | None = None,
) -> SparseTensor:
    """A batch of clouds to a sparse tensor whose features are the colours.

    points, colors: one (N, 3) each a scene, metres and [0, 1]; coordinates are floor(xyz / size).
    The first point of a voxel represents it or, with a generator, any of them with equal chance.
    """
    scene = torch.repeat_interleave(
        torch.arange(len(points)), torch.tensor([len(p) for p in points], dtype=torch.int64)
    ).to(points[0].device)
    cells = torch.floor(torch.cat(list(points)) / voxel_size).to(torch.int32)
    coords = torch.cat([scene[:, None].to(torch.int32), cells], dim=1)
    features = torch.cat(list(colors))
    if generator is not None:
        order = torch.randperm(len(coords), generator=generator).to(coords.device)
        coords, features = coords[order], features[order]
    sites, first = Sites.unique(coords, batch_size=len(points))
    return SparseTensor(features[first], sites)
