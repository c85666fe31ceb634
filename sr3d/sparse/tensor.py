"""Sparse tensors: features on sites, or sites without features.

Layers ask a tensor for a convolution, a batch norm, an activation, or any function of its features.
The kind of tensor decides how to compute it. So one network serves training (`SparseTensor`),
planning (`PlannedTensor`) and fused inference (`sr3d.sparse.fusion`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from sr3d.sparse.epilogue import Activation
from sr3d.sparse.functional import sparse_conv
from sr3d.sparse.kernel_map import KernelMap
from sr3d.sparse.sites import Sites, count_scenes, recorded

if TYPE_CHECKING:
    from sr3d.sparse.nn import SparseBatchNorm, SparseConv, SparseConvTranspose

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": torch.relu,
    "elu": torch.nn.functional.elu,
}


class SparseTensor:
    """features: (N, C), one row for each of the N sites, in their order."""

    def __init__(self, features: Tensor, sites: Sites) -> None:
        if len(features) != len(sites):
            raise ValueError(f"{len(features)} rows of features for {len(sites)} sites")
        self._features: Tensor | None = features
        self.sites = sites

    @staticmethod
    def from_coords(coords: Tensor, features: Tensor, stride: int = 1) -> SparseTensor:
        """From distinct (N, 4) coordinates in any order and their (N, C) features."""
        sites, order = Sites.unique(coords, stride)
        if len(order) != len(coords):
            raise ValueError(f"{len(coords) - len(order)} of {len(coords)} cells occur twice")
        return SparseTensor(features[order], sites)

    @property
    def features(self) -> Tensor:
        assert self._features is not None
        return self._features

    def replace(self, features: Tensor) -> Self:
        """A tensor with other features on the same sites."""
        return self._on(features, self.sites)

    def computed(self, function: Callable[[Tensor], Tensor], sites: Sites | None = None) -> Self:
        """A tensor with a function of the features, on these or other sites.

        The function computes row by row, as padded sites require. `normed` and pooling by a kernel
        map know the rows of padding.
        """
        return self._on(function(self.features), self.sites if sites is None else sites)

    def convolved(
        self, layer: SparseConv | SparseConvTranspose, sites: Sites, kernel_map: KernelMap | None
    ) -> Self:
        """A convolution onto sites. Without a map, each cell is computed by itself."""
        if kernel_map is None:
            features = self.features @ layer.kernel
        else:
            features = sparse_conv(self.features, layer.kernel, kernel_map)
        return self._on(features if layer.bias is None else features + layer.bias, sites)

    def batch_normed(self, layer: SparseBatchNorm) -> Self:
        return self.computed(layer.normed)

    def activated(self, activation: Activation) -> Self:
        return self.computed(ACTIVATIONS[activation])

    def at(self, sites: Sites) -> Tensor:
        """Interpolated features at other sites, see `Sites.interpolated`."""
        return self.sites.interpolated(self.features, sites)

    def resampled(self, sites: Sites) -> Self:
        """A tensor with interpolated features on other sites, see `Sites.interpolated`."""
        return self.computed(lambda features: self.sites.interpolated(features, sites), sites)

    def scenes(self) -> list[Tensor]:
        """The features of each scene of the batch, by cell."""
        return list(torch.split(self.features[self.sites.in_order], self.sites.counts))

    def __add__(self, other: SparseTensor) -> Self:
        """Sum over the union of both sets of sites. A missing row counts as zero."""
        if other.sites is self.sites:
            return self.replace(self.features + other.features)
        return self._on(*self.sites.added(self.features, other.sites, other.features))

    def pruned(self, rows: Tensor, counts: list[int] | None = None) -> Self:
        """The cells at some rows, see `Sites.pruned`."""
        return self._on(*self.sites.pruned(self.features, rows, counts))

    def best(self, scores: Tensor, most: int) -> Self:
        """The cells with the highest scores (N,), see `Sites.best`."""
        return self._on(*self.sites.best(self.features, scores, most))

    def _on(self, features: Tensor, sites: Sites) -> Self:
        """A tensor of the same kind."""
        return type(self)(features, sites)


class PlannedTensor(SparseTensor):
    """Sites without features. Layers derive sites and kernel maps, and compute nothing else.

    Raises:
        TypeError: a layer reads the features.
    """

    def __init__(self, sites: Sites) -> None:
        self._features, self.sites = None, sites

    @property
    def features(self) -> Tensor:
        raise TypeError("a planning pass has no features; use SparseTensor.computed")

    def computed(self, function: Callable[[Tensor], Tensor], sites: Sites | None = None) -> Self:
        return self if sites is None else type(self)(sites)

    def convolved(
        self, layer: SparseConv | SparseConvTranspose, sites: Sites, kernel_map: KernelMap | None
    ) -> Self:
        return type(self)(sites)

    def __add__(self, other: SparseTensor) -> Self:
        if other.sites is self.sites:
            return self
        return type(self)(self.sites.union(other.sites)[0])


def plan(network: Callable[[PlannedTensor], object], sites: Sites) -> None:
    """Derive the sites and kernel maps that a network needs, and count the cells of each scene.

    The forward pass of the network then finds them cached on `sites`. So all syncs happen before
    the features' work is queued, and one sync is enough for all counts.
    """
    with recorded() as requests:
        network(PlannedTensor(sites))
    count_scenes(requests)
