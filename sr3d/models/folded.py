"""TR3D's network for inference alone: batch norm folded into the weights, layers fused.

The same function of the same input as the trained network in evaluation mode, in fewer steps: each
convolution with its shift, residual and ReLU is one call, and one product gives both heads of both
levels. It runs on maps of free or of fixed shapes (`sr3d.models.maps`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from sr3d.models.backbone import BasicBlock, MinkResNet
from sr3d.models.maps import Maps, StageMaps, UpMaps
from sr3d.models.tr3d_network import TR3DHead, TR3DNeck
from sr3d.sparse.functional import max_pool, sparse_conv_fused
from sr3d.sparse.nn import SparseBatchNorm, SparseConv, SparseConvTranspose, SparseInstanceNorm
from sr3d.sparse.torch_engine import Activation


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
        weight, shift = cast(Tensor, self.weight), cast(Tensor, self.shift)
        return sparse_conv_fused(
            x, weight, kernel_map, shift=shift, residual=residual, activation=self.activation
        )


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
        if isinstance(backbone.norm1, SparseInstanceNorm):
            raise NotImplementedError("an instance norm depends on the scene: it cannot be folded")
        self.stem = FoldedConv(backbone.conv1, backbone.norm1, "relu")
        stages = [backbone.get_submodule(f"layer{i + 1}") for i in range(backbone.stages)]
        self.stages = nn.ModuleList(
            nn.ModuleList(FoldedBlock(cast(BasicBlock, block)) for block in stage.children())
            for stage in stages
        )

    def forward(self, x: Tensor, maps: Maps[Any, Any]) -> list[Tensor]:
        x = self.stem(x, maps.stem)
        if maps.pool is not None:
            x = max_pool(x, maps.pool)
        outputs = []
        for stage, stage_maps in zip(self.stages, maps.stages, strict=True):
            for i, block in enumerate(cast(Sequence[FoldedBlock], stage)):
                x = block(x, stage_maps, first=i == 0)
            outputs.append(x)
        return outputs


class FoldedNeck(nn.Module):
    """`TR3DNeck`."""

    def __init__(self, neck: TR3DNeck) -> None:
        super().__init__()

        def folded(block: nn.Module) -> FoldedConv:
            conv, norm, _ = block.children()
            return FoldedConv(cast(SparseConv, conv), cast(SparseBatchNorm, norm), "relu")

        self.up = nn.ModuleList([folded(neck.up_block_2), folded(neck.up_block_1)])
        self.lateral = nn.ModuleList([folded(neck.lateral_block_1), folded(neck.lateral_block_0)])
        self.out = nn.ModuleList([folded(neck.out_block_1), folded(neck.out_block_0)])

    def forward(self, stages: list[Tensor], maps: Maps[Any, Any]) -> list[Tensor]:
        *_, fine, middle, x = stages
        levels = []
        for i, (stage, up) in enumerate(((middle, maps.coarse), (fine, maps.fine))):
            x = self.lateral[i](_sum(stage, self.up[i](x, up.up), up), up.same)
            levels.append(self.out[i](x, up.same))
        return levels[::-1]


class FoldedTR3D(nn.Module):
    """Backbone, neck and head; a copy of the trained weights at the time."""

    def __init__(self, backbone: MinkResNet, neck: TR3DNeck, head: TR3DHead) -> None:
        super().__init__()
        self.backbone = FoldedBackbone(backbone)
        self.neck = FoldedNeck(neck)
        heads = head.conv_reg, head.conv_cls
        self.reg_channels = heads[0].kernel.shape[1]
        weight = torch.cat([conv.kernel.detach() for conv in heads], dim=1)
        bias = torch.cat([cast(Tensor, conv.bias).detach().flatten() for conv in heads])
        self.register_buffer("head_weight", weight)
        self.register_buffer("head_bias", bias)

    @property
    def device(self) -> torch.device:
        return cast(Tensor, self.head_weight).device

    def forward(self, colors: Tensor, maps: Maps[Any, Any]) -> tuple[Tensor, Tensor]:
        """Features of the voxels to raw box outputs (A, 6 or 8) and logits (A, C), in float32.

        The rows of the fine level come first.
        """
        weight, bias = cast(Tensor, self.head_weight), cast(Tensor, self.head_bias)
        levels = self.neck(self.backbone(colors.to(weight.dtype), maps), maps)
        out = torch.addmm(bias, torch.cat(levels), weight).float()
        return out[:, : self.reg_channels], out[:, self.reg_channels :]


def _sum(stage: Tensor, grown: Tensor, maps: UpMaps[Any]) -> Tensor:
    """Sum over the union of two sets of sites; a missing row counts as zero."""
    return _padded(stage)[maps.stage_rows] + _padded(grown)[maps.grown_rows]


def _padded(x: Tensor) -> Tensor:
    """With a last row of zeros, which is the row -1."""
    return torch.cat([x, x.new_zeros(1, x.shape[1])])
