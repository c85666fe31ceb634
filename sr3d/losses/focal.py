"""Focal loss on independent (sigmoid) classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def focal_loss(
    logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2.0
) -> Tensor:
    """-alpha (1 - p)^gamma log p on the target class, -(1 - alpha) p^gamma log(1 - p) elsewhere.

    Source: Lin et al. 2017b, Eq. 5, per class as in RetinaNet and TR3D.

    Args:
        logits: (N, C).
        targets: (N,) int64 class index, -1 or C for background; or a one-hot (N, C).

    Returns:
        (N, C), neither summed nor normalised.
    """
    if targets.ndim == 1:
        hot = torch.zeros_like(logits)
        object_ = ((targets >= 0) & (targets < logits.shape[1])).nonzero().squeeze(1)
        hot[object_, targets[object_]] = 1
    else:
        hot = targets.to(logits.dtype)
    wrong = logits * (1 - 2 * hot)  # logit of the probability of being wrong
    weight = (1 - alpha) + (2 * alpha - 1) * hot
    entropy = -logsigmoid(-wrong)
    # p^gamma through log p: its gradient stays finite where p underflows.
    return weight * torch.exp(gamma * (wrong - entropy)) * entropy


def class_targets(assigned: Tensor, gt_labels: Tensor) -> Tensor:
    """(N,) index of a ground truth or -1, and (M,) labels, to the (N,) class index or -1."""
    targets = torch.full_like(assigned, -1)
    positive = assigned >= 0
    targets[positive] = gt_labels[assigned[positive]]
    return targets
