"""FCAF3D's network for inference alone; see `sr3d.deploy.folded`.

Which cells a level has depends on the scores of the coarser one, so coordinates and features of the
neck are worked out together.
"""

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
from sr3d.deploy.maps import backbone_maps
from sr3d.detectors.common.mink_resnet import MinkResNet
from sr3d.detectors.fcaf3d.network import FCAF3DHead, Scale, decode_distances
from sr3d.sparse.nn import SparseBatchNorm, SparseConv


class FoldedUp(nn.Module):
    """A generative step, and a convolution on the cells that it reaches."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.grow, self.mix = _folded(block)

    def forward(self, x: Tensor, up_map: Any, same: Any) -> Tensor:
        grown: Tensor = self.mix(self.grow(x, up_map), same)
        return grown


class FoldedFCAF3D(FoldedDetector):
    """Backbone, and neck and head in one."""

    by_level = True

    def __init__(self, config: ModelConfig, backbone: MinkResNet, head: FCAF3DHead) -> None:
        super().__init__()
        self.config, self.most = config, head.pts_prune
        self.backbone = FoldedBackbone(backbone)
        levels = range(len(config.planes))
        self.up = nn.ModuleList(FoldedUp(head.get_submodule(f"up_block_{i}")) for i in levels[1:])
        self.out = nn.ModuleList(_folded(head.get_submodule(f"out_block_{i}"))[0] for i in levels)
        self.heads = FoldedHeads(head.conv_reg, head.conv_cls, head.conv_center)
        scales = [cast(Scale, scale).scale.detach() for scale in head.scales]
        self.register_buffer("scales", torch.stack(scales))

    def forward(self, colors: Tensor, voxels: S, layout: Layout[S, Any]) -> Outputs[S]:
        maps = backbone_maps(voxels, self.config, layout)
        stages = self.backbone(colors.to(self.dtype), maps, layout)
        x, sites = stages[-1], maps.sites[-1]
        levels: list[tuple[S, Tensor, Tensor]] = []
        best: Tensor | None = None  # score of each cell of the coarser level
        for i in reversed(range(len(stages))):
            if best is not None:
                scored, below = sites, layout.generated(sites, 2)
                up_map, same = layout.up_map(sites, below, 2), layout.map(below, below, 3)
                grown = self.up[i](x, up_map, same)
                sites, stage_rows, grown_rows = layout.union(maps.sites[i], below)
                x = rows_of(stages[i], stage_rows) + rows_of(grown, grown_rows)
                sites, kept = layout.pruned(sites, scored, best, self.most)
                x = rows_of(x, kept)
            reg, logits, center = self.heads(self.out[i](x, layout.map(sites, sites, 3)))
            scale = cast(Tensor, self.scales)[i].float()
            reg = torch.cat([reg[:, :6] * scale, reg[:, 6:]], dim=1)
            levels.append((sites, reg, logits.sigmoid() * center.sigmoid()))
            best = logits.amax(dim=1)
        places, regs, scores = zip(*reversed(levels), strict=True)
        return Outputs(places, torch.cat(regs), torch.cat(scores))

    def decode(self, anchors: Tensor, reg: Tensor) -> Tensor:
        return decode_distances(anchors, reg)


def _folded(block: nn.Module) -> list[FoldedConv]:
    """Of a sequence of convolutions, norms and ELUs."""
    parts = list(block.children())
    return [
        FoldedConv(cast(SparseConv, conv), cast(SparseBatchNorm, norm), "elu")
        for conv, norm in zip(parts[::3], parts[1::3], strict=True)
    ]
