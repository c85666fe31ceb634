"""SPGroup3D's votes, its grouping of features by superpoints, and its head.

Source: zyrant/SPGroup3D (projects/spgroup), including the names of weights.

M voxels of the backbone's output (stride 2) vote for centres. So there are 2M rows: the voxels,
then their votes. Each row belongs to one of S superpoints, numbered over the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from sr3d.detectors.common.vote_limits import limited, vote_limits
from sr3d.detectors.spgroup3d.config import SPGroup3DModel
from sr3d.points.functional import nearest
from sr3d.sparse import Sites, SparseTensor
from sr3d.sparse.nn import SparseBatchNorm, SparseConv, SparseELU
from sr3d.sparse.segments import segment_max, segment_mean

_DILATION = 3  # of the convolutions between two groupings
_LEAST_NORM = 1e-12  # of a feature, so that zero stays zero
_HEAD_EPS = 1e-3  # of the head's layer norms


@dataclass(frozen=True)
class Groups:
    """The superpoint of each voxel of the backbone's output.

    index: (M,) int64 in order of (batch, x, y, z). counts: number of superpoints of each scene.
    """

    index: Tensor
    counts: Sequence[int]

    @property
    def total(self) -> int:
        """S."""
        return sum(self.counts)


@dataclass(frozen=True)
class Votes:
    """offsets: (M, 3) metres, from each voxel to its vote. positions: (2M, 3) metres of voxels and
    votes, without gradient. features: (2M, C).
    """

    offsets: Tensor
    positions: Tensor
    features: Tensor


class SuperpointAttention(nn.Module):
    """Attention of each superpoint to its nearest ones, per channel."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.coord_linear = nn.Linear(3, channels)
        self.feat_linear = nn.Linear(channels, channels)
        self.feature_transform = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, centers: Tensor, near: Tensor) -> Tensor:
        """x: (S, C). centers: (S, 3) metres. near: (S, K) int64 superpoints. Returns (S, C)."""
        place = self.coord_linear(centers[near] - centers[:, None])
        difference = self.feat_linear(x[near] - x[:, None])
        weights = (place * difference / math.sqrt(near.shape[1])).softmax(dim=1)
        attended = (self.dropout(weights) * self.feature_transform(x)[near]).sum(dim=1)
        normed: Tensor = self.norm(attended + x)
        return normed


class SuperpointEncoder(nn.Module):
    """Votes, then groupings by superpoints with convolutions over cells of two voxels between."""

    def __init__(self, config: SPGroup3DModel) -> None:
        super().__init__()
        self.voxel_size, self.neighbours = config.voxel_size, config.neighbours
        self.vote_extent = config.vote_extent
        channels, own = config.out_channels, config.out_channels
        self.offset_block = nn.Sequential(
            *_pointwise(channels), *_pointwise(channels), SparseConv(channels, 3 + channels, 1)
        )
        widths = [own + 6, *config.fusion_channels]
        self.attn_layers = nn.ModuleList(
            SuperpointAttention(width, config.dropout) for width in widths
        )
        self.ffn_layers = nn.ModuleList(
            nn.Sequential(
                SparseConv(2 * width, out, dilation=_DILATION), SparseBatchNorm(out), SparseELU()
            )
            for width, out in pairwise(widths)
        )
        self.out_channels = sum(widths)
        layers: list[nn.Module] = []
        for _ in range(2):
            linear = nn.Linear(self.out_channels, self.out_channels, bias=False)
            layers += [linear, nn.LayerNorm(self.out_channels), nn.ELU()]
        self.out_linear = nn.Sequential(*layers)

    def forward(self, x: SparseTensor, groups: Groups) -> tuple[Votes, Tensor, Tensor]:
        """Votes, and centres (S, 3) in metres and features (S, C) of the superpoints."""
        votes = self.votes(x)
        segment = groups.index.repeat(2)
        centers = segment_mean(votes.positions, segment, groups.total)
        near = self._nearest(centers, groups.counts)
        apart = votes.positions - centers[segment]
        rows = torch.cat([votes.features, votes.positions, apart], dim=1)
        cells, first, own = self._cells(x, votes.positions)
        found = []
        for i, attention in enumerate(self.attn_layers):
            grouped = segment_max(rows, segment, groups.total)
            grouped = attention(grouped, centers, near)
            found.append(grouped)
            if i < len(self.ffn_layers):
                both = torch.cat([rows, grouped[segment]], dim=1)
                fused = self.ffn_layers[i](SparseTensor(both[first], cells))
                rows = fused.features[own]
        joined = torch.cat(found, dim=1)
        return votes, centers, self.out_linear(joined) + joined

    def votes(self, x: SparseTensor) -> Votes:
        """Votes of the voxels, in order of (batch, x, y, z)."""
        order = x.sites.in_order
        shift, own = self.offset_block(x).features[order], x.features[order]
        places = x.sites.coords[order, 1:]
        positions = places * self.voxel_size
        offsets = shift[:, :3].float()
        low, high = vote_limits(x.sites, self.vote_extent, self.voxel_size, offsets.dtype)
        voted = limited(positions + offsets.detach(), low[order], high[order])
        feature = own + shift[:, 3:]
        feature = feature / feature.norm(dim=1, keepdim=True).clamp(min=_LEAST_NORM)
        return Votes(offsets, torch.cat([positions, voted]), torch.cat([own, feature]))

    def _cells(self, x: SparseTensor, positions: Tensor) -> tuple[Sites, Tensor, Tensor]:
        """Cells of two voxels, the first row of each cell, and the cell of each row."""
        scenes = x.sites.coords[x.sites.in_order, :1].repeat(2, 1)
        # By a tensor: a GPU multiplies by the reciprocal of a number, which rounds differently.
        edge = torch.full((), 2 * self.voxel_size, device=positions.device)
        places = torch.floor(positions / edge).to(scenes.dtype)
        coords = torch.cat([scenes, places], dim=1)
        sites, first = type(x.sites).unique(coords, batch_size=x.sites.batch_size)
        return sites, first, sites.rows_of(coords)

    def _nearest(self, centers: Tensor, counts: Sequence[int]) -> Tensor:
        """(S, K) int64: the nearest superpoints of the scene. The scene's first one fills up."""
        found, start = [], 0
        for own in centers.split(list(counts)):
            found.append(nearest(own[None], own[None], self.neighbours)[1][0] + start)
            start += len(own)
        return torch.cat(found)


class SPGroup3DHead(nn.Module):
    """Centerness, box distances and classes of each superpoint."""

    def __init__(self, channels: int, hidden: int, classes: int, rotated: bool) -> None:
        super().__init__()
        self.conv_center = _mlp(channels, hidden, 1)
        self.conv_reg = _mlp(channels, hidden, 8 if rotated else 6)
        self.conv_cls = _mlp(channels, hidden, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(S, 1) centerness logits, (S, 6 or 8) box outputs, (S, C) class logits."""
        return self.conv_center(x), self.conv_reg(x), self.conv_cls(x)


def _pointwise(channels: int) -> nn.Sequential:
    conv = SparseConv(channels, channels, kernel=1)
    return nn.Sequential(conv, SparseBatchNorm(channels), SparseELU())


def _mlp(channels: int, hidden: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (channels, hidden):
        norm = nn.LayerNorm(hidden, eps=_HEAD_EPS)
        layers += [nn.Linear(width, hidden, bias=False), norm, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, outputs))
