"""Average inconsistency coefficient (AIC): how far scores are from the overlap they should tell."""

from __future__ import annotations

from torch import Tensor


def average_inconsistency(scores: Tensor, ious: Tensor) -> Tensor:
    """Mean of |score − IoU| over positives, both `(P,)` in [0, 1]; a scalar without gradient.

    scores: of the ground truth's class. ious: of the decoded box with its ground truth.
    Without positives the result is 0; skip such steps when averaging a curve.
    Source: the paper's AIC.
    """
    if scores.shape != ious.shape:
        raise ValueError(f"{tuple(scores.shape)} scores but {tuple(ious.shape)} IoUs")
    difference = (scores - ious).abs().detach()
    return difference.sum() / max(difference.numel(), 1)
