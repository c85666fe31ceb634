"""TR3D's light neck, its head, and its coding of boxes.

Source: SamsungLabs/tr3d mmdet3d/models/{necks/tr3d_neck.py,dense_heads/tr3d_head.py}. Names of
parameters follow open-mmlab/mmdetection3d.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sr3d.detectors.common.sparse_config import SparseModelConfig
from sr3d.sparse import SparseTensor
from sr3d.sparse.nn import (
    SparseBatchNorm,
    SparseConv,
    SparseConvTranspose,
    SparseReLU,
    kaiming_normal_,
)


class TR3DNeck(nn.Module):
    """From stages 2, 3, 4 to two levels, finest first, whose cells are the anchors.

    The up-sampling kernels keep MinkowskiEngine's default initialisation, as in TR3D. An extension
    may change outputs, the names of the output blocks of each level, and activation, after the
    lateral and the output blocks.
    """

    outputs: tuple[str, ...] = ("out_block",)
    activation: type[nn.Module] = SparseReLU

    def __init__(self, config: SparseModelConfig) -> None:
        super().__init__()
        _, *planes = config.planes
        channels = config.neck_channels
        self.up_block_1 = _up(planes[1], planes[0])
        self.up_block_2 = _up(planes[2], planes[1])
        self.lateral_block_0 = self._same(planes[0], planes[0])
        self.lateral_block_1 = self._same(planes[1], planes[1])
        for name in self.outputs:
            for level in range(2):
                self.add_module(f"{name}_{level}", self._same(planes[level], channels))
        for module in self.modules():
            if isinstance(module, SparseConv):
                kaiming_normal_(module)

    def forward(self, stages: list[SparseTensor]) -> list[SparseTensor]:
        return [out for (out,) in self.levels(stages)]

    def levels(self, stages: list[SparseTensor]) -> list[list[SparseTensor]]:
        """Per level, what its output blocks make of it."""
        _, fine, middle, coarse = stages
        x = self.lateral_block_1(middle + self.up_block_2(coarse))
        coarse_level = [self.get_submodule(f"{name}_1")(x) for name in self.outputs]
        x = self.lateral_block_0(fine + self.up_block_1(x))
        return [[self.get_submodule(f"{name}_0")(x) for name in self.outputs], coarse_level]

    def _same(self, in_channels: int, channels: int) -> nn.Sequential:
        conv = SparseConv(in_channels, channels)
        return nn.Sequential(conv, SparseBatchNorm(channels), self.activation())


def _up(in_channels: int, channels: int) -> nn.Sequential:
    conv = SparseConvTranspose(in_channels, channels, kernel=3, stride=2, generative=True)
    return nn.Sequential(conv, SparseBatchNorm(channels), SparseReLU())


class TR3DHead(nn.Module):
    """Two 1³ convolutions, shared by the levels: 6 (or, rotated, 8) box outputs and C logits."""

    def __init__(self, channels: int, classes: int, rotated: bool) -> None:
        super().__init__()
        self.conv_reg = SparseConv(channels, 8 if rotated else 6, kernel=1, bias=True)
        self.conv_cls = SparseConv(channels, classes, kernel=1, bias=True)
        nn.init.normal_(self.conv_reg.kernel, std=0.01)
        nn.init.normal_(self.conv_cls.kernel, std=0.01)
        assert self.conv_cls.bias is not None
        nn.init.constant_(self.conv_cls.bias, -math.log(0.99 / 0.01))  # every score starts at 0.01

    def forward(self, x: SparseTensor) -> tuple[Tensor, Tensor]:
        """(N, 6 or 8) raw box outputs and (N, C) class logits."""
        return self.conv_reg(x).features, self.conv_cls(x).features


def decode_boxes(anchors: Tensor, reg: Tensor) -> Tensor:
    """Anchors (N, 3) in metres and raw outputs (N, 6 or 8) to boxes (N, 7), differentiable.

    With 8 outputs, three of them encode x size, y size and yaw, such that a box and the same box
    with exchanged axes have the same code. The height keeps FCAF3D's form exp(r5) + exp(r4), on
    which published weights depend.
    """
    center = anchors + reg[:, :3]
    if reg.shape[1] == 6:
        size = reg[:, 3:6].exp()
        return torch.cat([center, size, torch.zeros_like(size[:, :1])], dim=1)
    d3, d4, d5 = reg[:, 3:6].exp().unbind(dim=1)
    total = d3 + d4
    ratio = torch.linalg.vector_norm(reg[:, 6:8], dim=1).exp()
    width = total / (1 + ratio)
    yaw = torch.atan2(reg[:, 6], reg[:, 7]) / 2
    rest = torch.stack([width, width * ratio, d5 + d4, yaw], dim=1)
    return torch.cat([center, rest], dim=1)
