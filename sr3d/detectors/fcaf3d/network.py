"""FCAF3D's neck and head, in one module, and its coding of boxes.

Follows open-mmlab/mmdetection3d (mmdet3d/models/dense_heads/fcaf3d_head.py), including the names of
parameters. SamsungLabs/fcaf3d differs in names and in the scale of SUN RGB-D's colours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sr3d.detectors.common.face_boxes import face_boxes
from sr3d.detectors.common.scale import Scale
from sr3d.detectors.fcaf3d.config import PrunedModel
from sr3d.sparse import SparseTensor
from sr3d.sparse.nn import SparseBatchNorm, SparseConv, SparseConvTranspose, SparseELU

RawLevel = tuple[SparseTensor, Tensor, Tensor, Tensor]


class FCAF3DHead(nn.Module):
    """A neck over all stages, and three 1³ convolutions shared by its levels.

    The neck's kernels keep MinkowskiEngine's default initialisation, as published. An extension may
    change outputs, the names of the output blocks of each level, and `up_block`. The first output
    goes to the classes and the centerness, the last one to the boxes.
    """

    outputs: tuple[str, ...] = ("out_block",)

    def __init__(self, config: PrunedModel, classes: int, rotated: bool) -> None:
        super().__init__()
        channels, planes = config.neck_channels, config.planes
        self.pts_prune = config.pts_prune
        for i, own in enumerate(planes):
            if i > 0:
                self.add_module(f"up_block_{i}", self.up_block(own, planes[i - 1]))
            for name in self.outputs:
                self.add_module(f"{name}_{i}", nn.Sequential(*_same(own, channels)))
        self.conv_center = SparseConv(channels, 1, kernel=1)
        self.conv_reg = SparseConv(channels, 8 if rotated else 6, kernel=1)
        self.conv_cls = SparseConv(channels, classes, kernel=1, bias=True)
        self.scales = nn.ModuleList(Scale() for _ in planes)
        for conv in (self.conv_center, self.conv_reg, self.conv_cls):
            nn.init.normal_(conv.kernel, std=0.01)
        assert self.conv_cls.bias is not None
        nn.init.constant_(self.conv_cls.bias, -math.log(0.99 / 0.01))  # every score starts at 0.01

    def forward(self, stages: list[SparseTensor]) -> list[RawLevel]:
        """Levels, finest first: the neck's output, (N, 6 or 8), (N, C), (N, 1), all raw."""
        levels = []
        x, scores = stages[-1], None
        for i in reversed(range(len(stages))):
            if scores is not None:
                x = stages[i] + self.get_submodule(f"up_block_{i + 1}")(x)
                x = prune(x, scores, self.pts_prune)
            outs = [self.get_submodule(f"{name}_{i}")(x) for name in self.outputs]
            out = outs[0]
            cls = self.conv_cls(out).features
            reg, center = self.conv_reg(outs[-1]).features, self.conv_center(out).features
            reg = torch.cat([self.scales[i](reg[:, :6]), reg[:, 6:]], dim=1)
            levels.append((out, reg, cls, center))
            scores = out.replace(cls.detach().amax(dim=1, keepdim=True))
        return levels[::-1]

    def up_block(self, in_channels: int, channels: int) -> nn.Sequential:
        conv = SparseConvTranspose(in_channels, channels, kernel=2, stride=2, generative=True)
        grown = conv, SparseBatchNorm(channels), SparseELU()
        return nn.Sequential(*grown, *_same(channels, channels))


def _same(in_channels: int, channels: int) -> tuple[nn.Module, ...]:
    return SparseConv(in_channels, channels), SparseBatchNorm(channels), SparseELU()


def prune(x: SparseTensor, scores: SparseTensor, most: int) -> SparseTensor:
    """The `most` cells of each scene with the best interpolated scores of the coarser level, (n,
    1).

    Returns x itself if no scene has more cells.
    """
    if x.sites.within(most):
        return x
    return x.best(scores.at(x.sites)[:, 0], most)


def decode_distances(anchors: Tensor, reg: Tensor) -> Tensor:
    """Anchors (N, 3) in metres and raw outputs (N, 6 or 8) to boxes (N, 7), differentiable.

    exp of the first six outputs are distances to the faces, see `face_boxes`.
    """
    return face_boxes(anchors, reg[:, :6].exp(), reg[:, 6:])
