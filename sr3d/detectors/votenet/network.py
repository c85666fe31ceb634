"""VoteNet's proposals and the meaning of their outputs.

Names of weights are those of facebookresearch/votenet (models/proposal_module.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.pointnet2 import PointSet, SetAbstraction, entries

CENTRE = 2 + 3  # channels before the headings: objectness, centre


class ProposalModule(nn.Module):
    """Groups votes around clusters, and predicts the raw outputs of each cluster's proposal."""

    def __init__(self, aggregation: SetAbstraction, channels: int, outputs: int) -> None:
        super().__init__()
        self.vote_aggregation = aggregation
        self.conv1 = nn.Conv1d(channels, channels, 1)
        self.conv2 = nn.Conv1d(channels, channels, 1)
        self.conv3 = nn.Conv1d(channels, outputs, 1)
        self.bn1, self.bn2 = nn.BatchNorm1d(channels), nn.BatchNorm1d(channels)

    def forward(self, votes: PointSet, index: Tensor, seeds: PointSet) -> tuple[PointSet, Tensor]:
        """The clusters of the votes at an index (B, P), and raw outputs (B, P, D)."""
        clusters = self.vote_aggregation(votes.points, votes.features, index)
        return clusters, self.propose(clusters, seeds)

    def propose(self, clusters: PointSet, seeds: PointSet) -> Tensor:
        """(B, P, D) raw outputs of clusters. seeds: of the whole scene, for context."""
        x = relu(self.bn1(self.conv1(clusters.features)))
        x = self.conv3(relu(self.bn2(self.conv2(x)))).float()
        return x.transpose(1, 2)


@dataclass(frozen=True)
class ProposalOutputs:
    """The outputs of P proposals of B scenes, with their units.

    objectness: (B, P, 2) logits of background and object. centres: (B, P, 3). headings: (B, P, H)
    logits of bins. heading_offsets: (B, P, H) in units of half a bin. sizes: (B, P, S) logits of
    the classes whose mean size is nearest. size_offsets: (B, P, S, 3) in units of the mean size.
    classes: (B, P, C) logits.
    """

    objectness: Tensor
    centres: Tensor
    headings: Tensor
    heading_offsets: Tensor
    sizes: Tensor
    size_offsets: Tensor
    classes: Tensor


def count_outputs(bins: int, classes: int) -> int:
    """Number of raw outputs of a proposal."""
    return CENTRE + 2 * bins + 4 * classes + classes


def read_outputs(raw: Tensor, clusters: Tensor, bins: int, classes: int) -> ProposalOutputs:
    """The raw outputs (B, P, D) of proposals at clusters (B, P, 3)."""
    parts = raw.split([2, 3, bins, bins, classes, 3 * classes, classes], dim=-1)
    objectness, offset, headings, heading_offsets, sizes, size_offsets, labels = parts
    return ProposalOutputs(
        objectness,
        clusters + offset,
        headings,
        heading_offsets,
        sizes,
        size_offsets.unflatten(-1, (classes, 3)),
        labels,
    )


def decode(outputs: ProposalOutputs, bins: HeadingBins, mean_sizes: Tensor) -> Tensor:
    """(B, P, 7) boxes of the most probable bin and mean size. A size can be negative.

    mean_sizes: (S, 3).
    """
    size = outputs.sizes.argmax(dim=-1)
    sizes = mean_sizes[size] * (1 + entries(outputs.size_offsets, size))
    yaw = -bins.likeliest(outputs.headings, outputs.heading_offsets)
    return torch.cat([outputs.centres, sizes, yaw[..., None]], dim=-1)
