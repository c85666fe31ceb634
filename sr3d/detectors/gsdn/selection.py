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

_WEIGHT = 1e-4  # added to scores, so that a score of 0 has a weight
_THINNEST = 0.1  # voxels, the least edge of a box in metres


class Candidates(NamedTuple):
    """Best first. corners: (K, 6) in voxels, see `anchors.decode`. scores: (K,). labels: (K,)."""

    corners: Tensor
    scores: Tensor
    labels: Tensor


def joined(candidates: Candidates, config: GSDNInference) -> Candidates:
    """The candidates that NMS keeps, best first. Each has the mean of the boxes it joined."""
    corners, scores, labels = candidates
    found: list[Tensor] = []
    rows: list[Tensor] = []
    for label in labels.unique():
        own = (labels == label).nonzero().squeeze(1)
        kept, owner = keep_best(corners[own], config)
        rows.append(own[kept])
        if config.average:
            found.append(_averaged(corners[own], scores[own], owner, len(kept)))
        else:
            found.append(corners[own[kept]])
    if not rows:
        return candidates
    kept, means = torch.cat(rows), torch.cat(found)
    best = scores[kept].sort(descending=True, stable=True).indices[: config.most]
    return Candidates(means[best], scores[kept[best]], labels[kept[best]])


def keep_best(corners: Tensor, config: GSDNInference) -> tuple[Tensor, Tensor]:
    """Greedy NMS of boxes (K, 6) of one class, best first: rows of the kept boxes, and the place of
    each box's owner among them, (K,). -1: neither kept nor joined to one.
    """
    boxes = to_boxes(corners)
    owner = torch.full((len(boxes),), -1, dtype=torch.int64, device=boxes.device)
    kept: list[Tensor] = []
    left = torch.arange(len(boxes), device=boxes.device)
    while len(left) and len(kept) < config.per_class:
        best = left[:1]
        near = pairwise_iou(boxes[best], boxes[left], rotated=False, bev=config.nms == "bev")[0]
        near = near > config.iou_thr
        near[0] = True  # also a box without a volume
        owner[left[near]] = len(kept)
        kept.append(best)
        left = left[~near]
    return torch.cat(kept), owner


def _averaged(corners: Tensor, scores: Tensor, owner: Tensor, count: int) -> Tensor:
    """(count, 6): the means of boxes by owner, weighted by scores."""
    rows = (owner >= 0).nonzero().squeeze(1)
    weights = (scores[rows] + _WEIGHT)[:, None].double()
    sums = weights.new_zeros(count, 6).index_add_(0, owner[rows], corners[rows] * weights)
    totals = weights.new_zeros(count, 1).index_add_(0, owner[rows], weights)
    return (sums / totals).to(corners.dtype)


def to_boxes(corners: Tensor) -> Tensor:
    """Corners (K, 6) as boxes (K, 7) without a yaw."""
    low, high = corners.split(3, dim=1)
    return torch.cat([(low + high) / 2, high - low, torch.zeros_like(low[:, :1])], dim=1)


def in_metres(found: Candidates, origin: Tensor, voxel_size: float) -> Detections:
    """Detections in metres. origin: (3,) the cell of the lowest voxel.

    A box spans the centres of voxels. They are half a voxel above the voxels' coordinates.
    """
    low, high = (found.corners + 1 + origin.repeat(2)).split(3, dim=1)
    high = torch.maximum(high, low + _THINNEST)
    metres = torch.cat([low, high], dim=1) * voxel_size
    return Detections(to_boxes(metres), found.scores, found.labels)
