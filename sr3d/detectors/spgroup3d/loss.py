"""SPGroup3D's loss: per scene, then the mean over the scenes.

Source: zyrant/SPGroup3D (projects/spgroup).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.outputs import Losses, Predictions, Total, alone
from sr3d.detectors.spgroup3d.assignment import SPGroup3DAssigner, centre_targets
from sr3d.detectors.spgroup3d.boxes import turned_over
from sr3d.detectors.spgroup3d.config import SPGroup3DLoss
from sr3d.geometry.iou import paired_diou_loss, paired_iou
from sr3d.losses.focal import class_targets, focal_loss
from sr3d.losses.inconsistency import average_inconsistency
from sr3d.losses.positives import Positives
from sr3d.sparse.segments import segment_sizes, segment_sum

_BETA = 0.04  # metres, where the loss of votes becomes linear
_BASE = 1e-6  # weight that is added to each voxel's, also to those without an object
_LEAST = 1e-6  # of the sum of the weights of boxes


@dataclass(frozen=True)
class SuperpointPredictions(Predictions):
    """Predictions of each superpoint, with the logit of its centerness (A,), its box distances
    (A, 6 or 8), see `boxes.distances`, and its features (A, F).
    """

    centerness: Tensor
    coded: Tensor
    features: Tensor

    @property
    def scores(self) -> Tensor:
        """(A, C): class score times centerness."""
        return self.logits.sigmoid() * self.centerness[:, None].sigmoid()


class ObjectVotes(NamedTuple):
    """Of M voxels. offsets: (M, 3) metres to the centre of the object's box, zero without one.
    weights: (M,). scenes: (M,) int64.
    """

    offsets: Tensor
    weights: Tensor
    scenes: Tensor

    @staticmethod
    def of(positions: Tensor, owner: Tensor, scenes: Tensor, truth: GroundTruth) -> ObjectVotes:
        """positions: (M, 3) metres. owner: (M,) ground truth of each voxel, -1 for none."""
        on_object = owner >= 0
        centers = torch.cat([truth.boxes[:, :3], truth.boxes.new_zeros(1, 3)])[owner]
        offsets = torch.where(on_object[:, None], centers - positions, 0)
        count = torch.bincount(scenes)[scenes]
        return ObjectVotes(offsets, on_object / count + _BASE, scenes)


@dataclass(frozen=True)
class SPGroup3DCriterion:
    """Focal loss ("cls"), centerness ("center"), DIoU ("box") and votes ("vote")."""

    assigner: SPGroup3DAssigner
    config: SPGroup3DLoss
    rotated: bool

    def __call__(
        self,
        found: SuperpointPredictions,
        offsets: Tensor,
        votes: ObjectVotes,
        truth: GroundTruth,
        total: Total = alone,
    ) -> Losses:
        """offsets: (M, 3) metres, of the votes. total: see `Detector.loss`.

        Classification and centerness of a scene are divided by its number of positives. Its box
        losses are weighted by true centerness and divided by the sum of the weights.
        """
        config, size = self.config, found.batch_size
        matches = self.assigner(found.anchors, found.boxes.detach(), found.logits, truth)
        positives = Positives.of(matches)
        scene_of = found.anchors.scenes
        scene = scene_of[positives.rows]
        boxes, targets = positives.pairs(found.boxes, truth.boxes)
        central = centre_targets(found.anchors.positions[positives.rows], targets)
        count = segment_sizes(scene, size).clamp(min=1)
        weights = segment_sum(central[:, None], scene, size)[:, 0].clamp(min=_LEAST)

        labels = class_targets(matches, truth.labels)
        focal = focal_loss(found.logits, labels, alpha=config.focal_alpha, gamma=config.focal_gamma)
        logit = found.centerness[positives.rows]
        entropy = binary_cross_entropy_with_logits(logit, central, reduction="none")
        shapes = turned_over(boxes) if self.rotated else boxes
        apart = paired_diou_loss(shapes, targets, self.rotated)
        away = smooth_l1_loss(offsets, votes.offsets, reduction="none", beta=_BETA)
        scenes = total(scene.new_full((), size))
        terms = {
            "cls": config.cls * (focal.sum(dim=1) / count[scene_of]).sum() / scenes,
            "center": config.center * (entropy / count[scene]).sum() / scenes,
            "box": config.box * (apart * central / weights[scene]).sum() / scenes,
            "vote": config.vote * (away.sum(dim=1) * votes.weights).sum() / scenes,
        }
        with torch.no_grad():
            scores = found.logits[positives.rows, truth.labels[positives.owner]].sigmoid()
            scores = scores * logit.sigmoid()
            iou = paired_iou(shapes, targets, self.rotated).clamp(0, 1)
            aic = average_inconsistency(scores, iou, positives, total(positives.count))
        return Losses(terms, {"aic": aic, "positives": positives.count})
