"""Parts of the losses of proposals, which VoteNet and its successors share.

P proposals of B scenes. Source: facebookresearch/votenet (models/loss_helper.py).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sr3d.detectors.common.point_inputs import PaddedTruth


def over(positive: Tensor, values: Tensor, count: Tensor) -> Tensor:
    """The sum of values (B, P) over positives (B, P), divided by their number in all processes.

    Values of other proposals may be infinite or NaN.
    """
    return values.where(positive, 0).sum() / count


def entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """(B, P) cross entropy of logits (B, P, C). Class weights multiply it, without a mean."""
    return cross_entropy(logits.transpose(1, 2), labels, weights, reduction="none")


def objectness_loss(
    logits: Tensor, positive: Tensor, used: Tensor, object_weight: float, count: Tensor
) -> Tensor:
    """Cross entropy of logits (B, P, 2), averaged over the proposals that are used.

    object_weight: of positives. Negatives weigh 1 - object_weight. count: number of those used, in
    all processes.
    """
    weights = logits.new_tensor([1 - object_weight, object_weight])
    return (entropy(logits, positive.long(), weights) * used).sum() / count


def center_loss(
    centres: Tensor,
    truth: PaddedTruth,
    positive: Tensor,
    padded: bool,
    positives: Tensor,
    objects: Tensor,
) -> Tensor:
    """Squared distances of positives' centres (B, P, 3) to the nearest ground truth, and back.

    padded: see `nearest_truth`. positives, objects: their numbers in all processes.
    """
    to_truth, _ = nearest_truth(centres, truth, padded)
    from_truth = _squared_distances(truth.boxes[..., :3], centres).amin(dim=2)
    return over(positive, to_truth, positives) + (from_truth * truth.real).sum() / objects


def nearest_truth(points: Tensor, truth: PaddedTruth, padded: bool) -> tuple[Tensor, Tensor]:
    """Squared distance to the nearest centre of points (B, P, 3), and whose centre it is.

    padded: look among padded ground truths too, whose centre is the origin. Without real ground
    truths, and without padded ones, the distance is infinite.
    """
    squared = _squared_distances(points, truth.boxes[..., :3])
    if not padded:
        squared = squared.masked_fill(~truth.real[:, None], torch.inf)
    return squared.min(dim=2)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """(B, N, M) between points (B, N, 3) and (B, M, 3)."""
    return (a[:, :, None] - b[:, None]).square().sum(dim=-1)
