"""DEST's decoder layer: self-attention of the queries, then a scan of the seeds in place of
cross-attention, which changes seeds and queries.

Source: OpenSpaceAI/DEST3D (models/dest_module.py), including the names of parameters.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu

from sr3d.detectors.common.position_embedding import PositionEmbedding, pointwise
from sr3d.detectors.dest.issm import InterStateScan, along_scan
from sr3d.detectors.dest.spatial import VertexTable
from sr3d.detectors.groupfree.network import attend


class DropPath(nn.Module):
    """Drops a branch of some scenes in training, and scales those of the others.

    share: of the scenes.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.p = share

    def forward(self, branch: Tensor) -> Tensor:
        if not self.training or not self.p:
            return branch
        kept = branch.new_empty(len(branch), 1, 1).bernoulli_(1 - self.p)
        return branch * kept / max(1 - self.p, 1e-9)


class GatedFeedForward(nn.Module):
    """(B, C, N) to (B, C, N). scan: columns are in the order of a scan and see neighbours."""

    dwconv: nn.Conv1d | None

    def __init__(self, channels: int, hidden: int, dropout: float, scan: bool) -> None:
        super().__init__()
        self.fc1, self.fc2 = pointwise(channels, 2 * hidden), pointwise(hidden, channels)
        self.dwconv = along_scan(hidden) if scan else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.fc1(x).chunk(2, dim=1)
        if self.dwconv is not None:
            x = self.dwconv(x) + x
        return self.dropout(self.fc2(self.dropout(gelu(x) * gate)))


class ScanLayer(nn.Module):
    """last: no layer needs the seeds after this one.

    What its scan has for them has no effect, as in the original, and is frozen: `D`, `key_norm` and
    `out_key_proj`.
    """

    mlp_key: GatedFeedForward | None

    def __init__(
        self,
        channels: int,
        heads: int,
        feedforward: int,
        dropout: float,
        bidirectional: bool,
        last: bool,
    ) -> None:
        super().__init__()
        self.in_proj_key = nn.Sequential(
            nn.Conv1d(channels, channels, 1, bias=False), nn.BatchNorm1d(channels), nn.SiLU()
        )
        self.self_attn = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)
        self.norm_scan_key, self.norm_scan_query = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.spatial_dist = VertexTable()
        self.ISSM_scan = InterStateScan(channels, heads, bidirectional)
        self.mlp_key = None
        if last:
            self.ISSM_scan.D.requires_grad_(False)
            self.ISSM_scan.key_norm.requires_grad_(False)
            self.ISSM_scan.out_key_proj.requires_grad_(False)
        else:
            self.norm_ffn_key = nn.LayerNorm(channels)
            self.mlp_key = GatedFeedForward(channels, channels, dropout, scan=True)
            self.norm_out_key = nn.BatchNorm1d(channels)
        self.norm_ffn_query = nn.LayerNorm(channels)
        self.mlp_query = GatedFeedForward(channels, feedforward, dropout, scan=False)
        self.norm_out_query = nn.BatchNorm1d(channels)
        self.self_posembed = PositionEmbedding(6, channels)
        self.issm_posembed = PositionEmbedding(3, channels)
        self.drop = DropPath(dropout)

    def forward(
        self, query: Tensor, key: Tensor, places: Tensor, seeds: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The refined queries (B, C, K) and keys (B, C, S).

        query: (B, C, K). key: (B, C, S) in the order of the scan, as seeds (B, S, 3). places:
        (B, K, 6), see `Stage.places`. The residual of the scan is the normalised query.
        """
        key = self.in_proj_key(key)
        position = self.self_posembed(places).transpose(1, 2)
        x = query.transpose(1, 2) + position
        query = query.transpose(1, 2) + self.drop(attend(self.self_attn, x, x))
        query = self.norm_scan_query(query)
        read, changed = self.ISSM_scan(
            _normed(self.norm_scan_key, key).transpose(1, 2)
            + self.issm_posembed(seeds).transpose(1, 2),
            query + position,
            self.spatial_dist(),
            seeds,
            places,
        )
        query = (query + self.drop(changed)).transpose(1, 2)
        query = query + self.drop(self.mlp_query(_normed(self.norm_ffn_query, query)))
        if self.mlp_key is not None:
            key = key + self.drop(read).transpose(1, 2)
            key = key + self.drop(self.mlp_key(_normed(self.norm_ffn_key, key)))
            key = self.norm_out_key(key)
        return self.norm_out_query(query), key


def _normed(norm: nn.Module, x: Tensor) -> Tensor:
    """A norm over the channels of (B, C, N)."""
    return norm(x.transpose(1, 2)).transpose(1, 2)
