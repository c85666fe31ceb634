"""TR3D's neck: a feature pyramid over the last three stages, grown by generative convolutions.

Source: SamsungLabs/tr3d mmdet3d/models/necks/tr3d_neck.py.
"""

from __future__ import annotations

from torch import nn

from sr3d.config import ModelConfig
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

    The up-sampling kernels keep MinkowskiEngine's default initialisation, as in TR3D, whose
    initialiser passes them over.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        _, *planes = config.planes
        channels = config.neck_channels
        self.up_block_1 = _up(planes[1], planes[0])
        self.up_block_2 = _up(planes[2], planes[1])
        self.lateral_block_0 = _same(planes[0], planes[0])
        self.lateral_block_1 = _same(planes[1], planes[1])
        self.out_block_0 = _same(planes[0], channels)
        self.out_block_1 = _same(planes[1], channels)
        for module in self.modules():
            if isinstance(module, SparseConv):
                kaiming_normal_(module)

    def forward(self, stages: list[SparseTensor]) -> list[SparseTensor]:
        _, fine, middle, coarse = stages
        x = self.lateral_block_1(middle + self.up_block_2(coarse))
        coarse_level = self.out_block_1(x)
        x = self.lateral_block_0(fine + self.up_block_1(x))
        return [self.out_block_0(x), coarse_level]


def _up(in_channels: int, channels: int) -> nn.Sequential:
    conv = SparseConvTranspose(in_channels, channels, kernel=3, stride=2, generative=True)
    return nn.Sequential(conv, SparseBatchNorm(channels), SparseReLU())


def _same(in_channels: int, channels: int) -> nn.Sequential:
    conv = SparseConv(in_channels, channels)
    return nn.Sequential(conv, SparseBatchNorm(channels), SparseReLU())
