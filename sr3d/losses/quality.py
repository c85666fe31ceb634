"""Quality-aware classification losses: the soft target of a positive is the IoU of its box.

The paper's Table 5 compares RAS with them. Both are sums over independent (sigmoid) classes,
without normalisation. The target q, the IoU, has no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from sr3d.losses.focal import class_targets
from sr3d.losses.positives import Positives


def quality_targets(
    logits: Tensor, positives: Positives, gt_labels: Tensor, ious: Tensor
) -> Tensor:
    """(N, C) targets: q on the class of every positive's ground truth, 0 elsewhere.

    gt_labels: (M,). ious: (P,) of the positives.
    """
    positive = positives.matches >= 0
    padded = torch.cat([ious.detach().clamp(0, 1), ious.new_zeros(1)]).to(logits.dtype)
    quality = padded[torch.where(positive, positive.cumsum(dim=0) - 1, -1)]  # -1: the last entry
    channel = class_targets(positives.matches, gt_labels).clamp(min=0)
    return torch.zeros_like(logits).scatter_(1, channel[:, None], quality[:, None])


def quality_focal_loss(logits: Tensor, targets: Tensor, *, beta: float = 2.0) -> Tensor:
    """|q - p|^beta · BCE(p, q), (N, C) to (N, C).

    Source: Li et al. 2020b (GFL), Eq. 3, and mmdet's QualityFocalLoss.
    """
    scale = (targets - logits.sigmoid()).abs() ** beta
    return scale * binary_cross_entropy_with_logits(logits, targets, reduction="none")


def varifocal_loss(
    logits: Tensor, targets: Tensor, *, alpha: float = 0.75, gamma: float = 2.0
) -> Tensor:
    """q · BCE(p, q) where q > 0, alpha p^gamma BCE(p, 0) elsewhere, (N, C) to (N, C).

    A positive whose box misses its ground truth (q = 0) counts as a negative, as in the original.
    Source: Zhang et al. 2021 (VarifocalNet), Eq. 2, and mmdet's VarifocalLoss.
    """
    weight = torch.where(targets > 0, targets, alpha * logits.sigmoid() ** gamma)
    return weight * binary_cross_entropy_with_logits(logits, targets, reduction="none")
