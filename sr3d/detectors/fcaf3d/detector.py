"""FCAF3D: dense heads on four levels of a generative feature pyramid, and a centerness branch.

Loss and selection as in open-mmlab/mmdetection3d (mmdet3d/models/dense_heads/fcaf3d_head.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from sr3d.config import Config, LossConfig, TestConfig
from sr3d.detectors.base import Detector
from sr3d.detectors.common.mink_resnet import MinkResNet
from sr3d.detectors.common.selection import suppress
from sr3d.detectors.fcaf3d.network import FCAF3DHead, RawLevel, decode_distances
from sr3d.detectors.outputs import Detections, GroundTruth, LossTerms, Predictions, anchors_of
from sr3d.detectors.tr3d.loss import assign, most_of_each
from sr3d.geometry.boxes import centerness
from sr3d.geometry.iou import paired_iou
from sr3d.losses.focal import class_targets, focal_loss, positive_rows
from sr3d.losses.inconsistency import average_inconsistency
from sr3d.sparse import SparseTensor
from sr3d.sparse.determinism import deterministic_algorithms
from sr3d.sparse.tensor import PlannedTensor


@dataclass(frozen=True)
class CentredPredictions(Predictions):
    """With the logit of each anchor's centerness, (A,)."""

    centerness: Tensor

    @property
    def scores(self) -> Tensor:
        """(A, C): class score times centerness."""
        return centred_scores(self.logits, self.centerness[:, None])


def centred_scores(cls: Tensor, center: Tensor) -> Tensor:
    """(A, C) scores of class logits (A, C) and centerness logits (A, 1)."""
    return cls.sigmoid() * center.sigmoid()


class FCAF3D(Detector[CentredPredictions]):
    """Backbone, and neck and head in one, because each level is pruned by the coarser's scores."""

    nms_pre_by_level = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.assigner_config, self.loss_config = config.assigner, config.loss
        self.backbone = MinkResNet(config.model)
        self.bbox_head = FCAF3DHead(config.model, len(self.dataset.classes), self.dataset.rotated)

    def levels(self, x: SparseTensor) -> list[RawLevel]:
        """Per level the neck's output, raw box outputs, class logits and centerness logits."""
        return self.bbox_head(self.backbone(x))

    def planned(self, x: PlannedTensor) -> object:
        return self.backbone(x)

    def forward(self, x: SparseTensor) -> CentredPredictions:
        levels, reg, cls, center = zip(*self.run_network(x), strict=True)
        places = anchors_of([level.sites for level in levels], self.config.voxel_size)
        boxes = self.decode(places[0], torch.cat(reg))
        return CentredPredictions(
            *places,
            boxes,
            torch.cat(cls),
            torch.cat(center).squeeze(1),
            counts=[level.sites.counts for level in levels],
        )

    def loss(self, predictions: CentredPredictions, truth: GroundTruth) -> LossTerms:
        assigned = assign(predictions, truth, self.dataset, self.assigner_config)
        most = most_of_each(self.assigner_config, assigned.device)
        return centred_loss(
            predictions, assigned, truth, self.dataset.rotated, self.loss_config, most
        )

    def decode(self, anchors: Tensor, reg: Tensor) -> Tensor:
        return decode_distances(anchors, reg)

    def scores(self, cls: Tensor, *more: Tensor) -> Tensor:
        return centred_scores(cls, *more)

    def select(self, predictions: CentredPredictions) -> Detections:
        return select_by_level(predictions, self.test_config, self.dataset.rotated)


def centred_loss(
    predictions: CentredPredictions,
    assigned: Tensor,
    truth: GroundTruth,
    rotated: bool,
    config: LossConfig,
    most: int | None = None,
) -> LossTerms:
    """Focal, centerness and IoU loss of each scene by itself; the mean over the scenes.

    assigned: (A,) index into the ground truth, -1 for a negative. most: see `most_of_each`. A
    scene's classification and centerness are divided by its positives, its IoU losses, weighted by
    true centerness, by the sum of the weights. A scene without positives trains its classification
    alone.
    """
    positive = positive_rows(assigned, None if most is None else most * len(truth.boxes))
    owner = assigned[positive]
    real = owner >= 0
    scene, boxes = predictions.scenes[positive], truth.boxes[owner]
    found = predictions[positive]
    scenes = predictions.batch_size
    # Padding has no part in any sum.
    target = centerness(found.anchors, boxes).where(real, 0)
    none = target.new_zeros(scenes)
    with deterministic_algorithms(True):
        count = none.index_add(0, scene, real.to(target.dtype)).clamp(min=1)
        weights = none.index_add(0, scene, target).clamp(min=1e-6)

    targets = class_targets(assigned, truth.labels)
    focal = focal_loss(
        predictions.logits, targets, alpha=config.focal_alpha, gamma=config.focal_gamma
    )
    cls = (focal.sum(dim=1) / count[predictions.scenes]).sum() / scenes
    entropy = binary_cross_entropy_with_logits(found.centerness, target, reduction="none")
    center = (entropy.where(real, 0) / count[scene]).sum() / scenes
    iou = paired_iou(found.boxes.where(real[:, None], boxes), boxes, rotated)
    box = ((1 - iou) * target / weights[scene]).sum() / scenes
    with torch.no_grad():
        score = found.scores.gather(1, truth.labels[owner, None]).squeeze(1)
        aic = average_inconsistency(score, iou.clamp(0, 1), real)
    divisor = owner.new_full((), scenes)
    return LossTerms(cls, box, real.sum(), aic, divisor, more={"center": center})


def select_by_level(
    predictions: CentredPredictions, config: TestConfig, rotated: bool
) -> Detections:
    """One scene's anchors to detections: the `nms_pre` best of each level, threshold, NMS."""
    scores = predictions.scores
    best = scores.amax(dim=1)
    rows = []
    for level in predictions.levels.unique():
        own = (predictions.levels == level).nonzero().squeeze(1)
        rows.append(own[best[own].topk(min(config.nms_pre, len(own))).indices])
    top = torch.cat(rows)
    return suppress(predictions.boxes[top], scores[top], config, rotated)
