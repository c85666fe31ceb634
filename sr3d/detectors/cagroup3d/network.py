"""CAGroup3D's first stage: votes, groups of each class in cells of its own size, dense outputs.

Source: Haiyang-W/CAGroup3D (pcdet/models/dense_heads/cagroup_head.py), including the names of
weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sr3d.detectors.cagroup3d.config import CAGroup3DModel
from sr3d.detectors.common.scale import Scale
from sr3d.detectors.common.vote_limits import limited, vote_limits
from sr3d.sparse import Sites, SparseTensor
from sr3d.sparse.averaging import averaged
from sr3d.sparse.nn import SparseBatchNorm, SparseConv, SparseConvTranspose, SparseELU

_TABLE = 2  # the published table of sizes holds twice the edges of cells, to four digits
_EXPANDED = 3  # edge of the coarser cells of a class, in its cells
_PRIOR = -math.log(0.99 / 0.01)  # logit of a score of 0.01


class VotedVoxels(NamedTuple):
    """The backbone's V voxels of stride 2. sites: their order. positions: (V, 3) metres, lowest
    corners. semantic: (V, C) logits. offsets: (V, n, 3) metres. votes: (V, n, 3) metres, without
    gradient. features: (V, F), and (V, n, F) of the votes.
    """

    sites: Sites
    positions: Tensor
    semantic: Tensor
    offsets: Tensor
    votes: Tensor
    features: Tensor
    vote_features: Tensor


class GroupAnchors(NamedTuple):
    """Anchors of all groups, class after class. coords: (A, 4) int32, cells of their class's size.
    groups: (A,) int64, the class. positions: (A, 3) metres. center: (A, 1) logits. reg: (A, 6 or
    8), the first six before exp and after the scale. cls: (A, C) logits.
    """

    coords: Tensor
    groups: Tensor
    positions: Tensor
    center: Tensor
    reg: Tensor
    cls: Tensor

    def rows(self, index: Tensor) -> GroupAnchors:
        """The anchors at an index or mask."""
        return GroupAnchors(*(value[index] for value in self))


class CAGroupHead(nn.Module):
    """mean_sizes: (dx, dy, dz) of the boxes of each class in metres."""

    cells: Tensor

    def __init__(
        self,
        config: CAGroup3DModel,
        mean_sizes: Sequence[Sequence[float]],
        rotated: bool,
    ) -> None:
        super().__init__()
        self.config, f, classes = config, config.channels, len(mean_sizes)
        self.register_buffer("cells", cell_sizes(config, mean_sizes), persistent=False)
        n, elu = config.votes, SparseELU()
        self.offset_block = nn.Sequential(
            *_norm_elu(SparseConv(f, f, kernel=1), f),
            *_norm_elu(SparseConv(f, f, kernel=1), f),
            SparseConv(f, 3 * n, kernel=1),
        )
        self.feature_offset = nn.Sequential(*_norm_elu(SparseConv(f, n * f), n * f))
        self.semantic_conv = SparseConv(f, classes, kernel=1, bias=True)
        self.cls_individual_out = _each(
            classes, lambda: _norm_elu(SparseConv(f, f, config.group_kernel), f)
        )
        self.cls_individual_expand_out = _each(
            classes, lambda: _norm_elu(SparseConv(f, f, config.expanded_kernel), f)
        )
        self.cls_individual_up = nn.ModuleList(
            nn.ModuleList(
                [
                    SparseConvTranspose(f, f, kernel=3, stride=_EXPANDED, generative=True),
                    nn.Sequential(SparseBatchNorm(f), elu),
                ]
            )
            for _ in range(classes)
        )
        self.cls_individual_fuse = _each(
            classes, lambda: _norm_elu(SparseConv(2 * f, f, kernel=1), f)
        )
        self.centerness_conv = SparseConv(f, 1, kernel=1)
        self.reg_conv = SparseConv(f, 8 if rotated else 6, kernel=1)
        self.cls_conv = SparseConv(f, classes, kernel=1, bias=True)
        self.scales = nn.ModuleList(Scale() for _ in range(classes))
        outputs = self.centerness_conv, self.reg_conv, self.cls_conv, self.semantic_conv
        wide = [m for m in self.cls_individual_out.modules() if isinstance(m, SparseConv)]
        for conv in (*outputs, *wide):
            nn.init.normal_(conv.kernel, std=0.01)
        for conv in (self.cls_conv, self.semantic_conv):
            assert conv.bias is not None
            nn.init.constant_(conv.bias, _PRIOR)

    def forward(self, x: SparseTensor, threshold: Tensor) -> tuple[VotedVoxels, GroupAnchors]:
        """x: the backbone's output. threshold: (1,), see `CAGroup3DModel.semantic_thr`."""
        voxels = self.voted(x)
        chosen = voxels.semantic.detach().sigmoid() > threshold
        first = first_rows(x.sites)
        parts = []
        for group in range(chosen.shape[1]):
            # The first voxel of every scene joins every group, so none is empty. A voxel that is
            # chosen too counts twice.
            rows = torch.cat([chosen[:, group].nonzero().squeeze(1), first])
            parts.append(self.group(group, voxels, rows))
        return voxels, GroupAnchors(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def voted(self, x: SparseTensor) -> VotedVoxels:
        """What each voxel votes for, and its classes."""
        count, f = len(x.sites), self.config.channels
        positions = x.sites.coords[:, 1:].to(self.cells.dtype) * self.config.voxel_size
        offsets = self.offset_block(x).features.to(self.cells.dtype).view(count, -1, 3)
        low, high = vote_limits(
            x.sites, self.config.vote_extent, self.config.voxel_size, positions.dtype
        )
        votes = limited(positions[:, None] + offsets.detach(), low[:, None], high[:, None])
        return VotedVoxels(
            sites=x.sites,
            positions=positions,
            semantic=self.semantic_conv(x).features.to(positions.dtype),
            offsets=offsets,
            votes=votes,
            features=x.features,
            vote_features=self.feature_offset(x).features.view(count, -1, f),
        )

    def group(self, group: int, voxels: VotedVoxels, rows: Tensor) -> GroupAnchors:
        """The outputs of one class's group of voxels, whose rows may repeat."""
        at = torch.cat([voxels.votes[rows].flatten(0, 1), voxels.positions[rows]])
        features = torch.cat([voxels.vote_features[rows].flatten(0, 1), voxels.features[rows]])
        scenes = voxels.sites.coords[rows, :1]
        scenes = torch.cat([scenes.repeat_interleave(self.config.votes, dim=0), scenes])
        edge = self.cells[group]
        fine = averaged(_cells(scenes, at, edge), features, voxels.sites)
        coarse = _cells(scenes, at, edge * _EXPANDED)
        coarse[:, 1:] *= _EXPANDED
        expanded = averaged(coarse, features, fine.sites, stride=_EXPANDED)
        own = self.cls_individual_out[group](fine)
        coarse_out = self.cls_individual_expand_out[group](expanded)
        up = self.cls_individual_up[group]
        assert isinstance(up, nn.ModuleList)
        context = up[1](up[0](coarse_out, fine.sites))
        both = own.computed(lambda x: torch.cat([context.features, x], dim=1))
        fused = self.cls_individual_fuse[group](both)
        coords = fused.sites.coords
        reg = self.reg_conv(fused).features.to(edge.dtype)
        reg = torch.cat([self.scales[group](reg[:, :6]), reg[:, 6:]], dim=1)
        return GroupAnchors(
            coords=coords,
            groups=torch.full_like(coords[:, 0], group, dtype=torch.int64),
            positions=coords[:, 1:].to(edge.dtype) * edge,
            center=self.centerness_conv(fused).features.to(edge.dtype),
            reg=reg,
            cls=self.cls_conv(fused).features.to(edge.dtype),
        )


def cell_sizes(config: CAGroup3DModel, mean_sizes: Sequence[Sequence[float]]) -> Tensor:
    """(C, 3) edges of the cells of each class in metres.

    The published table is that of VoteNet's mean sizes, times 0.3 and rounded to four digits.
    """
    table = [[round(_TABLE * config.cell_share * edge, 4) for edge in size] for size in mean_sizes]
    return (torch.tensor(table) / _TABLE).clamp(*config.cell_sizes)


def first_rows(sites: Sites) -> Tensor:
    """The row of the first voxel of every scene that has any, in order of coordinates."""
    order = torch.arange(len(sites), device=sites.coords.device)[sites.in_order]
    counts = torch.tensor(sites.counts, device=order.device)
    return order[(counts.cumsum(0) - counts)[counts > 0]]


def _cells(scenes: Tensor, at: Tensor, edge: Tensor) -> Tensor:
    """(N, 4) int32 batch index and cells of edges (3,) that hold points (N, 3)."""
    return torch.cat([scenes, torch.floor(at / edge).to(torch.int32)], dim=1)


def _norm_elu(conv: SparseConv, channels: int) -> tuple[nn.Module, ...]:
    return conv, SparseBatchNorm(channels), SparseELU()


def _each(count: int, block: Callable[[], tuple[nn.Module, ...]]) -> nn.ModuleList:
    return nn.ModuleList(nn.Sequential(*block()) for _ in range(count))
