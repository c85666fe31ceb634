"""MinkResNet34, the sparse ResNet of TR3D, SR3D and FCAF3D.

Source: SamsungLabs/tr3d mmdet3d/models/backbones/mink_resnet.py, with MinkowskiEngine's blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sr3d.detectors.common.sparse_config import SparseModelConfig
from sr3d.sparse import SparseTensor
from sr3d.sparse.nn import (
    SparseBatchNorm,
    SparseConv,
    SparseInstanceNorm,
    SparsePool,
    SparseReLU,
    kaiming_normal_,
)


class BasicBlock(nn.Module):
    """conv–BN–ReLU–conv–BN, plus the input (through a 1³ convolution if strided), closing ReLU."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, closing_relu: bool = True
    ) -> None:
        super().__init__()
        self.closing_relu = closing_relu
        self.conv1 = SparseConv(in_channels, channels, stride=stride)
        self.norm1 = SparseBatchNorm(channels)
        self.conv2 = SparseConv(channels, channels)
        self.norm2 = SparseBatchNorm(channels)
        self.relu = SparseReLU()
        self.downsample = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                SparseConv(in_channels, channels, kernel=1, stride=stride),
                SparseBatchNorm(channels),
            )

    def forward(self, x: SparseTensor) -> SparseTensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.norm1(self.conv1(x)))
        x = self.norm2(self.conv2(x)) + shortcut
        return self.relu(x) if self.closing_relu else x


class ResidualStages(nn.Module):
    """Stages of stride 2, named `layer1` and so on, for a backbone that adds a stem."""

    def add_stages(self, in_channels: int, planes: Sequence[int], blocks: Sequence[int]) -> None:
        """planes, blocks: channels and number of blocks of each stage."""
        self.stages = len(planes)
        for i, (channels, count) in enumerate(zip(planes, blocks, strict=True), 1):
            stage = [BasicBlock(in_channels, channels, stride=2)]
            stage += [BasicBlock(channels, channels, stride=1) for _ in range(count - 1)]
            self.add_module(f"layer{i}", nn.Sequential(*stage))
            in_channels = channels

    def staged(self, x: SparseTensor) -> list[SparseTensor]:
        """The output of every stage, finest first."""
        outputs = []
        for i in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{i}")(x)
            outputs.append(x)
        return outputs


class MinkResNet(ResidualStages):
    """A stem and stages of stride 2. Returns the output of every stage, finest first."""

    def __init__(self, config: SparseModelConfig, in_channels: int = 3) -> None:
        super().__init__()
        channels = config.stem_channels
        self.conv1 = SparseConv(in_channels, channels, stride=config.stem_stride)
        norm = SparseInstanceNorm if config.stem_norm == "instance" else SparseBatchNorm
        self.norm1 = norm(channels)
        self.relu = SparseReLU()
        self.maxpool = SparsePool("max", kernel=2, stride=2) if config.stem_pool else nn.Identity()
        self.add_stages(channels, config.planes, config.blocks)
        for module in self.modules():
            if isinstance(module, SparseConv):
                kaiming_normal_(module)

    def forward(self, x: SparseTensor) -> list[SparseTensor]:
        return self.staged(self.maxpool(self.relu(self.norm1(self.conv1(x)))))
