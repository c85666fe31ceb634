"""TR3D's and SR3D's network for inference alone; see `sr3d.deploy.folded`."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from sr3d.config import ModelConfig
from sr3d.deploy.folded import (
    FoldedBackbone,
    FoldedConv,
    FoldedDetector,
    FoldedHeads,
    Outputs,
    rows_of,
)
from sr3d.deploy.layouts import Layout, S
from sr3d.deploy.maps import NeckMaps, tr3d_maps
from sr3d.detectors.common.mink_resnet import MinkResNet
from sr3d.detectors.tr3d.network import TR3DHead, TR3DNeck, decode_boxes
from sr3d.sparse.nn import SparseBatchNorm, SparseConv


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

    def forward(self, stages: list[Tensor], maps: NeckMaps[Any, Any]) -> list[Tensor]:
        *_, fine, middle, x = stages
        levels = []
        for i, (stage, up) in enumerate(((middle, maps.coarse), (fine, maps.fine))):
            grown = self.up[i](x, up.up)
            total = rows_of(stage, up.stage_rows) + rows_of(grown, up.grown_rows)
            x = self.lateral[i](total, up.same)
            levels.append(self.out[i](x, up.same))
        return levels[::-1]


class FoldedTR3D(FoldedDetector):
    """Backbone, neck and head."""

    by_level = False

    def __init__(
        self, config: ModelConfig, backbone: MinkResNet, neck: TR3DNeck, head: TR3DHead
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = FoldedBackbone(backbone)
        self.neck = FoldedNeck(neck)
        self.heads = FoldedHeads(head.conv_reg, head.conv_cls)

    def forward(self, colors: Tensor, voxels: S, layout: Layout[S, Any]) -> Outputs[S]:
        backbone, neck = tr3d_maps(voxels, self.config, layout)
        stages = self.backbone(colors.to(self.dtype), backbone, layout)
        reg, logits = self.heads(torch.cat(self.neck(stages, neck)))
        return Outputs(neck.levels, reg, logits.sigmoid())

    def decode(self, anchors: Tensor, reg: Tensor) -> Tensor:
        return decode_boxes(anchors, reg)
