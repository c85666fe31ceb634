"""GSDN's post-processing: NMS that averages the boxes it joins.

Source: jgwak/GSDN (lib/detection_utils.py, custom/cuda/nms.cu).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sr3d.detectors.gsdn.config import GSDNInference
from sr3d.detectors.outputs import Detections
from sr3d.geometry.iou import pairwise_iou
from sr3d.geometry.nms import nms

_WEIGHT = 1e-4  # added to scores, so that a score of 0 has a weight
_THINNEST = 0.1  # voxels, the least edge of a box in metres


class ScoredCorners(NamedTuple):
    """Best first. corners: (K, 6) in voxels, see `anchors.decode`. scores: (K,). labels: (K,)."""

    corners: Tensor
    scores: Tensor
    labels: Tensor


def joined(candidates: ScoredCorners, config: GSDNInference) -> ScoredCorners:
    """The candidates that NMS keeps, best first. Each has the mean of the boxes it joined."""
    corners, scores, labels = candidates
    boxes, bev = to_boxes(corners), config.nms == "bev"
    kept = nms(boxes, scores, labels, config.iou_thr, rotated=False, bev=bev)
    found, rows = [corners[:0]], [kept[:0]]
    for label in labels.unique():
        best = kept[labels[kept] == label][: config.per_class]
        rows.append(best)
        if not config.average:
            found.append(corners[best])
            continue
        own = (labels == label).nonzero().squeeze(1)
        near = pairwise_iou(boxes[best], boxes[own], rotated=False, bev=bev) > config.iou_thr
        near |= best[:, None] == own  # also a box without a volume
        found.append(_averaged(corners[own], scores[own], near))
    means, kept = torch.cat(found), torch.cat(rows)
    order = scores[kept].sort(descending=True, stable=True).indices[: config.most]
    return ScoredCorners(means[order], scores[kept[order]], labels[kept[order]])


def _averaged(corners: Tensor, scores: Tensor, near: Tensor) -> Tensor:
    """(B, 6): for each of B kept boxes, the mean of corners (K, 6) weighted by scores (K,).

    near: (B, K), the boxes that each would join, best first. A box joins the best of them.
    """
    first = near & (near.cumsum(dim=0) == 1)
    weights = first * (scores + _WEIGHT).double()
    return (weights @ corners.double() / weights.sum(dim=1, keepdim=True)).to(corners.dtype)


def to_boxes(corners: Tensor) -> Tensor:
    """Corners (K, 6) as boxes (K, 7) without a yaw."""
    low, high = corners.split(3, dim=1)
    return torch.cat([(low + high) / 2, high - low, torch.zeros_like(low[:, :1])], dim=1)


def in_metres(found: ScoredCorners, origin: Tensor, voxel_size: float) -> Detections:
    """Detections in metres. origin: (3,) the cell of the lowest voxel.

    A box spans the centres of voxels. They are half a voxel above the voxels' coordinates.
    """
    low, high = (found.corners + 1 + origin.repeat(2)).split(3, dim=1)
    high = torch.maximum(high, low + _THINNEST)
    metres = torch.cat([low, high], dim=1) * voxel_size
    return Detections(to_boxes(metres), found.scores, found.labels)
