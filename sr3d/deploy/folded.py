"""Networks for inference alone: batch norm folded into the weights, layers fused.

The same function of the same input as the trained network in evaluation mode, in fewer steps: each
convolution with its shift, residual and activation is one call, and one product gives all heads.
They run on coordinates of free or of fixed shapes (`sr3d.deploy.layouts`). Here is what detectors
share; the rest of each is in a file beside this.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, cast

import torch
from torch import Tensor, nn

from sr3d.deploy.layouts import Layout, S
from sr3d.deploy.maps import BackboneMaps, StageMaps
from sr3d.detectors.common.mink_resnet import BasicBlock, MinkResNet
from sr3d.detectors.common.selection import best_anchors
from sr3d.sparse.epilogue import Activation, Epilogue
from sr3d.sparse.functional import max_pool, sparse_conv_fused
from sr3d.sparse.nn import SparseBatchNorm, SparseConv, SparseConvTranspose, SparseInstanceNorm


@dataclass(frozen=True)
class Outputs(Generic[S]):
    """Of all anchors, level after level, in float32.

    levels: their cells, finest first. reg: (A, 6 or 8), raw. scores: (A, C).
    """

    levels: Sequence[S]
    reg: Tensor
    scores: Tensor


class FoldedDetector(nn.Module, ABC):
    """A copy of the trained weights at the time."""

    by_level: bool  # whether it looks at so many anchors of each level, not of all together

    @abstractmethod
    def forward(self, colors: Tensor, voxels: S, layout: Layout[S, Any]) -> Outputs[S]:
        """colors: (voxels, 3)."""

    @abstractmethod
    def decode(self, anchors: Tensor, reg: Tensor) -> Tensor:
        """Anchors (N, 3) in metres and their `Outputs.reg` to boxes (N, 7)."""

    def best(self, found: Outputs[S], scores: Tensor, most: int) -> Tensor:
        """Rows of the anchors (A,) to look at: the `most` with the best scores (A,)."""
        sizes = [len(level) for level in found.levels]
        return best_anchors(scores, sizes if self.by_level else [sum(sizes)], most)

    @property
    def device(self) -> torch.device:
        return next(self.buffers()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.buffers()).dtype


class FoldedConv(nn.Module):
    """A convolution with what follows it. weight: (K, Ci, Co). shift: (Co,)."""

    def __init__(
        self,
        conv: SparseConv | SparseConvTranspose,
        norm: SparseBatchNorm | None,
        activation: Activation,
    ) -> None:
        super().__init__()
        self.activation = activation
        weight, channels = conv.kernel.detach(), conv.kernel.shape[-1]
        shift = weight.new_zeros(channels) if conv.bias is None else conv.bias.detach().flatten()
        if norm is not None:
            bn = norm.bn
            scale = bn.weight.detach() / torch.sqrt(cast(Tensor, bn.running_var) + bn.eps)
            weight = weight * scale
            shift = (shift - cast(Tensor, bn.running_mean)) * scale + bn.bias.detach()
        self.register_buffer("weight", weight.reshape(-1, *weight.shape[-2:]).clone())
        self.register_buffer("shift", shift.clone())

    def forward(self, x: Tensor, kernel_map: Any, residual: Tensor | None = None) -> Tensor:
        shift = cast(Tensor, self.shift)
        epilogue = Epilogue(shift=shift, residual=residual, activation=self.activation)
        return sparse_conv_fused(x, cast(Tensor, self.weight), kernel_map, epilogue)


class FoldedBlock(nn.Module):
    """`BasicBlock`."""

    def __init__(self, block: BasicBlock) -> None:
        super().__init__()
        self.conv1 = FoldedConv(block.conv1, block.norm1, "relu")
        self.conv2 = FoldedConv(block.conv2, block.norm2, "relu")
        self.skip = None
        if block.downsample is not None:
            conv, norm = block.downsample
            self.skip = FoldedConv(cast(SparseConv, conv), cast(SparseBatchNorm, norm), "none")

    def forward(self, x: Tensor, maps: StageMaps[Any], first: bool) -> Tensor:
        entry = maps.entry if first else maps.same
        shortcut = x if self.skip is None else self.skip(x, maps.skip)
        return self.conv2(self.conv1(x, entry), maps.same, shortcut)


class FoldedBackbone(nn.Module):
    """`MinkResNet`."""

    def __init__(self, backbone: MinkResNet) -> None:
        super().__init__()
        norm = backbone.norm1
        # An instance norm depends on the scene: it stays as it is.
        self.norm = None
        if isinstance(norm, SparseInstanceNorm):
            self.norm = copy.deepcopy(norm).requires_grad_(False)
        self.stem = (
            FoldedConv(backbone.conv1, norm, "relu")
            if isinstance(norm, SparseBatchNorm)
            else FoldedConv(backbone.conv1, None, "none")
        )
        stages = [backbone.get_submodule(f"layer{i + 1}") for i in range(backbone.stages)]
        self.stages = nn.ModuleList(
            nn.ModuleList(FoldedBlock(cast(BasicBlock, block)) for block in stage.children())
            for stage in stages
        )

    def forward(
        self, x: Tensor, maps: BackboneMaps[Any, S], layout: Layout[S, Any]
    ) -> list[Tensor]:
        x = self.stem(x, maps.stem)
        if self.norm is not None:
            normed = layout.normed(x, maps.stem_sites)
            x = torch.relu(normed * self.norm.weight + self.norm.bias)
        if maps.pool is not None:
            x = max_pool(x, maps.pool)
        outputs = []
        for stage, stage_maps in zip(self.stages, maps.stages, strict=True):
            for i, block in enumerate(cast(Sequence[FoldedBlock], stage)):
                x = block(x, stage_maps, first=i == 0)
            outputs.append(x)
        return outputs


class FoldedHeads(nn.Module):
    """1³ convolutions of the same features as one product, (N, sum of their outputs)."""

    def __init__(self, *convs: SparseConv) -> None:
        super().__init__()
        self.channels = [conv.kernel.shape[1] for conv in convs]
        weight = torch.cat([conv.kernel.detach() for conv in convs], dim=1)
        bias = torch.zeros_like(weight[0])
        for part, conv in zip(bias.split(self.channels), convs, strict=True):
            if conv.bias is not None:
                part.copy_(conv.bias.detach().flatten())
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """One output a convolution, in float32."""
        out = torch.addmm(cast(Tensor, self.bias), x, cast(Tensor, self.weight))
        return out.float().split(self.channels, dim=1)


def rows_of(x: Tensor, rows: Tensor) -> Tensor:
    """Rows of x; the row -1 is of zeros."""
    return torch.cat([x, x.new_zeros(1, x.shape[1])])[rows]
