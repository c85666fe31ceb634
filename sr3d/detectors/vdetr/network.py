"""V-DETR's neck, decoder and heads.

Source, also of the names of weights: V-DETR/V-DETR (models/model_vdetr.py,
models/vdetr_transformer.py). It continues facebookresearch/3detr.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention

from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.initialisation import draw_matrices
from sr3d.detectors.common.pointnet2 import rows
from sr3d.detectors.common.position_embedding import PositionEmbedding
from sr3d.detectors.common.vertex_lattice import lattice
from sr3d.detectors.detr3d.network import prediction_head
from sr3d.detectors.detr3d.transformer import Attention
from sr3d.detectors.vdetr.config import VoxelQueryModel
from sr3d.detectors.vdetr.vertex_bias import VERTICES, vertex_bias
from sr3d.sparse.nn import SparseBatchNorm, SparseConv, SparseConvTranspose, SparseELU, SparseUp

_HIDDEN = 128  # channels inside the networks of vertices
_ANCHOR = 1.0  # metres, edge of a point's first box
_RARE = math.log(99)  # so that classes begin with a probability of 1 %


def up_block(in_channels: int, channels: int) -> SparseUp:
    """From a level of the backbone to the cells of the next finer one."""
    return SparseUp(
        SparseConvTranspose(in_channels, channels, kernel=2, stride=2),
        SparseBatchNorm(channels),
        SparseELU(),
        SparseConv(channels, channels),
        SparseBatchNorm(channels),
        SparseELU(),
    )


def out_block(in_channels: int, channels: int) -> nn.Sequential:
    """From the finest level to the features of seeds."""
    return nn.Sequential(SparseConv(in_channels, channels), SparseBatchNorm(channels), SparseELU())


@dataclass(frozen=True)
class BoxStage:
    """Predictions for Q boxes of each of B scenes, relative to reference boxes.

    logits: (B, Q, C). center: (B, Q, 3), in edges of the reference box. size: (B, Q, 3), logarithms
    of ratios. heading_logits, heading_residual: (B, Q, bins), residuals in half bins. reference:
    (B, Q, 6) centres and sizes, without gradient. boxes: (B, Q, 7) decoded, differentiable.
    """

    logits: Tensor
    center: Tensor
    size: Tensor
    heading_logits: Tensor
    heading_residual: Tensor
    reference: Tensor
    boxes: Tensor


class StageHeads(nn.ModuleDict):
    """Five networks of one stage. Each predicts one part of `BoxStage`."""

    def __init__(self, channels: int, classes: int, bins: HeadingBins, dropout: float) -> None:
        outputs = {
            "sem_cls_head": classes,
            "center_head": 3,
            "size_head": 3,
            "angle_cls_head": bins.count,
            "angle_residual_head": bins.count,
        }
        heads = {name: prediction_head(channels, n, dropout) for name, n in outputs.items()}
        super().__init__(heads)
        self.bins = bins
        for name, head in heads.items():
            last = head.layers[-1]
            assert isinstance(last, nn.Conv1d)
            assert last.bias is not None
            if name == "sem_cls_head":
                nn.init.constant_(last.bias, -_RARE)
            elif name in ("center_head", "size_head"):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, reference: Tensor) -> BoxStage:
        """x: (B, Q, channels). reference: see `BoxStage`."""
        columns = x.transpose(1, 2)
        logits, center, size, heading_logits, heading_residual = (
            head(columns).transpose(1, 2).float() for head in self.values()
        )
        at, edges = reference.split(3, dim=-1)
        yaw = -self.bins.likeliest(heading_logits, heading_residual)[..., None]
        boxes = torch.cat([at + center * edges, edges * size.exp(), yaw], dim=-1)
        return BoxStage(logits, center, size, heading_logits, heading_residual, reference, boxes)


class VertexAttention(nn.Module):
    """Attention of queries to points, with a bias from the vertices of the queries' boxes.

    All heads share keys and values. Each vertex has a table of its own.
    """

    relative_coords_table: Tensor  # (1, 10, 10, 10, 3), the name in checkpoints

    def __init__(self, channels: int, heads: int, dropout: float, rotated: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.rotated = heads, dropout, rotated
        self.register_buffer("relative_coords_table", lattice())
        self.cpb_mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(3, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, heads, bias=False))
            for _ in VERTICES
        )
        self.q = nn.Linear(channels, channels)
        self.k, self.v = (nn.Linear(channels, channels // heads) for _ in range(2))
        self.proj = nn.Linear(channels, channels)

    def forward(self, queries: Tensor, memory: Tensor, points: Tensor, boxes: Tensor) -> Tensor:
        """(B, Q, C). queries: (B, Q, C), of boxes (B, Q, 7). memory: (B, M, C), of points
        (B, M, 3).
        """
        q = self.q(queries).unflatten(2, (self.heads, -1)).transpose(1, 2)
        k, v = (layer(memory)[:, None].expand(-1, self.heads, -1, -1) for layer in (self.k, self.v))
        bias = vertex_bias(self.tables(), points, boxes, self.rotated).to(q.dtype)
        dropout = self.dropout if self.training else 0.0
        found = scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)
        return self.proj(found.transpose(1, 2).flatten(2))

    def tables(self) -> Tensor:
        """(8, H, 10, 10, 10), see `vertex_bias`.

        As in the original, the layers see the lattice's places as z, y, x.
        """
        places = self.relative_coords_table[0]
        return torch.stack([mlp(places).movedim(-1, 0) for mlp in self.cpb_mlps]).float()


class VertexDecoderLayer(nn.Module):
    """Self-attention of the queries, attention to points, and a feed-forward network, pre-norm."""

    def __init__(self, config: VoxelQueryModel, rotated: bool) -> None:
        super().__init__()
        channels, heads, dropout = config.channels, config.heads, config.dropout
        self.self_attn = Attention(channels, heads, dropout)
        self.multihead_attn = VertexAttention(channels, heads, dropout, rotated)
        self.linear1 = nn.Linear(channels, config.hidden)
        self.linear2 = nn.Linear(config.hidden, channels)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, queries: Tensor, position: Tensor, memory: Tensor, points: Tensor, boxes: Tensor
    ) -> Tensor:
        """queries and their positions: (B, Q, C). Others: see `VertexAttention`.

        Points have no position here, and memory is not normalised.
        """
        x = self.norm1(queries)
        place = x + position
        queries = queries + self.dropout(self.self_attn(place, place, x))
        place = self.norm2(queries) + position
        queries = queries + self.dropout(self.multihead_attn(place, memory, points, boxes))
        hidden = self.dropout(relu(self.linear1(self.norm3(queries))))
        return queries + self.dropout(self.linear2(hidden))


class SeedLayer(nn.Module):
    """A feed-forward network of points. It adds to the normalised points."""

    def __init__(self, config: VoxelQueryModel) -> None:
        super().__init__()
        channels = config.channels
        self.linear1 = nn.Linear(channels, config.hidden)
        self.linear2 = nn.Linear(config.hidden, channels)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, points: Tensor) -> Tensor:
        points = self.norm(points)
        hidden = self.dropout(relu(self.linear1(points)))
        return points + self.dropout(self.linear2(hidden))


class VertexDecoder(nn.Module):
    """Boxes of points, whose best begin the queries, and of queries after each layer.

    Boxes of all layers are relative to the box that began the query. All stages share a norm.
    """

    def __init__(self, config: VoxelQueryModel, classes: int, bins: HeadingBins) -> None:
        super().__init__()
        channels, dropout = config.channels, config.head_dropout
        self.queries = config.queries
        self.first_layer = SeedLayer(config)
        self.norm = nn.LayerNorm(channels)
        self.add_layers(config, rotated=bins.count > 1)
        draw_matrices(self)
        # The first stage tells objects from background.
        outputs = [1, *(classes for _ in range(config.layers))]
        self.mlp_heads = nn.ModuleList(StageHeads(channels, n, bins, dropout) for n in outputs)
        self.pointcls_heads = prediction_head(channels, classes, dropout)

    def add_layers(self, config: VoxelQueryModel, rotated: bool) -> None:
        """Add `layers`, and what else the queries need."""
        channels, layers = config.channels, range(config.layers)
        self.layers = nn.ModuleList(VertexDecoderLayer(config, rotated) for _ in layers)
        self.query_pos_projection = nn.ModuleList(PositionEmbedding(6, channels) for _ in layers)
        self.query_embed = nn.Embedding(config.queries, channels)

    def forward(self, memory: Tensor, points: Tensor) -> tuple[Tensor, Tensor, list[BoxStage]]:
        """Logits of the points' classes (B, M, C), the points of the queries (B, Q), best first,
        and the stages: of all points, then of the queries after each layer.

        memory: (B, M, channels) of points (B, M, 3).
        """
        logits = self.pointcls_heads(memory.transpose(1, 2)).transpose(1, 2).float()
        anchors = torch.cat([points, torch.full_like(points, _ANCHOR)], dim=-1)
        heads, *others = self.mlp_heads
        first = heads(self.norm(self.first_layer(memory)), anchors)
        best = self.chosen(first.logits[..., 0])
        boxes = rows(first.boxes.detach(), best)
        reference = boxes[..., :6]
        queries, stages = self.begun(memory, best), [first]
        for i, heads in enumerate(others):
            queries, memory = self.refined(i, queries, memory, points, boxes)
            stages.append(heads(self.norm(queries), reference))
            boxes = stages[-1].boxes.detach()
        return logits, best, stages

    def chosen(self, logits: Tensor) -> Tensor:
        """(B, Q) int64: the points with the highest logits (B, M), best first."""
        return logits.sigmoid().topk(self.queries, dim=1).indices

    def begun(self, memory: Tensor, best: Tensor) -> Tensor:
        """(B, Q, C): the queries before the first layer. best: (B, Q), their points.

        The rank of a query decides its embedding. The features of its point are not used.
        """
        return self.query_embed.weight.expand(len(memory), -1, -1)

    def refined(
        self, layer: int, queries: Tensor, memory: Tensor, points: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The queries (B, Q, C) after a layer, and the points' features (B, M, C) for the next."""
        position = self.query_pos_projection[layer](boxes[..., :6]).transpose(1, 2)
        return self.layers[layer](queries, position, memory, points, boxes), memory
