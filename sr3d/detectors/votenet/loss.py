"""VoteNet's loss: votes, objectness of proposals, and boxes of positives.

Source: facebookresearch/votenet (models/loss_helper.py). All sums run over the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.point_inputs import PaddedTruth
from sr3d.detectors.common.pointnet2 import entries, rows
from sr3d.detectors.common.proposal_losses import (
    center_loss,
    entropy,
    nearest_truth,
    objectness_loss,
    over,
)
from sr3d.detectors.common.votes import EPSILON
from sr3d.detectors.outputs import Total, alone
from sr3d.detectors.votenet.config import VoteNetLoss
from sr3d.detectors.votenet.network import ProposalOutputs

MAX_BOXES = 64  # ground truths of a scene, padded; a scene with more boxes keeps all


@dataclass(frozen=True)
class Assignment:
    """The ground truth of each proposal, all (B, P).

    owner: int64, the ground truth with the nearest centre. positive: near it. used: near it or far
    from all. Other proposals do not train objectness.
    """

    owner: Tensor
    positive: Tensor
    used: Tensor


@dataclass(frozen=True)
class BoxTargets:
    """The outputs that the owners of P proposals ask for, see `ProposalOutputs`. All (B, P), sizes
    (B, P, 3).
    """

    heading: Tensor
    heading_offset: Tensor
    label: Tensor
    size_offset: Tensor

    @staticmethod
    def of(truth: PaddedTruth, owner: Tensor, bins: HeadingBins, mean: Tensor) -> BoxTargets:
        """mean: (S, 3) mean sizes. A padded ground truth has class 0 and its mean size."""
        heading, heading_offset = bins.encode(-truth.boxes[..., 6])
        size_offset = (truth.boxes[..., 3:6] / mean[truth.labels] - 1) * truth.real[..., None]
        return BoxTargets(
            heading.gather(1, owner),
            heading_offset.gather(1, owner),
            truth.labels.gather(1, owner),
            rows(size_offset, owner),
        )


def assign(clusters: Tensor, truth: PaddedTruth, config: VoteNetLoss) -> Assignment:
    """Assign each cluster of votes (B, P, 3) to the nearest centre of a ground truth."""
    squared, owner = nearest_truth(clusters, truth, config.padded_truth)
    distance = (squared + EPSILON).sqrt()
    positive = distance < config.near
    return Assignment(owner, positive, positive | (distance > config.far))


def proposal_losses(
    outputs: ProposalOutputs,
    assignment: Assignment,
    truth: PaddedTruth,
    bins: HeadingBins,
    mean_sizes: Tensor,
    config: VoteNetLoss,
    total: Total = alone,
) -> Mapping[str, Tensor]:
    """The unweighted terms of proposals by name, each averaged over its own proposals.

    total: see `Detector.loss`.
    """
    positive, used = assignment.positive, assignment.used
    counts = total(torch.stack([positive.sum(), used.sum(), truth.real.sum()]))
    positives, judged, objects = (counts + EPSILON).unbind()
    targets = BoxTargets.of(truth, assignment.owner, bins, mean_sizes)

    def over_positives(values: Tensor) -> Tensor:
        return over(positive, values, positives)

    heading_offset = entries(outputs.heading_offsets, targets.heading)
    size_offset = entries(outputs.size_offsets, targets.label)
    return {
        "objectness": objectness_loss(
            outputs.objectness, positive, used, config.object_weight, judged
        ),
        "center": center_loss(
            outputs.centres, truth, positive, config.padded_truth, positives, objects
        ),
        "heading_class": over_positives(entropy(outputs.headings, targets.heading)),
        "heading_offset": over_positives(_huber(heading_offset, targets.heading_offset)),
        "size_class": over_positives(entropy(outputs.sizes, targets.label)),
        "size_offset": over_positives(_huber(size_offset, targets.size_offset).mean(dim=-1)),
        "label": over_positives(entropy(outputs.classes, targets.label)),
    }


def _huber(found: Tensor, wanted: Tensor) -> Tensor:
    return huber_loss(found, wanted, reduction="none", delta=1.0)
