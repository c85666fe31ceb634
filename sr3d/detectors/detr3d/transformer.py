"""3DETR's transformer: an encoder of points and a decoder of queries, normalised before each block.

Tokens are (B, N, C). Source, also of the names of weights: facebookresearch/3detr
(models/transformer.py).
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu, scaled_dot_product_attention

from sr3d.detectors.common.initialisation import draw_matrices


class Attention(nn.Module):
    """Multi-head attention, with the weights of `torch.nn.MultiheadAttention`.

    One mask serves all heads, which PyTorch's module would copy for each.
    """

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, allowed: Tensor | None = None
    ) -> Tensor:
        """(B, M, C) for M queries, and N keys and values.

        allowed: (B, M, N) bool, the keys that each query attends to. None: all.
        """
        projections = zip(
            (queries, keys, values),
            self.in_proj_weight.chunk(3),
            self.in_proj_bias.chunk(3),
            strict=True,
        )
        q, k, v = (
            linear(x, weight, bias).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for x, weight, bias in projections
        )
        found = scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=None if allowed is None else allowed[:, None],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out_proj(found.transpose(1, 2).flatten(2))


class PointEncoderLayer(nn.Module):
    """Self-attention and a feed-forward network. Points have no position embedding here."""

    def __init__(self, channels: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(channels, heads, dropout)
        self.linear1, self.linear2 = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, points: Tensor, allowed: Tensor | None = None) -> Tensor:
        """allowed: see `Attention`."""
        x = self.norm1(points)
        points = points + self.dropout(self.self_attn(x, x, x, allowed))
        hidden = self.dropout(relu(self.linear1(self.norm2(points))))
        return points + self.dropout(self.linear2(hidden))


class QueryDecoderLayer(nn.Module):
    """Self-attention of the queries, cross-attention to the points, a feed-forward network."""

    def __init__(self, channels: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(channels, heads, dropout)
        self.multihead_attn = Attention(channels, heads, dropout)
        self.linear1, self.linear2 = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, queries: Tensor, query_position: Tensor, points: Tensor, position: Tensor
    ) -> Tensor:
        """queries and their positions: (B, Q, C). points and their positions: (B, N, C).

        Positions are added to queries and keys, not to values.
        """
        x = self.norm1(queries)
        place = x + query_position
        queries = queries + self.dropout(self.self_attn(place, place, x))
        place = self.norm2(queries) + query_position
        found = self.multihead_attn(place, points + position, points)
        queries = queries + self.dropout(found)
        hidden = self.dropout(relu(self.linear1(self.norm3(queries))))
        return queries + self.dropout(self.linear2(hidden))


class QueryDecoder(nn.Module):
    """Decoder layers, and one norm that the outputs of all layers share."""

    def __init__(self, layer: QueryDecoderLayer, count: int, channels: int) -> None:
        super().__init__()
        self.layers = copies(layer, count)
        self.norm = nn.LayerNorm(channels)
        draw_matrices(self)

    def forward(self, query_position: Tensor, points: Tensor, position: Tensor) -> list[Tensor]:
        """The queries (B, Q, C) after each layer, normalised. They start at zero."""
        queries, found = torch.zeros_like(query_position), []
        for layer in self.layers:
            queries = layer(queries, query_position, points, position)
            found.append(self.norm(queries))
        return found


def copies(layer: nn.Module, count: int) -> nn.ModuleList:
    """Equal layers. `draw_matrices` changes their matrices, so only the first biases are equal."""
    return nn.ModuleList(deepcopy(layer) for _ in range(count))
