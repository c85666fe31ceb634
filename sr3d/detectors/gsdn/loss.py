"""GSDN's loss: sparsity of cells, objectness of anchors, boxes and classes of positives.

Source: jgwak/GSDN (lib/loss.py). All sums run over the whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, smooth_l1_loss

from sr3d.data.ground_truth import NEGATIVE
from sr3d.detectors.outputs import Total, alone


def sparsity_loss(
    logits: Sequence[Tensor], targets: Sequence[Tensor], total: Total = alone
) -> Tensor:
    """The mean over levels of the balanced cross entropy of their cells.

    logits: (N, 2) per level. targets: (N,) matches, see `Targets.cells`.
    """
    each = [balanced_sums(x, match) for x, match in zip(logits, targets, strict=True)]
    sums, counts = (torch.stack(parts) for parts in zip(*each, strict=True))
    return balanced_mean(sums, counts, total) / len(logits)


def balanced_sums(logits: Tensor, matches: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of the cross entropies of negatives and positives, and their numbers, both (2,).

    logits: (N, 2). matches: (N,).
    """
    entropy = cross_entropy(logits, (matches >= 0).long(), reduction="none")
    masks = torch.stack([matches == NEGATIVE, matches >= 0])
    return (entropy * masks).sum(dim=1), masks.sum(dim=1)


def balanced_mean(sums: Tensor, counts: Tensor, total: Total = alone) -> Tensor:
    """The sum of means (…, 2) of negatives and positives, each times a half. An absent kind adds
    nothing.
    """
    return (sums / total(counts).clamp(min=1)).sum() / 2


def box_loss(outputs: Tensor, targets: Tensor, count: Tensor) -> Tensor:
    """Smooth L1 loss of raw outputs (P, 6), averaged over the six outputs and `count` positives."""
    return smooth_l1_loss(outputs, targets, reduction="sum") / (6 * count)


def label_loss(logits: Tensor, labels: Tensor, count: Tensor) -> Tensor:
    """Cross entropy of logits (P, C) and classes (P,), averaged over `count` positives."""
    return cross_entropy(logits, labels, reduction="sum") / count
