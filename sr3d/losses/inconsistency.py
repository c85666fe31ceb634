"""Average inconsistency coefficient (AIC): how far scores are from the overlap they should tell."""

from __future__ import annotations

import torch
from torch import Tensor


def average_inconsistency(scores: Tensor, ious: Tensor, real: Tensor | None = None) -> Tensor:
    """Mean of |score − IoU| over positives, both `(P,)` in [0, 1]; a scalar without gradient.

    scores: of the ground truth's class. ious: of the decoded box with its ground truth.
    real: (P,) bool, where they are more than what fills up; everywhere unless given.
    Without positives the result is 0; skip such steps when averaging a curve.
    Source: the paper's AIC.
    """
    if scores.shape != ious.shape:
        raise ValueError(f"{tuple(scores.shape)} scores but {tuple(ious.shape)} IoUs")
    real = torch.ones_like(scores, dtype=torch.bool) if real is None else real
    difference = (scores - ious).abs().detach().where(real, 0)
    return difference.sum() / real.sum().clamp(min=1)
