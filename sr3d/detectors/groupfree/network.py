"""GroupFree's parts after the backbone: seed scores, prediction heads, decoder layers.

Source: zeliu98/Group-Free-3D (models/modules.py, models/transformer.py, models/detector.py),
including the names of parameters. Features are (B, C, N), as its 1×1 convolutions take them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.point_inputs import PointBatch
from sr3d.detectors.common.pointnet2 import PointSet, entries
from sr3d.detectors.common.position_embedding import PositionEmbedding, pointwise
from sr3d.detectors.groupfree.config import QueryModel


class Stage(NamedTuple):
    """The outputs of one head for each of K queries. A heading is clockwise, minus our yaw.

    objectness: (B, K) logits. centers: (B, K, 3) metres. headings: (B, K, H) logits of bins.
    heading_offsets: (B, K, H) in half bins. sizes: (B, K, 3) metres, of any sign. classes:
    (B, K, C) logits. size_classes: (B, K, C) logits. size_offsets: (B, K, C, 3), relative to the
    mean size of each class. The last two are None if the head predicts metres.
    """

    objectness: Tensor
    centers: Tensor
    headings: Tensor
    heading_offsets: Tensor
    sizes: Tensor
    classes: Tensor
    size_classes: Tensor | None = None
    size_offsets: Tensor | None = None

    def places(self) -> Tensor:
        """(B, K, 6) centre and size without gradient: the position of a query for a decoder."""
        return torch.cat([self.centers, self.sizes], dim=2).detach()

    def boxes(self, bins: HeadingBins) -> Tensor:
        """(B, K, 7) in our convention. A negative size has the corners of its magnitude."""
        yaw = -bins.likeliest(self.headings, self.heading_offsets)
        return torch.cat([self.centers, self.sizes.abs(), yaw[..., None]], dim=2)


@dataclass(frozen=True)
class GroupFreePredictions:
    """seeds: of the batch's points. seed_logits: (B, S), whether a seed should become a query.
    queries: (B, K) int64, the chosen seeds, best first. stages: by name, in the network's order.
    """

    batch: PointBatch
    seeds: PointSet
    seed_logits: Tensor
    queries: Tensor
    stages: Mapping[str, Stage]


class SeedScores(nn.Module):
    """One logit per seed, (B, C, S) to (B, S): whether it lies near the centre of an object."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = pointwise(channels, channels), nn.BatchNorm1d(channels)
        self.conv2, self.bn2 = pointwise(channels, channels), nn.BatchNorm1d(channels)
        self.conv3 = pointwise(channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        x = self.bn1(self.conv1(features)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return self.conv3(x).squeeze(1)


class PredictionHead(nn.Module):
    """The predictions of one stage from the features of its queries.

    bins: number of bins of the heading. mean_sizes: (C, 3) metres. None: sizes are predicted in
    metres.
    """

    mean_sizes: Tensor | None

    def __init__(
        self, channels: int, classes: int, bins: int, mean_sizes: Tensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("mean_sizes", mean_sizes, persistent=False)
        self.conv1, self.bn1 = pointwise(channels, channels), nn.BatchNorm1d(channels)
        self.conv2, self.bn2 = pointwise(channels, channels), nn.BatchNorm1d(channels)
        self.objectness_scores_head = pointwise(channels, 1)
        self.center_residual_head = pointwise(channels, 3)
        self.heading_class_head = pointwise(channels, bins)
        self.heading_residual_head = pointwise(channels, bins)
        if mean_sizes is None:
            self.size_pred_head = pointwise(channels, 3)
        else:
            self.size_class_head = pointwise(channels, classes)
            self.size_residual_head = pointwise(channels, 3 * classes)
        self.sem_cls_scores_head = pointwise(channels, classes)

    def forward(self, features: Tensor, seeds: Tensor) -> Stage:
        """features: (B, C, K). seeds: (B, K, 3), which the centres are relative to."""
        x = self.bn1(self.conv1(features)).relu()
        x = self.bn2(self.conv2(x)).relu()

        def output(head: nn.Module) -> Tensor:
            return head(x).float().transpose(1, 2)

        objectness = output(self.objectness_scores_head).squeeze(2)
        centers = seeds + output(self.center_residual_head)
        headings = output(self.heading_class_head), output(self.heading_residual_head)
        classes = output(self.sem_cls_scores_head)
        if self.mean_sizes is None:
            sizes = output(self.size_pred_head)
            return Stage(objectness, centers, *headings, sizes, classes)
        size_classes = output(self.size_class_head)
        offsets = output(self.size_residual_head).unflatten(2, (-1, 3))
        chosen = size_classes.argmax(dim=2)
        sizes = self.mean_sizes[chosen] * (1 + entries(offsets, chosen))
        return Stage(objectness, centers, *headings, sizes, classes, size_classes, offsets)


class DecoderLayer(nn.Module):
    """Attention among the queries, attention to the seeds, and a feed-forward network, post-norm.

    The positions are added to the values of the attention too, unlike in DETR.
    """

    def __init__(self, config: QueryModel) -> None:
        super().__init__()
        channels, heads, dropout = config.channels, config.heads, config.dropout
        self.self_attn = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(channels, heads, dropout, batch_first=True)
        self.linear1 = nn.Linear(channels, config.feedforward)
        self.linear2 = nn.Linear(config.feedforward, channels)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        self.self_posembed = PositionEmbedding(6, channels)
        self.cross_posembed = PositionEmbedding(3, channels)

    def forward(self, query: Tensor, key: Tensor, places: Tensor, seeds: Tensor) -> Tensor:
        """The refined queries (B, C, K).

        query: (B, C, K). key: (B, C, S). places: (B, K, 6), see `Stage.places`. seeds: (B, S, 3).
        """
        query, key = query.transpose(1, 2), key.transpose(1, 2)
        position = self.self_posembed(places).transpose(1, 2)
        key = key + self.cross_posembed(seeds).transpose(1, 2)
        x = query + position
        query = self.norm1(query + self.dropout(attend(self.self_attn, x, x)))
        x = query + position
        query = self.norm2(query + self.dropout(attend(self.multihead_attn, x, key)))
        x = self.linear2(self.dropout(self.linear1(query).relu()))
        return self.norm3(query + self.dropout(x)).transpose(1, 2)


def attend(attention: nn.Module, query: Tensor, key: Tensor) -> Tensor:
    """What queries (B, K, C) find in keys (B, S, C), which are the values too."""
    attended, _ = attention(query, key, key, need_weights=False)
    return attended


def stage_names(layers: int) -> tuple[str, ...]:
    """The original's names of the stages in the network's order: the proposal, then each layer."""
    return "proposal", *(f"{i}head" for i in range(layers - 1)), "last"
