"""GroupFree's loss: focal losses of seeds and queries, and the boxes of every stage.

Source: zeliu98/Group-Free-3D (models/loss_helper.py). All sums run over the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, smooth_l1_loss

from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.point_inputs import PaddedTruth
from sr3d.detectors.common.pointnet2 import entries, rows
from sr3d.detectors.common.proposal_losses import entropy, over
from sr3d.detectors.groupfree.assignment import EPSILON, QueryAssignment, to_learn
from sr3d.detectors.groupfree.config import GroupFreeLoss
from sr3d.detectors.groupfree.network import GroupFreePredictions, Stage
from sr3d.detectors.outputs import Total, alone
from sr3d.losses.focal import focal_loss

Terms = Mapping[str, Tensor]


@dataclass(frozen=True)
class Targets:
    """What the K queries of B scenes learn. The values of negatives have no meaning.

    centers: (B, K, 3) metres. headings: (B, K) int64 bins. heading_offsets: (B, K) half bins.
    sizes: (B, K, 3) metres. labels: (B, K) int64.
    """

    centers: Tensor
    headings: Tensor
    heading_offsets: Tensor
    sizes: Tensor
    labels: Tensor

    @staticmethod
    def of(boxes: Tensor, labels: Tensor, matches: Tensor, bins: HeadingBins) -> Targets:
        """boxes: (B, G, 7). labels: (B, G). matches: (B, K)."""
        index = matches.clamp(min=0)
        own = rows(boxes, index)
        headings, offsets = bins.encode(-own[..., 6])
        return Targets(own[..., :3], headings, offsets, own[..., 3:6], labels.gather(1, index))


def unweighted_losses(
    predictions: GroupFreePredictions,
    truth: PaddedTruth,
    assignment: QueryAssignment,
    bins: HeadingBins,
    config: GroupFreeLoss,
    mean_sizes: Tensor | None,
    total: Total = alone,
) -> tuple[Tensor, Mapping[str, Terms]]:
    """The focal loss of the seeds, and the terms of each stage by name.

    mean_sizes: (C, 3), None if the stages predict metres. total: see `Detector.loss`.
    """
    positive = assignment.positive
    scenes = total(positive.new_full((), len(positive), dtype=torch.int64))
    positives = total(positive.sum())
    boxes = to_learn(truth.boxes, config.size_target)
    targets = Targets.of(boxes, truth.labels, assignment.matches, bins)
    sampling = _mean_focal(predictions.seed_logits, assignment.near, config) / scenes
    stages = {
        name: {
            "objectness": _mean_focal(stage.objectness, positive, config) / scenes,
            **_box_losses(stage, targets, positive, positives, config, mean_sizes),
        }
        for name, stage in predictions.stages.items()
    }
    return sampling, stages


def weighted_losses(
    sampling: Tensor, stages: Mapping[str, Terms], config: GroupFreeLoss
) -> dict[str, Tensor]:
    """The terms that training minimises: each the mean over the stages, with its weight."""
    weights = {
        "objectness": config.objectness,
        "center": config.center,
        "heading_class": config.heading_class,
        "heading_offset": 1.0,
        "size_class": config.size_class,
        "size": 1.0,
        "label": config.label,
    }
    terms = {"sampling": config.total * config.sampling * sampling}
    for name in next(iter(stages.values())):
        mean = torch.stack([stage[name] for stage in stages.values()]).mean()
        terms[name] = config.total * weights[name] * mean
    return terms


def _mean_focal(logits: Tensor, positive: Tensor, config: GroupFreeLoss) -> Tensor:
    """The mean over the rows of each scene, summed over scenes. logits, positive: (B, N)."""
    alpha, gamma = config.focal_alpha, config.focal_gamma
    losses = focal_loss(
        logits.flatten()[:, None], positive.flatten()[:, None], alpha=alpha, gamma=gamma
    )
    return losses.sum() / logits.shape[1]


def _box_losses(
    stage: Stage,
    targets: Targets,
    positive: Tensor,
    positives: Tensor,
    config: GroupFreeLoss,
    mean_sizes: Tensor | None,
) -> Terms:
    """Sums over the positive queries, divided by their number `positives`.

    The loss of centres lacks the factor delta of the other Huber losses, as published.
    """

    def over_positives(values: Tensor) -> Tensor:
        return over(positive, values, positives + EPSILON)

    beta = config.center_delta
    center = smooth_l1_loss(stage.centers, targets.centers, reduction="none", beta=beta)
    offset = entries(stage.heading_offsets, targets.headings)
    heading = _huber(offset, targets.heading_offsets, config.heading_delta)
    found = {
        "center": over_positives(center.sum(dim=2)),
        "heading_class": over_positives(entropy(stage.headings, targets.headings)),
        "heading_offset": over_positives(heading),
        "label": over_positives(entropy(stage.classes, targets.labels)),
    }
    labels = targets.labels
    if mean_sizes is None or stage.size_classes is None or stage.size_offsets is None:
        size = _huber(stage.sizes, targets.sizes, config.size_delta)
    else:
        found["size_class"] = over_positives(entropy(stage.size_classes, labels))
        own, mean = entries(stage.size_offsets, labels), mean_sizes[labels]
        size = _huber(own, targets.sizes / mean - 1, config.size_delta)
    return {**found, "size": over_positives(size.sum(dim=2))}


def _huber(found: Tensor, wanted: Tensor, delta: float) -> Tensor:
    return huber_loss(found, wanted, reduction="none", delta=delta)
