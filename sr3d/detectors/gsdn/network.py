"""GSDN's backbone, its generative decoder and its head.

Source: jgwak/GSDN (models/resnet.py, models/detection.py), including the names of weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from sr3d.detectors.common.mink_resnet import ResidualStages
from sr3d.detectors.gsdn.config import GSDNModel
from sr3d.sparse import Sites, SparseTensor
from sr3d.sparse.nn import (
    SparseBatchNorm,
    SparseConv,
    SparseConvTranspose,
    SparseELU,
    SparseInstanceNorm,
    SparsePool,
    SparseReLU,
)

IN_CHANNELS = 4  # three colours and a height
_STEM_MOMENTUM = 0.02  # of the stem's batch norm alone

# Whether cells of a level, finest 0, stay whatever their score is: (N,) bool.
Forced = Callable[[int, Sites], Tensor]


class GSDNBackbone(ResidualStages):
    """A stem and stages of stride 2. Returns the output of every stage, finest first."""

    def __init__(self, config: GSDNModel) -> None:
        super().__init__()
        channels = config.stem_channels
        self.conv1 = SparseConv(IN_CHANNELS, channels, kernel=5)
        self.bn1 = SparseBatchNorm(channels, momentum=_STEM_MOMENTUM)
        self.relu = SparseReLU()
        self.pool = SparsePool("sum", kernel=2, stride=2)
        self.add_stages(channels, config.planes, config.blocks)

    def forward(self, x: SparseTensor) -> list[SparseTensor]:
        return self.staged(self.pool(self.relu(self.bn1(self.conv1(x)))))


class DecodedLevel(NamedTuple):
    """cells: of the level, before pruning. sparsity: (N, 2) logits, whether a cell holds no object
    or one. kept: features of the cells after pruning.
    """

    cells: Sites
    sparsity: Tensor
    kept: SparseTensor


class GSDNDecoder(nn.Module):
    """From coarse to fine: cells that may hold an object generate the cells of the next level.

    The finest level generates none. Its `conv_up1`, which the original computes and does not use,
    only keeps the weights of checkpoints.
    """

    def __init__(self, config: GSDNModel) -> None:
        super().__init__()
        self.prune_thr = config.prune_thr
        planes = config.planes
        for i, (own, finer) in enumerate(zip(planes, (planes[0], *planes[:-1]), strict=True), 1):
            up = SparseConvTranspose(own, finer, kernel=3, stride=2, generative=True)
            self.add_module(f"conv_up{i}", nn.Sequential(up, SparseBatchNorm(finer), SparseELU()))
            self.add_module(f"conv_feat{i}", _pointwise(own, config.head_channels))
            self.add_module(f"conv_cls{i}", SparseConv(config.head_channels, 2, 1, bias=True))
        self.get_submodule("conv_up1").requires_grad_(False)

    def forward(
        self, stages: list[SparseTensor], forced: Forced | None = None
    ) -> list[DecodedLevel]:
        """Levels, finest first."""
        levels: list[DecodedLevel] = []
        x = stages[-1]
        for i in reversed(range(len(stages))):
            feature = self.get_submodule(f"conv_feat{i + 1}")(x)
            sparsity = self.get_submodule(f"conv_cls{i + 1}")(feature).features
            keep = sparsity.float().softmax(dim=1)[:, 1] > self.prune_thr
            if forced is not None:
                keep |= forced(i, x.sites)
            rows = keep.nonzero().squeeze(1)
            levels.append(DecodedLevel(x.sites, sparsity, feature.pruned(rows)))
            if i > 0:
                x = stages[i - 1] + self.get_submodule(f"conv_up{i + 1}")(x.pruned(rows))
        return levels[::-1]


class GSDNHead(nn.Module):
    """1³ convolutions with instance norms, shared by the levels, for A anchors of a cell."""

    def __init__(self, channels: int, anchors: int, classes: int) -> None:
        super().__init__()
        self.anchors = anchors
        self.conv1, self.bn1 = (
            SparseConv(channels, channels, kernel=1),
            SparseInstanceNorm(channels),
        )
        self.conv2, self.bn2 = (
            SparseConv(channels, channels, kernel=1),
            SparseInstanceNorm(channels),
        )
        self.elu = SparseELU()
        self.final_class_logits = SparseConv(channels, 2 * anchors, kernel=1, bias=True)
        self.final_semantic_logits = SparseConv(channels, classes * anchors, kernel=1, bias=True)
        self.final_bbox = SparseConv(channels, 6 * anchors, kernel=1, bias=True)

    def forward(self, x: SparseTensor) -> tuple[Tensor, Tensor, Tensor]:
        """Raw outputs: logits of no object and an object (N, A, 2), of classes (N, A, C), and boxes
        (N, A, 6).
        """
        x = self.elu(self.bn1(self.conv1(x)))
        x = self.elu(self.bn2(self.conv2(x)))
        objectness, classes, boxes = (
            layer(x).features.unflatten(1, (self.anchors, -1))
            for layer in (self.final_class_logits, self.final_semantic_logits, self.final_bbox)
        )
        return objectness, classes, boxes


def initialise(network: nn.Module) -> None:
    """Kaiming's normal distribution, over outputs for convolutions and inputs for transposed ones.

    As in the original, 1³ kernels of stride 1 are the exception: they count their inputs.
    """
    for module in network.modules():
        if isinstance(module, SparseConv | SparseConvTranspose):
            volume, (ins, outs) = module.kernel_size**3, module.kernel.shape[-2:]
            counts_inputs = isinstance(module, SparseConvTranspose) or module.pointwise
            fan = volume * (ins if counts_inputs else outs)
            nn.init.normal_(module.kernel, std=math.sqrt(2 / fan))


def _pointwise(in_channels: int, channels: int) -> nn.Sequential:
    conv = SparseConv(in_channels, channels, kernel=1)
    return nn.Sequential(conv, SparseBatchNorm(channels), SparseELU())
