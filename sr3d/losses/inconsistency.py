"""Average inconsistency coefficient (AIC): the difference between scores and IoU."""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.losses.positives import Positives


@torch.no_grad()
def average_inconsistency(
    scores: Tensor, ious: Tensor, positives: Positives, count: Tensor
) -> Tensor:
    """Mean of |score − IoU| over positives, both `(P,)`. A scalar without gradient.

    scores: of the ground truth's class. ious: of the decoded box with its ground truth. Both are in
    [0, 1]. count: () the divisor of the sum. In multi-GPU training it covers all processes.
    Without positives the result is 0. Skip such steps in averages over steps.
    Source: the paper's AIC.
    """
    return (scores - ious.clamp(0, 1)).abs().sum() / count.clamp(min=1)
