"""A geometric over-segmentation of point clouds into superpoints, which needs no mesh.

Voxels are clustered locally by place, normal and colour, like the supervoxels of Papon et al. (CVPR
2013) and SLIC: a seed per cell of a coarse grid, then a few rounds in which each voxel joins the
best of the nearest seeds, and each seed moves to the mean of its voxels. It is deterministic.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

_VOXEL = 0.04  # metres
_SEED = 0.25  # metres between seeds, roughly the width of a superpoint
_NEIGHBOURS = 16  # voxels that the normal is fitted to
_SEEDS = 8  # nearest seeds that a voxel may join
_ROUNDS = 4
# Weights of the squared distance in units of `_SEED`, of 1 - cos² of the angle of the normals, and
# of the squared distance of colours.
_PLACE, _NORMAL, _COLOUR = 1.0, 2.0, 1.0

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def over_segment(points: Tensor, colors: Tensor) -> Tensor:
    """(N,) int64 superpoints, numbered from 0, of points (N, 3) in metres and colours (N, 3)."""
    if len(points) == 0:
        return torch.zeros(0, dtype=torch.int64)
    xyz, rgb = points.cpu().double().numpy(), colors.cpu().double().numpy()
    voxel = _grid(xyz, _VOXEL)
    place, colour = _means(xyz, voxel), _means(rgb, voxel)
    normal = _normals(place)
    outer = (normal[:, :, None] * normal[:, None]).reshape(-1, 9)
    cluster = _grid(place, _SEED)
    for _ in range(_ROUNDS):
        cluster = _joined(place, colour, outer, cluster)
    return torch.from_numpy(cluster[voxel])


def _joined(place: Floats, colour: Floats, outer: Floats, cluster: Integers) -> Integers:
    """One round: the cluster of each voxel, numbered without gaps."""
    seeds, shades, planes = (_means(x, cluster) for x in (place, colour, outer))
    count = min(_SEEDS, len(seeds))
    distance, near = KDTree(seeds).query(place, k=[*range(1, count + 1)])
    bent = 1 - (planes[near] * outer[:, None]).sum(axis=2)
    shade = ((shades[near] - colour[:, None]) ** 2).sum(axis=2)
    cost = _PLACE * (distance / _SEED) ** 2 + _NORMAL * bent + _COLOUR * shade
    chosen = near[np.arange(len(near)), cost.argmin(axis=1)]
    return np.unique(chosen, return_inverse=True)[1].reshape(-1)


def _normals(place: Floats) -> Floats:
    """(V, 3) unit normals, of either sign."""
    count = min(_NEIGHBOURS, len(place))
    near = place[KDTree(place).query(place, k=[*range(1, count + 1)])[1]]
    offset = near - near.mean(axis=1, keepdims=True)
    covariance = torch.from_numpy(offset.transpose(0, 2, 1) @ offset)
    return np.asarray(torch.linalg.eigh(covariance).eigenvectors[:, :, 0].numpy())


def _grid(xyz: Floats, edge: float) -> Integers:
    """(N,) number of the occupied cell of each point."""
    cells = np.floor(xyz / edge).astype(np.int64)
    cells -= cells.min(axis=0)
    extent = cells.max(axis=0) + 1
    number = (cells[:, 0] * extent[1] + cells[:, 1]) * extent[2] + cells[:, 2]
    return np.unique(number, return_inverse=True)[1].reshape(-1)


def _means(values: Floats, group: Integers) -> Floats:
    """(G, C) means of the rows of (N, C) by group (N,)."""
    sizes = np.bincount(group)
    sums = np.stack([np.bincount(group, weights=column) for column in values.T], axis=1)
    return np.asarray(sums / sizes[:, None])
