"""Focal loss on independent (sigmoid) classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from sr3d.data.ground_truth import IGNORED, NEGATIVE


def focal_loss(
    logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2.0
) -> Tensor:
    """-alpha (1 - p)^gamma log p on the target class, -(1 - alpha) p^gamma log(1 - p) elsewhere.

    Source: Lin et al. 2017b, Eq. 5, per class as in RetinaNet and TR3D.

    Args:
        logits: (N, C).
        targets: (N,) int64 class index, -1 or C for background, -2 for an ignored row. Or a one-hot
            (N, C).

    Returns:
        (N, C), neither summed nor normalised. Ignored rows are 0.
    """
    if targets.ndim == 1:
        object_ = (targets >= 0) & (targets < logits.shape[1])
        channel = torch.where(object_, targets, 0)[:, None]
        hot = torch.zeros_like(logits).scatter_(1, channel, object_[:, None].to(logits.dtype))
    else:
        hot = targets.to(logits.dtype)
    wrong = logits * (1 - 2 * hot)  # logit of the probability of being wrong
    weight = (1 - alpha) + (2 * alpha - 1) * hot
    entropy = -logsigmoid(-wrong)
    # p^gamma through log p: its gradient stays finite if p underflows.
    loss = weight * torch.exp(gamma * (wrong - entropy)) * entropy
    return loss if targets.ndim > 1 else without_ignored(loss, targets)


def without_ignored(loss: Tensor, matches: Tensor) -> Tensor:
    """(N, C) with zeros in the rows whose match or target (N,) is `IGNORED`."""
    return loss.where((matches != IGNORED)[:, None], 0)


def class_targets(matches: Tensor, gt_labels: Tensor) -> Tensor:
    """(N,) matches and (M,) labels to the (N,) class index, -1 for a negative, -2 for ignored."""
    beyond = [gt_labels.new_full((1,), value) for value in (IGNORED, NEGATIVE)]
    return torch.cat([gt_labels, *beyond])[matches]  # indices -1 and -2 count from the end
