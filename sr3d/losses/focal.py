"""Focal loss on independent (sigmoid) classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from sr3d.sparse.packing import kept_first


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
        object_ = (targets >= 0) & (targets < logits.shape[1])
        channel = torch.where(object_, targets, 0)[:, None]
        hot = torch.zeros_like(logits).scatter_(1, channel, object_[:, None].to(logits.dtype))
    else:
        hot = targets.to(logits.dtype)
    wrong = logits * (1 - 2 * hot)  # logit of the probability of being wrong
    weight = (1 - alpha) + (2 * alpha - 1) * hot
    entropy = -logsigmoid(-wrong)
    # p^gamma through log p: its gradient stays finite where p underflows.
    return weight * torch.exp(gamma * (wrong - entropy)) * entropy


def class_targets(assigned: Tensor, gt_labels: Tensor) -> Tensor:
    """(N,) index of a ground truth or -1, and (M,) labels, to the (N,) class index or -1."""
    return torch.cat([gt_labels, gt_labels.new_full((1,), -1)])[assigned]  # -1 takes the last


def positive_rows(assigned: Tensor, most: int | None = None) -> Tensor:
    """(P,) the rows of (N,) that are 0 or above, ascending.

    most: P, if no more rows can be positive. Padding follows the positive rows: the first rows that
    are negative, each once, so that no gradient is summed there. Without `most` the host waits for
    the number of positive rows.
    """
    positive = assigned >= 0
    if most is None:
        return positive.nonzero().squeeze(1)
    return kept_first(positive)[:most]
