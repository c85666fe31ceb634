"""Features on sites."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sr3d.sparse.sites import Sites


@dataclass(frozen=True)
class SparseTensor:
    """features: (N, C), one row for each of the N sites, in their order."""

    features: Tensor
    sites: Sites

    def __post_init__(self) -> None:
        if len(self.features) != len(self.sites):
            raise ValueError(f"{len(self.features)} rows of features for {len(self.sites)} sites")

    @staticmethod
    def from_coords(coords: Tensor, features: Tensor, stride: int = 1) -> SparseTensor:
        """From distinct (N, 4) coordinates in any order and their (N, C) features."""
        sites, order = Sites.unique(coords, stride)
        if len(order) != len(coords):
            raise ValueError(f"{len(coords) - len(order)} of {len(coords)} cells occur twice")
        return SparseTensor(features[order], sites)

    def replace(self, features: Tensor) -> SparseTensor:
        """Other features on the same sites."""
        return SparseTensor(features, self.sites)

    def scenes(self) -> list[Tensor]:
        """The features of each scene of the batch, by cell."""
        return list(torch.split(self.features[self.sites.in_order], self.sites.counts))

    def __add__(self, other: SparseTensor) -> SparseTensor:
        """Sum over the union of both sets of sites; a missing row counts as zero."""
        if other.sites is self.sites:
            return self.replace(self.features + other.features)
        union, mine, others = self.sites.union(other.sites)
        total = self.features.new_zeros(len(union), self.features.shape[1])
        total = total.index_add(0, mine, self.features).index_add(0, others, other.features)
        return SparseTensor(total, union)

    def pruned(self, rows: Tensor, counts: list[int] | None = None) -> SparseTensor:
        """Only the cells at some rows; see `Sites.pruned`."""
        return SparseTensor(*self.sites.pruned(self.features, rows, counts))
