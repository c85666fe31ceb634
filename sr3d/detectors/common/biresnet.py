"""BiResNet, the sparse two-branch ResNet of CAGroup3D and SPGroup3D.

A high-resolution branch stays at stride 4 beside the stages of strides 8, 16 and 32. Both exchange
features twice, and pools of growing windows add context to the coarsest stage.

Source: zyrant/SPGroup3D and Haiyang-W/CAGroup3D (biresnet.py), including the names of weights. They
follow DDRNet.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sr3d.detectors.common.mink_resnet import BasicBlock
from sr3d.sparse import SparseTensor
from sr3d.sparse.nn import (
    SparseBatchNorm,
    SparseConv,
    SparseConvTranspose,
    SparsePool,
    SparseReLU,
    SparseUp,
    kaiming_normal_,
)

_WINDOWS = ((5, 2), (9, 4), (17, 8), (33, 16))  # kernel and stride of each pool
OUT_STRIDE = 2  # of the output's cells, in voxels


@dataclass(frozen=True)
class BiResNetWidths:
    """Numbers of channels. The defaults are SPGroup3D's."""

    stem: int = 64  # strides 1 and 2
    high: int = 128  # stride 4 and the high-resolution branch
    layer3: int = 128  # stride 8
    layer4: int = 128  # stride 16
    layer5: int = 128  # within the block of stride 32, which gives twice as many
    context: int = 128  # of each window of `PyramidPooling`
    out: int = 64


class Bottleneck(nn.Module):
    """1³, 3³ and 1³ convolution, each with batch norm, plus the input. No closing ReLU."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = SparseConv(in_channels, channels, kernel=1)
        self.norm1 = SparseBatchNorm(channels)
        self.conv2 = SparseConv(channels, channels, stride=stride)
        self.norm2 = SparseBatchNorm(channels)
        self.conv3 = SparseConv(channels, 2 * channels, kernel=1)
        self.norm3 = SparseBatchNorm(2 * channels)
        self.relu = SparseReLU()
        self.downsample = _conv_norm(in_channels, 2 * channels, kernel=1, stride=stride)

    def forward(self, x: SparseTensor) -> SparseTensor:
        shortcut = self.downsample(x)
        x = self.relu(self.norm1(self.conv1(x)))
        x = self.relu(self.norm2(self.conv2(x)))
        return self.norm3(self.conv3(x)) + shortcut


class PyramidPooling(nn.Module):
    """DDRNet's DAPPM: windows of growing width, each added to the result of the narrower one."""

    def __init__(self, in_channels: int, context: int, out_channels: int) -> None:
        super().__init__()
        self.scale0 = _norm_conv(in_channels, context)
        for i, (kernel, stride) in enumerate(_WINDOWS, 1):
            pool = SparsePool("average", kernel, stride)
            self.add_module(f"scale{i}", nn.Sequential(pool, *_norm_conv(in_channels, context)))
            self.add_module(f"process{i}", _norm_conv(context, context, kernel=3))
        self.compression = _norm_conv((len(_WINDOWS) + 1) * context, out_channels)
        self.shortcut = _norm_conv(in_channels, out_channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        found = [self.scale0(x)]
        for i in range(1, len(_WINDOWS) + 1):
            wider = self.get_submodule(f"scale{i}")(x).resampled(x.sites)
            found.append(self.get_submodule(f"process{i}")(wider + found[-1]))
        return self.compression(_concatenated(found)) + self.shortcut(x)


class BiResNet(nn.Module):
    """From voxels with `in_channels` features to `widths.out` features on the cells of stride 2.

    blocks: residual blocks of each stage, but one in the stages called `layer5`.
    """

    def __init__(self, widths: BiResNetWidths, in_channels: int = 3, blocks: int = 2) -> None:
        super().__init__()
        w, relu = widths, SparseReLU()
        stem, high = w.stem, w.high
        self.relu = relu
        self.conv1 = nn.Sequential(
            *_conv_norm(in_channels, stem), relu, *_conv_norm(stem, stem), relu
        )
        self.layer1 = _stage(stem, stem, blocks)
        self.layer2 = _stage(stem, high, blocks)
        self.layer3 = _stage(high, w.layer3, blocks)
        self.layer4 = _stage(w.layer3, w.layer4, blocks)
        self.compression3 = _conv_norm(w.layer3, high, kernel=1)
        self.compression4 = _conv_norm(w.layer4, high, kernel=1)
        self.down3 = _conv_norm(high, w.layer3, stride=2)
        self.down4 = nn.Sequential(
            *_conv_norm(high, w.layer3, stride=2), relu, *_conv_norm(w.layer3, w.layer4, stride=2)
        )
        self.layer3_ = _stage(high, high, blocks, stride=1)
        self.layer4_ = _stage(high, high, blocks, stride=1)
        self.layer5_ = nn.Sequential(Bottleneck(high, high, stride=1))
        self.layer5 = nn.Sequential(Bottleneck(w.layer4, w.layer5, stride=2))
        self.spp = PyramidPooling(2 * w.layer5, w.context, 2 * high)
        self.out = SparseUp(
            SparseConvTranspose(2 * high, 2 * high, kernel=2),
            SparseBatchNorm(2 * high),
            relu,
            *_conv_norm(2 * high, w.out, kernel=1),
            relu,
        )
        for module in self.modules():
            if isinstance(module, SparseConv):
                kaiming_normal_(module)

    def forward(self, x: SparseTensor) -> SparseTensor:
        relu = self.relu
        stage1 = self.layer1(self.conv1(x))
        stage2 = relu(self.layer2(relu(stage1)))

        low, high = self.layer3(stage2), self.layer3_(stage2)
        from_low = self.compression3(relu(low)).resampled(high.sites)
        low, high = low + self.down3(relu(high)), high + from_low

        low, high = self.layer4(relu(low)), self.layer4_(relu(high))
        from_low = self.compression4(relu(low)).resampled(high.sites)
        low, high = low + self.down4(relu(high)), high + from_low

        high = self.layer5_(relu(high))
        high = high + self.spp(self.layer5(relu(low))).resampled(high.sites)
        found: SparseTensor = self.out(high, stage1.sites)
        return found


def _stage(in_channels: int, channels: int, blocks: int, stride: int = 2) -> nn.Sequential:
    """Residual blocks, the last one without the closing ReLU."""
    found = []
    for i in range(blocks):
        last = i == blocks - 1
        found.append(BasicBlock(in_channels, channels, stride, closing_relu=not last))
        in_channels, stride = channels, 1
    return nn.Sequential(*found)


def _conv_norm(in_channels: int, channels: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    conv = SparseConv(in_channels, channels, kernel, stride)
    return nn.Sequential(conv, SparseBatchNorm(channels))


def _norm_conv(in_channels: int, channels: int, kernel: int = 1) -> nn.Sequential:
    conv = SparseConv(in_channels, channels, kernel)
    return nn.Sequential(SparseBatchNorm(in_channels), SparseReLU(), conv)


def _concatenated(tensors: list[SparseTensor]) -> SparseTensor:
    """The channels of tensors on the same sites, one after another."""
    first, *others = tensors

    def joined(features: Tensor) -> Tensor:
        return torch.cat([features, *(x.features for x in others)], dim=1)

    return first.computed(joined)
