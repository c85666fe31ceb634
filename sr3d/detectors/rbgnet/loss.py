"""RBGNet's loss: votes, foreground scores, anchors on rays, objectness and boxes of the proposals.

Source: Haiyang-W/RBGNet (pcdet/models/dense_heads/rbg_head.py, pcdet/utils/loss_utils.py). All sums
run over the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, smooth_l1_loss

from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch
from sr3d.detectors.common.pointnet2 import PointSet, entries, rows
from sr3d.detectors.common.proposal_losses import (
    center_loss,
    entropy,
    nearest_truth,
    objectness_loss,
    over,
)
from sr3d.detectors.common.votes import EPSILON, in_boxes
from sr3d.detectors.outputs import Total, alone
from sr3d.detectors.rbgnet.backbone import ForegroundSeeds
from sr3d.detectors.rbgnet.config import RBGNetLoss
from sr3d.detectors.rbgnet.network import RAY, RayFeatures, RayGrouping, RayOutputs
from sr3d.detectors.rbgnet.ray_targets import Objects, RayTargets, ray_targets
from sr3d.geometry.iou import paired_iou

_SIZE, _HEADING = 1 / 16, 1 / 25  # where smooth L1 turns linear


@dataclass(frozen=True)
class InsideTargets:
    """What the outputs of P proposals should be, see `RayOutputs`.

    owner: (B, P) int64, the ground truth with the nearest centre. positive: (B, P) bool, near that
    centre and inside its box. used: (B, P) bool, all but those at exactly the greatest distance.
    boxes: (B, P, 7). label, heading_bin: (B, P) int64. heading_offset, scale: (B, P).
    """

    owner: Tensor
    positive: Tensor
    used: Tensor
    boxes: Tensor
    label: Tensor
    heading_bin: Tensor
    heading_offset: Tensor

    @property
    def scale(self) -> Tensor:
        """(B, P) diagonals in metres."""
        return self.boxes[..., 3:6].norm(dim=-1)


def assign(clusters: Tensor, truth: PaddedTruth, bins: HeadingBins, near: float) -> InsideTargets:
    """The targets of proposals at clusters (B, P, 3), each of the nearest ground truth.

    near: greatest distance of a positive to the centre, in metres.
    """
    squared, owner = nearest_truth(clusters, truth, padded=False)
    distance = (squared + EPSILON).sqrt()
    inside = in_boxes(clusters, truth.boxes).gather(1, owner[:, None])[:, 0]
    boxes = rows(truth.boxes, owner)
    return InsideTargets(
        owner,
        (distance < near) & inside,
        distance != near,
        boxes,
        truth.labels.gather(1, owner),
        *bins.encode(-boxes[..., 6]),
    )


def proposal_losses(
    outputs: RayOutputs,
    boxes: Tensor,
    targets: InsideTargets,
    truth: PaddedTruth,
    config: RBGNetLoss,
    total: Total = alone,
) -> Mapping[str, Tensor]:
    """The unweighted terms of proposals by name. boxes: (B, P, 7) decoded. total: see
    `Detector.loss`.
    """
    positive, used = targets.positive, targets.used
    counts = total(torch.stack([positive.sum(), used.sum(), truth.real.sum()]))
    positives, judged, objects = (counts + EPSILON).unbind()

    def over_positives(values: Tensor) -> Tensor:
        return over(positive, values, positives)

    size = _smooth(outputs.sizes, targets.boxes[..., 3:6], _SIZE).sum(dim=-1)
    heading_offset = entries(outputs.heading_offsets, targets.heading_bin)
    return {
        "objectness": objectness_loss(
            outputs.objectness, positive, used, config.object_weight, judged
        ),
        "center": center_loss(
            outputs.centres, truth, positive, config.padded_truth, positives, objects
        ),
        "scale": over_positives(_smooth(outputs.scale, targets.scale, _SIZE)),
        "size": over_positives(size),
        "heading_class": over_positives(entropy(outputs.headings, targets.heading_bin)),
        "heading_offset": over_positives(_smooth(heading_offset, targets.heading_offset, _HEADING)),
        "label": over_positives(entropy(outputs.classes, targets.label)),
        "iou": over_positives(1 - paired_iou(boxes, targets.boxes, rotated=False)),
    }


def ray_losses(
    clusters: PointSet,
    scale: Tensor,
    grouped: RayFeatures,
    rays: RayGrouping,
    targets: InsideTargets,
    objects: Objects,
    config: RBGNetLoss,
    total: Total = alone,
) -> Mapping[str, Tensor]:
    """Cross entropy of the scores of coarse and fine anchors that positives have near a point,
    averaged over these anchors, and halved as both classes weigh a half.

    scale: (B, P), the predicted diagonals, which the rays follow.
    """
    positive = targets.positive
    scene, owner = positive.nonzero()[:, 0], targets.owner[positive]
    hits = grouped.coarse.hits
    if config.fine_anchors == "network":
        hits = hits & grouped.coarse.mask
    with torch.no_grad():
        centres, length = clusters.points[positive], scale[positive] * RAY
        coarse = rays.coarse_anchors(centres[None], length[None])[0]
        fine = rays.fine_anchors(centres[None], length[None], hits[positive][None])[0]
    losses = {}
    for name, anchors, branch, found in (
        ("coarse", coarse, rays.coarse, grouped.coarse),
        ("fine", fine, rays.fine, grouped.fine),
    ):
        wanted = ray_targets(anchors.flatten(1, 2), scene, owner, objects, branch.radius)
        scores = found.scores.unflatten(2, (positive.shape[1], -1)).transpose(1, 2)[positive]
        losses[name] = _ray_loss(scores, wanted, total)
    return losses


def _ray_loss(scores: Tensor, targets: RayTargets, total: Total) -> Tensor:
    """scores: (V, 2, A)."""
    each = cross_entropy(scores, targets.own.long(), reduction="none") / 2
    return (each * targets.near).sum() / (total(targets.near.sum()) + EPSILON)


def foreground_losses(
    seeds: ForegroundSeeds,
    batch: PointBatch,
    truth: PaddedTruth,
    object_weight: float,
    total: Total = alone,
) -> list[Tensor]:
    """Cross entropy of the scores of each level but the last, averaged over its points. Class
    weights multiply it.
    """
    losses = []
    for level, logits in zip(seeds.levels[:-1], seeds.logits, strict=True):
        if batch.instance is None:
            inside = in_boxes(level.points, truth.boxes) & truth.real[..., None]
            foreground = inside.any(dim=1)
        else:
            foreground = batch.instance.gather(1, level.index) >= 0
        weights = logits.new_tensor([1 - object_weight, object_weight])
        each = cross_entropy(logits, foreground.long(), weights, reduction="none")
        count = torch.tensor(foreground.numel(), device=each.device)
        losses.append(each.sum() / total(count))
    return losses


def _smooth(found: Tensor, wanted: Tensor, beta: float) -> Tensor:
    return smooth_l1_loss(found, wanted, reduction="none", beta=beta)
