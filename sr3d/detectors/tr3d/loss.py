"""TR3D's and SR3D's loss of a batch: match, classify, regress (paper Eq. 7 and 8)."""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.outputs import Losses, Predictions, Total, alone
from sr3d.detectors.tr3d.config import LossConfig
from sr3d.geometry.iou import paired_diou_loss, paired_iou
from sr3d.losses.focal import class_targets, focal_loss, without_ignored
from sr3d.losses.inconsistency import average_inconsistency
from sr3d.losses.positives import Positives
from sr3d.losses.quality import quality_focal_loss, quality_targets, varifocal_loss
from sr3d.losses.ras import ras_loss
from sr3d.matching.assigner import Assigner


def detection_loss(
    predictions: Predictions,
    truth: GroundTruth,
    assigner: Assigner,
    config: LossConfig,
    rotated: bool,
    total: Total = alone,
) -> Losses:
    """Eq. 8 over a batch: terms "cls" and "box", divided by the number of positives, as in TR3D.

    rotated: whether boxes have a yaw. total: sums a count over the processes of the run.
    """
    matches = assigner(predictions.anchors, predictions.boxes, predictions.logits, truth)
    positives = Positives.of(matches)
    count = total(positives.count).clamp(min=1)

    boxes, targets = positives.pairs(predictions.boxes, truth.boxes)
    box = paired_diou_loss(boxes, targets, rotated, config.rotated_diou == "legacy").sum() / count
    with torch.no_grad():
        ious = paired_iou(boxes, targets, rotated).clamp(0, 1)
        scores = predictions.logits[positives.rows, truth.labels[positives.owner]].sigmoid()
        aic = average_inconsistency(scores, ious, positives, count)
    cls = classification_loss(predictions.logits, positives, truth, ious, config) / count
    return Losses({"cls": cls, "box": box}, {"aic": aic, "positives": positives.count})


def classification_loss(
    logits: Tensor, positives: Positives, truth: GroundTruth, ious: Tensor, config: LossConfig
) -> Tensor:
    """Scalar sum over all anchors and classes, (A, C). ious: (P,) of the positives."""
    alpha, gamma = config.focal_alpha, config.focal_gamma
    match config.cls:
        case "focal":
            targets = class_targets(positives.matches, truth.labels)
            return focal_loss(logits, targets, alpha=alpha, gamma=gamma).sum()
        case "qfl":
            quality = quality_targets(logits, positives, truth.labels, ious)
            loss = quality_focal_loss(logits, quality, beta=config.qfl_beta)
            return without_ignored(loss, positives.matches).sum()
        case "vfl":
            quality = quality_targets(logits, positives, truth.labels, ious)
            loss = varifocal_loss(logits, quality, alpha=config.vfl_alpha, gamma=config.vfl_gamma)
            return without_ignored(loss, positives.matches).sum()
        case "ras":
            return ras_loss(
                logits,
                positives,
                truth.labels,
                ious,
                truth.scenes if config.rank_scope == "image" else None,
                tau=config.tau,
                beta=config.beta,
                form=config.rdl_form,
                alpha=alpha,
                gamma=gamma,
            )
