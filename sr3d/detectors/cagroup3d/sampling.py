"""Which proposals of a scene train CAGroup3D's refinement, and on which ground truth.

Source: Haiyang-W/CAGroup3D (the target layer of its RoI head), which follows PV-RCNN.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sr3d.detectors.cagroup3d.config import CAGroup3DAssignment
from sr3d.detectors.outputs import Detections
from sr3d.geometry.iou import pairwise_iou


class Overlaps(NamedTuple):
    """iou: (P,) of each proposal with its ground truth, the best one of its class. owner: (P,)
    int64, 0 for a proposal without any of its class.
    """

    iou: Tensor
    owner: Tensor


@torch.no_grad()
def overlaps(found: Detections, boxes: Tensor, labels: Tensor) -> Overlaps:
    """Of the proposals of one scene. boxes: (K, 7). labels: (K,)."""
    iou = found.boxes.new_zeros(len(found.boxes))
    owner = torch.zeros_like(found.labels)
    for label in labels.unique():
        rows = (found.labels == label).nonzero().squeeze(1)
        own = (labels == label).nonzero().squeeze(1)
        if len(rows):
            best = pairwise_iou(found.boxes[rows], boxes[own], rotated=True).max(dim=1)
            iou[rows], owner[rows] = best.values, own[best.indices]
    return Overlaps(iou, owner)


def draw(iou: Tensor, config: CAGroup3DAssignment, generator: torch.Generator) -> Tensor:
    """Rows of the proposals that train: foreground first. iou: (P,), P > 0. Returns (R,).

    Foreground is drawn without repetition, unless there is no background. Background is drawn with
    repetition, the share `hard` of it among proposals that overlap a little.
    """
    iou = iou.cpu()
    foreground = (iou >= config.foreground_iou).nonzero().squeeze(1)
    hard = ((iou < config.foreground_iou) & (iou >= config.hard_iou)).nonzero().squeeze(1)
    easy = (iou < min(config.hard_iou, config.foreground_iou)).nonzero().squeeze(1)
    if len(hard) + len(easy) == 0:
        return _some(foreground, config.rois, generator)
    most = min(round(config.foreground * config.rois), len(foreground))
    chosen = foreground[torch.randperm(len(foreground), generator=generator)[:most]]
    rest = config.rois - len(chosen)
    if len(hard) and len(easy):
        count = min(int(rest * config.hard), len(hard))
    else:
        count = rest if len(hard) else 0
    drawn = _some(hard, count, generator), _some(easy, rest - count, generator)
    return torch.cat([chosen, *drawn])


def _some(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` of some rows, which may repeat."""
    if count == 0:
        return rows[:0]
    return rows[torch.randint(len(rows), (count,), generator=generator)]
