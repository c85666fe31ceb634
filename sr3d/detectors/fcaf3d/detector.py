"""FCAF3D: dense heads on four levels of a generative feature pyramid, and a centerness branch.

Loss and selection follow open-mmlab/mmdetection3d (mmdet3d/models/dense_heads/fcaf3d_head.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.common.mink_resnet import MinkResNet
from sr3d.detectors.common.selection import suppress
from sr3d.detectors.common.sparse_detector import SparseDetector
from sr3d.detectors.fcaf3d.config import FCAF3DConfig, FCAF3DInference, FCAF3DLoss, FCAF3DModel
from sr3d.detectors.fcaf3d.network import FCAF3DHead, RawLevel, decode_distances
from sr3d.detectors.outputs import Detections, Losses, Predictions, Total, alone, anchors_of
from sr3d.geometry.boxes import centerness
from sr3d.geometry.iou import paired_iou
from sr3d.losses.focal import class_targets, focal_loss
from sr3d.losses.inconsistency import average_inconsistency
from sr3d.losses.positives import Positives
from sr3d.matching.assigner import Assigner
from sr3d.matching.fcaf3d import FCAF3DAssigner
from sr3d.sparse import SparseTensor
from sr3d.sparse.determinism import deterministic_algorithms
from sr3d.sparse.tensor import PlannedTensor


@dataclass(frozen=True)
class CentredPredictions(Predictions):
    """Predictions with the logit of each anchor's centerness, (A,)."""

    centerness: Tensor

    @property
    def scores(self) -> Tensor:
        """(A, C): class score times centerness."""
        return centred_scores(self.logits, self.centerness[:, None])


def centred_scores(cls: Tensor, center: Tensor) -> Tensor:
    """(A, C) scores of class logits (A, C) and centerness logits (A, 1)."""
    return cls.sigmoid() * center.sigmoid()


class FCAF3D(SparseDetector[CentredPredictions]):
    """Backbone and FCAF3D's head. Neck and head are one module, which prunes level by level."""

    nms_pre_by_level = True

    config: FCAF3DModel
    inference: FCAF3DInference

    def __init__(self, config: FCAF3DConfig) -> None:
        super().__init__(config)
        limits = config.assigner
        self.assigner = FCAF3DAssigner(limits.fcaf3d_limit, limits.fcaf3d_top)
        self.loss_config = config.loss
        self.backbone = MinkResNet(config.model)
        self.bbox_head = FCAF3DHead(config.model, len(self.dataset.classes), self.dataset.rotated)

    def levels(self, x: SparseTensor) -> list[RawLevel]:
        """Per level: the neck's output, raw box outputs, class logits and centerness logits."""
        return self.bbox_head(self.backbone(x))

    def planned(self, x: PlannedTensor) -> object:
        return self.backbone(x)

    def forward(self, x: SparseTensor) -> CentredPredictions:
        levels, reg, cls, center = zip(*self.run_network(x), strict=True)
        anchors = anchors_of([lv.sites for lv in levels], self.config.voxel_size)
        boxes = self.decode(anchors.positions, torch.cat(reg))
        return CentredPredictions(anchors, boxes, torch.cat(cls), torch.cat(center).squeeze(1))

    def loss(
        self, predictions: CentredPredictions, truth: GroundTruth, total: Total = alone
    ) -> Losses:
        rotated = self.dataset.rotated
        return centred_loss(predictions, truth, self.assigner, self.loss_config, rotated, total)

    def stages(self) -> dict[str, str]:
        """The stage "head" includes the neck."""
        convs = {f"bbox_head.conv_{kind}": "head" for kind in ("center", "reg", "cls")}
        return {"backbone": "backbone", "bbox_head": "neck", **convs}

    def decode(self, anchors: Tensor, reg: Tensor) -> Tensor:
        return decode_distances(anchors, reg)

    def scores(self, cls: Tensor, *more: Tensor) -> Tensor:
        return centred_scores(cls, *more)

    def select(self, predictions: CentredPredictions) -> Detections:
        return select_by_level(predictions, self.inference, self.dataset.rotated)


def centred_loss(
    predictions: CentredPredictions,
    truth: GroundTruth,
    assigner: Assigner,
    config: FCAF3DLoss,
    rotated: bool,
    total: Total = alone,
) -> Losses:
    """The mean over scenes of focal ("cls"), centerness ("center") and IoU loss ("box").

    Classification and centerness of a scene are divided by its number of positives. Its IoU losses
    are weighted by true centerness and divided by the sum of the weights. A scene without positives
    trains classification only. rotated, total: see `detection_loss`.
    """
    matches = assigner(predictions.anchors, predictions.boxes, predictions.logits, truth)
    positives = Positives.of(matches)
    scene_of = predictions.anchors.scenes
    scene = scene_of[positives.rows]
    boxes, targets = positives.pairs(predictions.boxes, truth.boxes)
    central = centerness(predictions.anchors.positions[positives.rows], targets)

    none = central.new_zeros(predictions.batch_size)
    with deterministic_algorithms(True):
        count = none.index_add(0, scene, torch.ones_like(central)).clamp(min=1)
        weights = none.index_add(0, scene, central).clamp(min=1e-6)
    scenes = total(scene.new_full((), len(none)))

    logits, labels = predictions.logits, class_targets(matches, truth.labels)
    focal = focal_loss(logits, labels, alpha=config.focal_alpha, gamma=config.focal_gamma)
    cls = (focal.sum(dim=1) / count[scene_of]).sum() / scenes
    found = predictions.centerness[positives.rows]
    entropy = binary_cross_entropy_with_logits(found, central, reduction="none")
    center = (entropy / count[scene]).sum() / scenes
    iou = paired_iou(boxes, targets, rotated)
    box = ((1 - iou) * central / weights[scene]).sum() / scenes
    with torch.no_grad():
        scores = predictions.logits[positives.rows, truth.labels[positives.owner]].sigmoid()
        scores = scores * found.sigmoid()
        aic = average_inconsistency(scores, iou, positives, total(positives.count))
    terms = {"cls": cls, "box": box, "center": center}
    return Losses(terms, {"aic": aic, "positives": positives.count})


def select_by_level(
    predictions: CentredPredictions, config: FCAF3DInference, rotated: bool
) -> Detections:
    """One scene's detections: the `nms_pre` best anchors of each level, threshold, NMS."""
    scores = predictions.scores
    best = scores.amax(dim=1)
    rows = []
    for level in predictions.anchors.levels.unique():
        own = (predictions.anchors.levels == level).nonzero().squeeze(1)
        rows.append(own[best[own].topk(min(config.nms_pre, len(own))).indices])
    top = torch.cat(rows)
    return suppress(predictions.boxes[top], scores[top], config, rotated)
