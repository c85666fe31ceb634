"""TR3D's network on MinkowskiEngine's own modules, for comparison with ours.

Names of parameters equal ours, so `load_state_dict` copies weights.
"""

from __future__ import annotations

import collections
import collections.abc

from torch import Tensor, nn

# MinkowskiEngine 0.5.4 needs a name that Python 3.10 removed.
collections.Sequence = collections.abc.Sequence  # type: ignore[attr-defined]

import MinkowskiEngine as ME  # noqa: E402


class Block(nn.Module):
    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, channels, stride=stride)
        self.norm1 = ME.MinkowskiBatchNorm(channels)
        self.conv2 = _conv(channels, channels)
        self.norm2 = ME.MinkowskiBatchNorm(channels)
        self.relu = ME.MinkowskiReLU(inplace=True)
        self.downsample = None
        if stride != 1 or in_channels != channels:
            shortcut = _conv(in_channels, channels, kernel=1, stride=stride)
            self.downsample = nn.Sequential(shortcut, ME.MinkowskiBatchNorm(channels))

    def forward(self, x: ME.SparseTensor) -> ME.SparseTensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.norm1(self.conv1(x)))
        x = self.norm2(self.conv2(x))
        x += shortcut
        return self.relu(x)


class Backbone(nn.Module):
    def __init__(self, planes: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = _conv(3, 64, stride=2)
        self.norm1 = ME.MinkowskiBatchNorm(64)
        self.relu = ME.MinkowskiReLU(inplace=True)
        self.maxpool = ME.MinkowskiMaxPooling(kernel_size=2, stride=2, dimension=3)
        channels = 64
        for i, (width, depth) in enumerate(zip(planes, blocks, strict=True), 1):
            stage = [Block(channels if j == 0 else width, width, 2 - (j > 0)) for j in range(depth)]
            self.add_module(f"layer{i}", nn.Sequential(*stage))
            channels = width

    def forward(self, x: ME.SparseTensor) -> list[ME.SparseTensor]:
        x = self.maxpool(self.relu(self.norm1(self.conv1(x))))
        outputs = []
        for i in range(1, 5):
            x = self.get_submodule(f"layer{i}")(x)
            outputs.append(x)
        return outputs


class Neck(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        for i in (0, 1):
            self.add_module(f"lateral_block_{i}", _normed(_conv(channels, channels), channels))
            self.add_module(f"out_block_{i}", _normed(_conv(channels, channels), channels))
            up = ME.MinkowskiGenerativeConvolutionTranspose(
                channels, channels, kernel_size=3, stride=2, dimension=3
            )
            self.add_module(f"up_block_{i + 1}", _normed(up, channels))

    def forward(self, stages: list[ME.SparseTensor]) -> list[ME.SparseTensor]:
        x, levels = stages[3], []
        for i in (1, 0):
            x = stages[i + 1] + self.get_submodule(f"up_block_{i + 1}")(x)
            x = self.get_submodule(f"lateral_block_{i}")(x)
            levels.append(self.get_submodule(f"out_block_{i}")(x))
        return levels[::-1]


class Head(nn.Module):
    def __init__(self, channels: int, outputs: int, classes: int) -> None:
        super().__init__()
        self.conv_reg = _conv(channels, outputs, kernel=1, bias=True)
        self.conv_cls = _conv(channels, classes, kernel=1, bias=True)


class MinkowskiTR3D(nn.Module):
    """forward: (N, 4) int coordinates, (N, 3) colours to [(coords, reg, cls)], finest first."""

    def __init__(self, classes: int = 18, outputs: int = 6) -> None:
        super().__init__()
        self.backbone = Backbone((64, 128, 128, 128), (3, 4, 6, 3))
        self.neck = Neck(128)
        self.bbox_head = Head(128, outputs, classes)

    def forward(self, coords: Tensor, colors: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        levels = self.neck(self.backbone(ME.SparseTensor(colors, coordinates=coords)))
        head = self.bbox_head
        return [(x.C, head.conv_reg(x).F, head.conv_cls(x).F) for x in levels]


def _conv(
    in_channels: int, channels: int, kernel: int = 3, stride: int = 1, bias: bool = False
) -> ME.MinkowskiConvolution:
    return ME.MinkowskiConvolution(
        in_channels, channels, kernel_size=kernel, stride=stride, bias=bias, dimension=3
    )


def _normed(conv: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(conv, ME.MinkowskiBatchNorm(channels), ME.MinkowskiReLU(inplace=True))
