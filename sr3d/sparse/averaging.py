"""Averaging quantisation: rows at arbitrary places become sites with the means of their rows."""

from __future__ import annotations

from torch import Tensor

from sr3d.sparse.segments import segment_mean
from sr3d.sparse.sites import Sites
from sr3d.sparse.tensor import SparseTensor


def averaged(coords: Tensor, features: Tensor, near: Sites, stride: int = 1) -> SparseTensor:
    """One site for each distinct cell, with the mean of the features of its rows.

    coords: (N, 4) batch index and multiples of the stride, with repetitions. features: (N, C).
    near: sites of the same batch, whose engine computes with the result. Each sum has a fixed
    order, also on a GPU. Source: MinkowskiEngine's `UNWEIGHTED_AVERAGE` quantisation.
    """
    sites, _ = near.beside(coords, stride)
    return SparseTensor(segment_mean(features, sites.rows_of(coords), len(sites)), sites)
