"""Rank-aware adaptive self-distillation (RAS), the classification loss of SR3D."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from sr3d.losses.focal import class_targets, focal_loss
from sr3d.losses.positives import Positives
from sr3d.losses.soft_rank import soft_rank


def rank_distillation_loss(
    logits: Tensor, ious: Tensor, rank_reg: Tensor, *, beta: float = 1.0, form: str = "rank"
) -> Tensor:
    """Paper Eq. 6 (RDL), with the minus sign of a loss. q = IoU, r = rank_reg, s = score:

    - "printed": -[(1 - r)^beta q log s + q (1 - q) log(1 - s)]. The minimum is s = a / (a + 1 - q)
      with a = (1 - r)^beta. The better the box, the weaker the pull upwards.
    - "bracket": -(1 - r)^beta [q log s + (1 - q) log(1 - s)]: cross entropy with the target q,
      weighted. The minimum is s = q.
    - "rank": "printed" with a = r^beta. The better the box, the stronger the pull upwards, as the
      paper's text says. The default. docs/readings.md has the measurements.
    - "position": "printed" with a = (1 - R)^beta, where R = -ln r is the rank of Eq. 9, 0 for the
      best. This is the printed formula with the other rank of the paper, and agrees with the text.

    Args:
        logits: (P,), s = sigmoid(logit) on the channel of the ground truth's class.
        ious: (P,) in [0, 1], IoU of a positive's box with its ground truth. No gradient.
        rank_reg: (P,) soft rank of the IoUs, 1 for the best. No gradient.

    Returns:
        (P,).
    """
    q, r = ious.detach(), rank_reg.detach()
    log_s, log_not_s = logsigmoid(logits), logsigmoid(-logits)
    match form:
        case "printed":
            return -((1 - r) ** beta * q * log_s + q * (1 - q) * log_not_s)
        case "bracket":
            return -((1 - r) ** beta) * (q * log_s + (1 - q) * log_not_s)
        case "rank":
            return -(r**beta * q * log_s + q * (1 - q) * log_not_s)
        case "position":
            share_not_above = (1 + r.log()).clamp(min=0)  # 1 - R. Rounding may give r below 1/e
            return -(share_not_above**beta * q * log_s + q * (1 - q) * log_not_s)
    raise ValueError(f"unknown form of Eq. 6: {form}")


def ras_loss(
    logits: Tensor,
    positives: Positives,
    gt_labels: Tensor,
    ious: Tensor,
    gt_scenes: Tensor | None = None,
    *,
    tau: float = 0.1,
    beta: float = 1.0,
    form: str = "rank",
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Tensor:
    """Paper Eq. 7 summed over a batch.

    All channels have focal loss (FL), except the class channel of each positive, which has
    (1 - r_cls) FL + r_cls RDL. Ranks are among the positives of one ground truth. A single positive
    keeps FL, because RDL as printed would only lower its score.

    Args:
        logits: (N, C) of the anchors of all scenes.
        gt_labels: (M,) class indices.
        ious: (P,) IoU of the box of each positive with its ground truth.
        gt_scenes: (M,) the scene of each ground truth, for ranks among the positives of one scene
            (`rank_scope` "image").

    Returns:
        Scalar sum. The caller divides it by max(1, P). Gradient flows to the logits only.
    """
    targets = class_targets(positives.matches, gt_labels)
    focal = focal_loss(logits, targets, alpha=alpha, gamma=gamma)

    channel = targets[positives.rows]
    logit = logits[positives.rows, channel]
    quality = ious.detach().clamp(0, 1)
    group = positives.groups(gt_scenes)
    scores = torch.stack([quality, logit.detach().sigmoid()])
    rank_reg, rank_cls = soft_rank(scores, group, tau)
    rank_cls = rank_cls.masked_fill(_lone(group), 0.0)
    distilled = rank_distillation_loss(logit, quality, rank_reg, beta=beta, form=form)
    # Eq. 7, rearranged: FL everywhere, plus r_cls (RDL - FL) on the positives.
    return focal.sum() + (rank_cls * (distilled - focal[positives.rows, channel])).sum()


def _lone(group: Tensor) -> Tensor:
    """(P,) bool: the only member of its group."""
    members = group.sort().values
    first, end = (torch.searchsorted(members, group, right=right) for right in (False, True))
    return end - first == 1
