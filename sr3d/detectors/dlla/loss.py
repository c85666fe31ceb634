"""DLLA's loss of a batch: learned matches, the detector's losses, and those that train the matches.

Source: liuxinrun/dlla at a7ab343. Its boxes and probabilities are not detached where the matcher
reads them, and neither is the IoU that the localisation branch learns. So these losses also train
the boxes and the classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.dlla.config import DLLALoss
from sr3d.detectors.dlla.matcher import Matcher, Noise, as_objects
from sr3d.detectors.dlla.scene_table import SceneTable
from sr3d.detectors.outputs import Losses, Predictions, Total
from sr3d.geometry.iou import paired_diou_loss, paired_iou
from sr3d.losses.clusters import cluster_closeness, cluster_spread, distances
from sr3d.losses.focal import class_targets, focal_loss
from sr3d.losses.inconsistency import average_inconsistency
from sr3d.losses.positives import Positives
from sr3d.matching.dlla import match_by_distance


@dataclass(frozen=True)
class LocalizedPredictions(Predictions):
    """Predictions with the logit of each anchor's localisation quality, (A,)."""

    localization: Tensor

    @property
    def scores(self) -> Tensor:
        """(A, C): geometric mean of class score and localisation quality."""
        return localized_scores(self.logits, self.localization[:, None])


def localized_scores(cls: Tensor, localization: Tensor) -> Tensor:
    """(A, C) scores of class logits (A, C) and localisation logits (A, 1)."""
    return localization.sigmoid().sqrt() * cls.sigmoid().sqrt()


@dataclass(frozen=True)
class LearnedMatches:
    """Candidates with their learned ground truths, and the losses of the matches as scalars."""

    positives: Positives
    terms: dict[str, Tensor]


def no_terms(predictions: Predictions) -> dict[str, Tensor]:
    """The losses of the matches while the rule of the candidates decides: 0 each."""
    zero = predictions.logits.new_zeros(())
    return dict.fromkeys(("inter", "intra", "denoising"), zero)


def learned_assignment(
    predictions: Predictions,
    candidates: Positives,
    truth: GroundTruth,
    matcher: Matcher,
    noise: Noise,
    config: DLLALoss,
    total: Total,
) -> LearnedMatches:
    """Give the candidates to the ground truths of their scenes by learned distances.

    Terms are sums over scenes, divided by the number of all scenes: "inter" of the closeness of
    ground truths, "intra" of the mean spread of candidates, and "denoising" of the mean spread of
    ground truths with noise, which are the queries then.
    """
    size = predictions.batch_size
    query = SceneTable.of(predictions.anchors.scenes[candidates.rows], size)
    key = SceneTable.of(truth.scenes, size)

    found = predictions[candidates.rows]
    objects = as_objects(found.boxes, found.logits.sigmoid())
    labels = one_hot(truth.labels, found.logits.shape[1]).to(objects.dtype)
    truths = as_objects(truth.boxes.to(objects.dtype), labels)
    noised = noise.applied(truths, truth.labels, config)
    queries = matcher.queries(query.fill(objects), query.real)
    keys = matcher.keys(key.fill(truths))
    noisy = matcher.queries(key.fill(noised), key.real)

    owner = match_by_distance(distances(queries.detach(), keys.detach()), query.real, key.real)
    intra = cluster_spread(queries, keys, owner, key.real)
    own = torch.arange(key.real.shape[1], device=owner.device).expand_as(key.real)
    denoising = cluster_spread(noisy, keys, own, key.real)
    closeness = cluster_closeness(keys, key.real).sum(dim=1)

    scenes = total(owner.new_full((), size))
    terms = {
        "inter": config.inter * closeness.sum() / scenes,
        "intra": config.intra * _means(intra, query.real).sum() / scenes,
        "denoising": config.denoising * _means(denoising, key.real).sum() / scenes,
    }
    index = key.fill(torch.arange(len(truth.labels), device=owner.device))
    matched = query.rows(index.gather(1, owner))
    matches = candidates.matches.index_put((candidates.rows,), matched)
    return LearnedMatches(Positives(matches, candidates.rows, matched), terms)


def _means(values: Tensor, real: Tensor) -> Tensor:
    """(B,) means over the real values of each scene, (B, W). 0 without any."""
    return values.where(real, 0).sum(dim=1) / real.sum(dim=1).clamp(min=1)


def localized_loss(
    predictions: LocalizedPredictions,
    assignment: LearnedMatches,
    weights: Tensor,
    truth: GroundTruth,
    config: DLLALoss,
    rotated: bool,
    total: Total,
) -> Losses:
    """Terms "cls", "box" and "localization", and those of the assignment.

    "cls" (focal) and "box" (DIoU) are divided by the number of positives. "localization" is a mean
    over scenes of the mean over positives. weights: (P,) of the box losses. rotated, total: see
    `sr3d.detectors.tr3d.loss.detection_loss`.
    """
    positives = assignment.positives
    count = total(positives.count).clamp(min=1)
    boxes, targets = positives.pairs(predictions.boxes, truth.boxes)
    box = (weights * paired_diou_loss(boxes, targets, rotated)).sum() / count
    labels = class_targets(positives.matches, truth.labels)
    focal = focal_loss(
        predictions.logits, labels, alpha=config.focal_alpha, gamma=config.focal_gamma
    )

    found = predictions[positives.rows]
    iou = paired_iou(boxes, targets, rotated)
    quality = torch.where(iou > config.least_iou, iou, 0)
    entropy = binary_cross_entropy_with_logits(found.localization, quality, reduction="none")
    scene = found.anchors.scenes
    of_scene = (scene == torch.arange(predictions.batch_size, device=scene.device)[:, None]).sum(1)
    scenes = total(scene.new_full((), predictions.batch_size))
    localization = (entropy / of_scene[scene]).sum() / scenes

    with torch.no_grad():
        scores = found.scores.gather(1, truth.labels[positives.owner][:, None])[:, 0]
        aic = average_inconsistency(scores, iou, positives, count)
    terms = {
        "cls": focal.sum() / count,
        "box": box,
        "localization": config.localization * localization,
        **assignment.terms,
    }
    return Losses(terms, {"aic": aic, "positives": positives.count})
