"""BRNet's loss: votes, objectness and boxes of the proposals, and boxes and classes refined.

Source: cheng052/BRNet (models/dense_heads/class_agnostic_vote_head.py,
models/roi_heads/bbox_heads/br_bbox_head.py, models/utils/dir_refine_loss.py). All sums run over the
whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from sr3d.detectors.brnet.config import BRNetLoss
from sr3d.detectors.brnet.network import faces_of
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.point_inputs import PaddedTruth
from sr3d.detectors.common.pointnet2 import entries, rows
from sr3d.detectors.common.proposal_losses import (
    entropy,
    nearest_truth,
    objectness_loss,
    over,
)
from sr3d.detectors.common.votes import EPSILON
from sr3d.detectors.outputs import Total, alone


@dataclass(frozen=True)
class StageOutputs:
    """The outputs of P proposals of B scenes.

    references: (B, P, 3), the clusters of votes. objectness: (B, P, 2) logits. distances,
    refined_distances: (B, P, 6) metres, see `network`. headings: (B, P, H) logits of bins.
    heading_offsets: (B, P, H) in units of half a bin. heading, refined_heading: (B, P) radians.
    classes: (B, P, C) logits.
    """

    references: Tensor
    objectness: Tensor
    distances: Tensor
    headings: Tensor
    heading_offsets: Tensor
    heading: Tensor
    refined_distances: Tensor
    refined_heading: Tensor
    classes: Tensor


@dataclass(frozen=True)
class FaceTargets:
    """What the outputs of P proposals should be, see `StageOutputs`.

    positive: (B, P) bool, near the centre of a ground truth and inside its box. used: (B, P) bool,
    all but those at exactly the greatest distance. distances: (B, P, 6), with a gradient of the
    references: the loss of distances also moves the votes. heading_bin, label: (B, P) int64.
    heading, heading_offset: (B, P).
    """

    positive: Tensor
    used: Tensor
    distances: Tensor
    heading: Tensor
    heading_bin: Tensor
    heading_offset: Tensor
    label: Tensor


def assign(references: Tensor, truth: PaddedTruth, bins: HeadingBins, near: float) -> FaceTargets:
    """The targets of proposals with references (B, P, 3), each of the nearest ground truth.

    near: greatest distance of a positive to the centre, in metres.
    """
    squared, owner = nearest_truth(references, truth, padded=False)
    distance = (squared + EPSILON).sqrt()
    boxes = rows(truth.boxes, owner)
    faces = faces_of(references, boxes)
    positive = (distance < near) & (faces >= 0).all(dim=-1)
    heading = -boxes[..., 6]
    heading_bin, heading_offset = bins.encode(heading)
    return FaceTargets(
        positive,
        distance != near,
        faces.clamp(min=0),
        heading,
        heading_bin,
        heading_offset,
        truth.labels.gather(1, owner),
    )


def proposal_losses(
    outputs: StageOutputs,
    targets: FaceTargets,
    bins: HeadingBins,
    config: BRNetLoss,
    total: Total = alone,
) -> Mapping[str, Tensor]:
    """The unweighted terms of proposals by name, each averaged over its own proposals.

    total: see `Detector.loss`.
    """
    positive, used = targets.positive, targets.used
    positives, judged = (total(torch.stack([positive.sum(), used.sum()])) + EPSILON).unbind()

    def over_positives(values: Tensor) -> Tensor:
        return over(positive, values, positives)

    heading_offset = entries(outputs.heading_offsets, targets.heading_bin)
    refined = heading_refinement(
        outputs.refined_heading, targets.heading, bins, config.one_sided_heading
    )
    return {
        "objectness": objectness_loss(
            outputs.objectness, positive, used, config.object_weight, judged
        ),
        "heading_class": over_positives(entropy(outputs.headings, targets.heading_bin)),
        "heading_offset": over_positives(_smooth(heading_offset, targets.heading_offset, 1.0)),
        "size": over_positives(_sum(outputs.distances, targets.distances)),
        "size_refined": over_positives(_sum(outputs.refined_distances, targets.distances)),
        "heading_refined": over_positives(refined),
        "label": over_positives(entropy(outputs.classes, targets.label)),
    }


def heading_refinement(found: Tensor, wanted: Tensor, bins: HeadingBins, one_sided: bool) -> Tensor:
    """The loss of refined headings (…) in radians. Axis-aligned boxes want 0.

    one_sided: the original wraps a difference above half a turn, but not one below minus half a
    turn, which then costs nothing.
    """
    if bins.count == 1:
        return _smooth(found, torch.zeros_like(found), 3.14)
    turn = 2 * math.pi
    difference = torch.remainder(wanted, turn) - torch.remainder(found, turn)
    difference = torch.where(difference > math.pi, difference - turn, difference)
    below = difference < -math.pi
    wrapped = torch.zeros_like(difference) if one_sided else difference + turn
    difference = torch.where(below, wrapped, difference)
    return torch.nn.functional.huber_loss(
        difference, torch.zeros_like(difference), reduction="none", delta=bins.width / 2
    )


def _sum(found: Tensor, wanted: Tensor) -> Tensor:
    return _smooth(found, wanted, 0.15).sum(dim=-1)


def _smooth(found: Tensor, wanted: Tensor, beta: float) -> Tensor:
    return smooth_l1_loss(found, wanted, reduction="none", beta=beta)
