"""Modules over sparse tensors, with MinkowskiEngine's names and shapes of parameters."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from sr3d.sparse import functional
from sr3d.sparse.sites import Sites
from sr3d.sparse.tensor import SparseTensor


class SparseConv(nn.Module):
    """Convolution. Stride 1 keeps the sites. Stride s gives the cells floor(c / s) · s.

    It may also compute onto given sites, whatever its own stride is. kernel: (K³, Ci, Co), x
    fastest, or (Ci, Co) for a 1³ kernel of stride 1. bias: (1, Co).
    dilation: distance in cells of neighbouring offsets of the kernel.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        bias: bool = False,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.dilation = kernel, stride, dilation
        self.pointwise = kernel == 1 and stride == 1
        shape = (in_channels, out_channels)
        self.kernel = nn.Parameter(torch.empty(shape if self.pointwise else (kernel**3, *shape)))
        self.bias = nn.Parameter(torch.empty(1, out_channels)) if bias else None
        _default_init(self.kernel, self.bias, fan=in_channels * kernel**3)

    def forward(self, x: SparseTensor, out: Sites | None = None) -> SparseTensor:
        if self.pointwise and out is None:
            return x.convolved(self, x.sites, None)
        out = x.sites.strided(self.stride) if out is None else out
        kernel_map = x.sites.kernel_map(out, self.kernel_size, self.dilation)
        return x.convolved(self, out, kernel_map)

    def extra_repr(self) -> str:
        return f"{tuple(self.kernel.shape)}, stride={self.stride}, bias={self.bias is not None}"


class SparseConvTranspose(nn.Module):
    """Transposed convolution, onto given finer sites or, if generative, onto every cell it reaches.

    Both use the map of the convolution from fine to coarse with input and output exchanged. The
    kernel is not mirrored.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 2,
        bias: bool = False,
        generative: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.generative = kernel, stride, generative
        self.kernel = nn.Parameter(torch.empty(kernel**3, in_channels, out_channels))
        self.bias = nn.Parameter(torch.empty(1, out_channels)) if bias else None
        _default_init(self.kernel, self.bias, fan=out_channels * kernel**3)

    def forward(self, x: SparseTensor, out: Sites | None = None) -> SparseTensor:
        if out is None:
            if not self.generative:
                raise ValueError(
                    "a transposed convolution that is not generative needs `out` sites"
                )
            out = x.sites.generated(self.kernel_size, self.stride)
        return x.convolved(self, out, x.sites.transposed_map(out, self.kernel_size))

    def extra_repr(self) -> str:
        return f"{tuple(self.kernel.shape)}, stride={self.stride}, generative={self.generative}"


class SparseUp(nn.Sequential):
    """A transposed convolution onto given cells, then layers that keep these cells."""

    def forward(self, x: SparseTensor, out: Sites) -> SparseTensor:  # type: ignore[override]
        up, *others = self
        found: SparseTensor = up(x, out)
        for layer in others:
            found = layer(found)
        return found


class SparsePool(nn.Module):
    """Max, sum or average pooling over the existing neighbours."""

    def __init__(self, mode: Literal["max", "sum", "average"], kernel: int, stride: int) -> None:
        super().__init__()
        self.mode, self.kernel_size, self.stride = mode, kernel, stride

    def forward(self, x: SparseTensor) -> SparseTensor:
        out = x.sites.strided(self.stride)
        pairs = x.sites.pool_map(out, self.kernel_size)
        pools = {
            "max": functional.max_pool,
            "sum": functional.sum_pool,
            "average": functional.average_pool,
        }
        pool = pools[self.mode]
        return x.computed(lambda features: pool(features, pairs), out)


class SparseBatchNorm(nn.Module):
    """Batch normalisation over all rows of the batch."""

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels, eps=eps, momentum=momentum)

    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.batch_normed(self)

    def normed(self, features: Tensor) -> Tensor:
        """(N, C) to (N, C)."""
        bn = self.bn
        if len(features) < 2 and self.training:
            # One row has no variance: use the running statistics instead of failing.
            return nn.functional.batch_norm(
                features, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps
            )
        normed: Tensor = bn(features)
        return normed


class SparseInstanceNorm(nn.Module):
    """Instance normalisation over the rows of each scene."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels))
        self.bias = nn.Parameter(torch.zeros(1, channels))

    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.computed(lambda features: x.sites.normed(features) * self.weight + self.bias)


class SparseReLU(nn.Module):
    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.activated("relu")


class SparseELU(nn.Module):
    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.activated("elu")


def kaiming_normal_(conv: SparseConv) -> None:
    """Normal with deviation sqrt(2 / (C_out · K³)) (MinkowskiEngine utils/init.py, fan_out)."""
    volume = conv.kernel.shape[0] if conv.kernel.ndim == 3 else 1
    nn.init.normal_(conv.kernel, std=math.sqrt(2 / (conv.kernel.shape[-1] * volume)))


def _default_init(kernel: Tensor, bias: Tensor | None, fan: int) -> None:
    """MinkowskiEngine's default: uniform within 1 / sqrt(fan), fan counted over the input side.

    For transposed convolutions MinkowskiEngine counts the output channels instead.
    """
    bound = 1 / math.sqrt(fan)
    nn.init.uniform_(kernel, -bound, bound)
    if bias is not None:
        nn.init.uniform_(bias, -bound, bound)
