"""CAGroup3D's losses. Those of the first stage are means over the scenes.

Source: Haiyang-W/CAGroup3D (pcdet/models/dense_heads/cagroup_head.py, roi_heads).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from sr3d.detectors.cagroup3d.config import CAGroup3DLoss
from sr3d.detectors.cagroup3d.targets import CentreVotes
from sr3d.geometry.boxes import centerness
from sr3d.geometry.iou import paired_iou
from sr3d.losses.focal import focal_loss

_VOTE_BETA, _CODE_BETA = 0.04, 1 / 9
_EPSILON = 1e-6


def semantic_loss(logits: Tensor, labels: Tensor, config: CAGroup3DLoss) -> Tensor:
    """Of one scene. logits: (V, C). labels: (V,), below 0 for background."""
    focal = focal_loss(logits, labels, alpha=config.focal_alpha, gamma=config.focal_gamma)
    return focal.sum() / (labels >= 0).sum().clamp(min=1)


def vote_loss(offsets: Tensor, targets: CentreVotes, padded: bool) -> Tensor:
    """Of one scene. offsets: (V, n, 3). padded: whether voxels without a target weigh 1e-6, as
    published for one vote. They count as offsets of zero there.
    """
    loss = smooth_l1_loss(offsets, targets.offsets, beta=_VOTE_BETA, reduction="none")
    return (loss * vote_weights(targets, padded)[:, None, None]).sum()


def vote_weights(targets: CentreVotes, padded: bool) -> Tensor:
    """(V,), see `vote_loss`."""
    masks = targets.masks.to(targets.offsets.dtype)
    if padded:
        return masks / len(masks) + _EPSILON
    return masks / (masks.sum() + _EPSILON)


def anchor_losses(
    outputs: tuple[Tensor, Tensor, Tensor],
    points: Tensor,
    matches: Tensor,
    boxes: Tensor,
    labels: Tensor,
    config: CAGroup3DLoss,
    rotated: bool,
) -> dict[str, Tensor]:
    """Of one scene: "cls", "center" and "box". outputs: class logits (A, C), centerness logits
    (A, 1) and boxes (A, 7). points: (A, 3). matches: (A,) with boxes (K, 7) and labels (K,).
    """
    logits, center, predicted = outputs
    positive = (matches >= 0).nonzero().squeeze(1)
    owner = matches[positive]
    count = max(1, len(positive))
    classes = torch.full_like(matches, -1).index_put((positive,), labels[owner])
    focal = focal_loss(logits, classes, alpha=config.focal_alpha, gamma=config.focal_gamma)
    central = centerness(points[positive], boxes[owner])
    entropy = binary_cross_entropy_with_logits(center[positive, 0], central, reduction="sum")
    ours, theirs = predicted[positive], boxes[owner]
    if rotated and config.mirrored_yaw:
        ours, theirs = mirrored(ours), mirrored(theirs)
    far = 1 - paired_iou(ours, theirs, rotated)
    box = (far * central).sum() / central.sum().clamp(min=_EPSILON)
    return {"cls": focal.sum() / count, "center": entropy / count, "box": box}


def mirrored(boxes: Tensor) -> Tensor:
    """Boxes (K, 7), each mirrored about its own centre."""
    return torch.cat([boxes[:, :6], -boxes[:, 6:]], dim=1)


def code_loss(codes: Tensor, targets: Tensor, count: Tensor) -> Tensor:
    """Smooth L1 loss of codes (F, 6 or 8) of foreground, summed and divided by `count`."""
    return smooth_l1_loss(codes, targets, beta=_CODE_BETA, reduction="sum") / count


def iou_loss(refined: Tensor, boxes: Tensor, count: Tensor) -> Tensor:
    """1 - IoU of foreground boxes (F, 7), summed and divided by `count`."""
    return (1 - paired_iou(refined, boxes, rotated=True)).sum() / count
