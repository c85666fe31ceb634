"""TR3D's and SR3D's loss of a batch: assign, classify, regress (paper Eq. 7 and 8)."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from sr3d.config import AssignerConfig, LossConfig
from sr3d.data.datasets import Dataset
from sr3d.detectors.outputs import GroundTruth, LossTerms, Predictions
from sr3d.geometry.iou import paired_diou_loss, paired_iou
from sr3d.losses.focal import class_targets, focal_loss, positive_rows
from sr3d.losses.inconsistency import average_inconsistency
from sr3d.losses.quality import quality_focal_loss, quality_targets, varifocal_loss
from sr3d.losses.ras import ras_loss
from sr3d.matching.align_ota import align_ota_assign
from sr3d.matching.batching import Scenes
from sr3d.matching.fcaf3d import fcaf3d_assign
from sr3d.matching.simota import simota_assign
from sr3d.matching.spota import spota_assign
from sr3d.matching.tr3d import tr3d_assign


def detection_loss(
    predictions: Predictions,
    truth: GroundTruth,
    dataset: Dataset,
    assigner: AssignerConfig,
    loss: LossConfig,
) -> LossTerms:
    """Eq. 8 over a batch; both terms are divided by its number of positives, as in TR3D."""
    assigned = assign(predictions, truth, dataset, assigner)
    most = most_of_each(assigner, assigned.device)
    positive = positive_rows(assigned, None if most is None else most * len(truth.boxes))
    owner = assigned[positive]
    real, targets = owner >= 0, truth.boxes[owner]
    # Padding meets its own target: that is no loss, and has no gradient.
    boxes = predictions.boxes[positive].where(real[:, None], targets)
    legacy, positives = loss.rotated_diou == "legacy", real.sum()
    count = positives.clamp(min=1)
    box = paired_diou_loss(boxes, targets, dataset.rotated, legacy).sum() / count
    with torch.no_grad():
        ious = paired_iou(boxes, targets, dataset.rotated).clamp(0, 1)
        score = predictions.logits[positive, truth.labels[owner]].sigmoid()
        aic = average_inconsistency(score, ious, real)
    cls = classification_loss(predictions.logits, assigned, truth, ious, loss, most) / count
    return LossTerms(cls, box, positives, aic, divisor=positives)


def most_of_each(config: AssignerConfig, device: torch.device) -> int | None:
    """How many anchors a ground truth gets at most, where a GPU would have to be waited for to say
    how many there are; None on a CPU, and of assigners that do not bound it.
    """
    if device.type == "cpu":
        return None
    return {"spota": config.k, "tr3d": config.k, "fcaf3d": config.fcaf3d_top}.get(config.name)


@torch.no_grad()
def assign(
    predictions: Predictions, truth: GroundTruth, dataset: Dataset, config: AssignerConfig
) -> Tensor:
    """(A,) index into the ground truth of the batch, -1 for a negative."""
    scenes = Scenes(predictions.scenes, truth.scenes, predictions.counts)
    match config.name:
        case "tr3d":
            return tr3d_assign(
                predictions.anchors,
                predictions.levels,
                truth.boxes,
                _levels(dataset, truth),
                k=config.k,
                variant=config.tr3d_variant,
                scenes=scenes,
            )
        case "spota":
            return spota_assign(
                predictions.anchors,
                predictions.levels,
                predictions.boxes,
                truth.boxes,
                _levels(dataset, truth),
                rotated=dataset.rotated,
                k=config.k,
                levels=config.levels,
                mu=config.mu,
                reg_cost=config.reg_cost,
                vertex_distance=config.vertex_distance,
                vertices=config.vertices,
                cls_weight=config.cls_weight,
                logits=predictions.logits,
                gt_labels=truth.labels,
                scenes=scenes,
            )
        case "fcaf3d":
            return fcaf3d_assign(
                predictions.anchors,
                predictions.levels,
                truth.boxes,
                limit=config.fcaf3d_limit,
                top=config.fcaf3d_top,
                scenes=scenes,
            )
        case "simota" | "align_ota":
            by_quality = simota_assign if config.name == "simota" else align_ota_assign
            return by_quality(
                predictions.anchors,
                predictions.strides,
                predictions.boxes,
                predictions.logits,
                truth.boxes,
                truth.labels,
                rotated=dataset.rotated,
                scenes=scenes,
            )


def _levels(dataset: Dataset, truth: GroundTruth) -> Tensor:
    """(M,) the level of each ground truth's class; where unknown, any: none is looked at then
    (`config.check`).
    """
    if not dataset.levels:
        return torch.zeros_like(truth.labels)
    return _on_device(dataset.levels, truth.labels.device)[truth.labels]


@cache
def _on_device(levels: tuple[int, ...], device: torch.device) -> Tensor:
    """Once: a copy to a GPU waits for all work before it."""
    return torch.tensor(levels, device=device)


def classification_loss(
    logits: Tensor,
    assigned: Tensor,
    truth: GroundTruth,
    ious: Tensor,
    config: LossConfig,
    most: int | None = None,
) -> Tensor:
    """Scalar sum over all anchors and classes. ious: (P,) of the `positive_rows`. most: of one
    ground truth, if known.
    """
    match config.cls:
        case "focal":
            targets = class_targets(assigned, truth.labels)
            alpha, gamma = config.focal_alpha, config.focal_gamma
            return focal_loss(logits, targets, alpha=alpha, gamma=gamma).sum()
        case "qfl":
            quality = quality_targets(logits, assigned, truth.labels, ious)
            return quality_focal_loss(logits, quality, beta=config.qfl_beta).sum()
        case "vfl":
            quality = quality_targets(logits, assigned, truth.labels, ious)
            alpha, gamma = config.vfl_alpha, config.vfl_gamma
            return varifocal_loss(logits, quality, alpha=alpha, gamma=gamma).sum()
        case "ras":
            return ras_loss(
                logits,
                assigned,
                truth.labels,
                ious,
                truth.scenes,
                tau=config.tau,
                beta=config.beta,
                form=config.rdl_form,
                rank_scope=config.rank_scope,
                most=most,
                alpha=config.focal_alpha,
                gamma=config.focal_gamma,
            )
