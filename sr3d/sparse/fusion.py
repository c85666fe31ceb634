"""Fused inference: a convolution with its batch norm, sum and activation is one call.

A convolution of a `FusedTensor` is delayed. A batch norm folds into the kernel, a sum becomes the
residual, an activation the epilogue. The first access to `features` launches the call. A layer out
of the order convolution, norm, sum, activation is computed separately. So the result equals the
network in evaluation mode for any order of layers.
"""

from __future__ import annotations

from typing import NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from sr3d.sparse.epilogue import Activation, Epilogue
from sr3d.sparse.functional import sparse_conv_fused
from sr3d.sparse.kernel_map import KernelMap
from sr3d.sparse.nn import SparseBatchNorm, SparseConv, SparseConvTranspose
from sr3d.sparse.sites import Sites
from sr3d.sparse.tensor import ACTIVATIONS, SparseTensor

Layer = SparseConv | SparseConvTranspose


class FusedWeights(nn.Module):
    """Kernels (K, Ci, Co) and shifts (Co,) of convolutions, with their batch norms folded in.

    They are computed when a network first requests them. So run the network once, in float32,
    before you convert the module to another data type.
    """

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[tuple[Layer, SparseBatchNorm | None], int] = {}
        self._released = False

    def of(self, layer: Layer, norm: SparseBatchNorm | None) -> tuple[Tensor, Tensor]:
        """Kernel and shift of a convolution with a norm.

        Raises:
            RuntimeError: the first request comes after `release`.
        """
        key = layer, norm
        if key not in self._numbers:
            if self._released:
                raise RuntimeError(
                    f"a fused network met {layer} in an order that differs from its first pass; "
                    "use the detector without compile()"
                )
            number = self._numbers[key] = len(self._numbers)
            kernel, shift = _folded(layer, norm)
            self.register_buffer(f"kernel_{number}", kernel)
            self.register_buffer(f"shift_{number}", shift)
        number = self._numbers[key]
        return getattr(self, f"kernel_{number}"), getattr(self, f"shift_{number}")

    def release(self) -> None:
        """Free the original kernels of the convolutions."""
        self._released = True
        for layer, _ in self._numbers:
            layer.kernel = nn.Parameter(layer.kernel.new_empty(0), requires_grad=False)


class Call(NamedTuple):
    """A delayed convolution of x (n_in, Ci), with its epilogue."""

    x: Tensor
    layer: Layer
    kernel_map: KernelMap | None
    norm: SparseBatchNorm | None = None
    residual: Tensor | None = None
    activation: Activation = "none"


class FusedTensor(SparseTensor):
    """features: (N, C) in the weights' data type. weights: shared by all tensors of a network."""

    def __init__(
        self, features: Tensor | None, sites: Sites, weights: FusedWeights, call: Call | None = None
    ) -> None:
        self._features, self.sites, self.weights, self._call = features, sites, weights, call

    @property
    def features(self) -> Tensor:
        if self._features is None:
            assert self._call is not None
            self._features, self._call = self._launch(self._call), None
        return self._features

    def convolved(self, layer: Layer, sites: Sites, kernel_map: KernelMap | None) -> Self:
        return self._waiting(Call(self.features, layer, kernel_map), sites)

    def batch_normed(self, layer: SparseBatchNorm) -> Self:
        call = self._call
        if call and call.norm is None and call.residual is None and call.activation == "none":
            return self._waiting(call._replace(norm=layer))
        return super().batch_normed(layer)

    def activated(self, activation: Activation) -> Self:
        if self._call and self._call.activation == "none":
            return self._waiting(self._call._replace(activation=activation))
        return super().activated(activation)

    def __add__(self, other: SparseTensor) -> Self:
        call = self._call if other.sites is self.sites else None
        if call and call.residual is None and call.activation == "none":
            return self._waiting(call._replace(residual=other.features))
        return super().__add__(other)

    def _waiting(self, call: Call, sites: Sites | None = None) -> Self:
        return type(self)(None, self.sites if sites is None else sites, self.weights, call)

    def _on(self, features: Tensor, sites: Sites) -> Self:
        return type(self)(features, sites, self.weights)

    def _launch(self, call: Call) -> Tensor:
        kernel, shift = self.weights.of(call.layer, call.norm)
        if call.kernel_map is None:
            return _finished(torch.addmm(shift, call.x, kernel[0]), call)
        epilogue = Epilogue(shift=shift, residual=call.residual, activation=call.activation)
        return sparse_conv_fused(call.x, kernel, call.kernel_map, epilogue)


class GatheredTensor(FusedTensor):
    """A `FusedTensor` of static shapes that uses PyTorch operators only, for export.

    All neighbours of a row are gathered for one matrix product. This takes memory of K · Ci values
    per row, while the engines compute block by block. In return, a layer has six operators for
    scenes of any size.
    """

    def _launch(self, call: Call) -> Tensor:
        kernel, shift = self.weights.of(call.layer, call.norm)
        x = call.x
        if call.kernel_map is not None:
            # A missing neighbour is the zero row after the last one.
            x = torch.cat([x, x.new_zeros(1, x.shape[1])])[call.kernel_map.neighbors].flatten(1)
        return _finished(x @ kernel.flatten(0, 1) + shift, call)


def _finished(x: Tensor, call: Call) -> Tensor:
    """x with the epilogue of a convolution, and its shift."""
    return ACTIVATIONS[call.activation](x if call.residual is None else x + call.residual)


@torch.no_grad()
def _folded(layer: Layer, norm: SparseBatchNorm | None) -> tuple[Tensor, Tensor]:
    kernel: Tensor = layer.kernel
    shift = kernel.new_zeros(kernel.shape[-1]) if layer.bias is None else layer.bias.flatten()
    if norm is not None:
        bn = norm.bn
        scale = bn.weight / torch.sqrt(cast(Tensor, bn.running_var) + bn.eps)
        kernel = kernel * scale
        shift = (shift - cast(Tensor, bn.running_mean)) * scale + bn.bias
    return kernel.reshape(-1, *kernel.shape[-2:]).clone(), shift.clone()
