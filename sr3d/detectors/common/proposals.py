"""Post-processing of proposals: from boxes with objectness and class to detections.

VoteNet's rules, which its successors and query detectors share: boxes with few points are removed,
NMS compares upright boxes around the proposals by objectness, and each kept box is a detection of
every class. Source: facebookresearch/votenet (models/ap_helper.py, utils/nms.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sr3d.detectors.common.point_config import ProposalInference
from sr3d.detectors.common.selection import kept
from sr3d.detectors.common.votes import in_boxes
from sr3d.detectors.outputs import Detections
from sr3d.geometry.boxes import enclosing_boxes
from sr3d.geometry.iou import pairs_at_a_time
from sr3d.geometry.nms import nms
from sr3d.points.buckets import Buckets

_ROUNDING = 1 + 1e-5  # a point that rounding puts into a box is not farther from its centre


@dataclass(frozen=True)
class Proposals:
    """The proposals of one scene. boxes: (P, 7). objectness: (P,) and classes: (P, C), both
    probabilities.
    """

    boxes: Tensor
    objectness: Tensor
    classes: Tensor

    @staticmethod
    def of(boxes: Tensor, objectness: Tensor, classes: Tensor) -> list[Proposals]:
        """The proposals of each scene. boxes: (B, P, 7). objectness: (B, P, 2) logits of background
        and object. classes: (B, P, C) logits.
        """
        probabilities = objectness.softmax(dim=-1)[..., 1], classes.softmax(dim=-1)
        return [Proposals(*each) for each in zip(boxes, *probabilities, strict=True)]


def select_proposals(proposals: Proposals, points: Tensor, config: ProposalInference) -> Detections:
    """The detections of one scene. points: (N, 3), of the input."""
    picked = pick(proposals, points, config)
    good = picked[proposals.objectness[picked] > config.score_thr]
    scores = proposals.classes * proposals.objectness[:, None]
    keep = torch.zeros_like(scores, dtype=torch.bool)
    if config.labels == "every":
        keep[good] = True
    else:
        keep[good, proposals.classes[good].argmax(dim=1)] = True
    return kept(proposals.boxes, scores, keep)


def pick(proposals: Proposals, points: Tensor, config: ProposalInference) -> Tensor:
    """(K,) int64: the proposals with enough points that NMS keeps, best objectness first."""
    boxes, objectness = proposals.boxes, proposals.objectness
    enough = torch.ones_like(objectness, dtype=torch.bool)
    if config.min_points:
        enough = points_inside(boxes, points) >= config.min_points
    if config.keep_best and not enough.any():
        enough[objectness.argmax()] = True
    candidates = enough.nonzero().squeeze(1)
    labels = proposals.classes[candidates].argmax(dim=1)
    if config.nms_classes == "all":
        labels = torch.zeros_like(labels)
    rotated = config.nms_boxes == "rotated"
    compared = boxes[candidates] if rotated else enclosing_boxes(boxes[candidates])
    bev = config.nms == "bev"
    picked = candidates[nms(compared, objectness[candidates], labels, config.iou_thr, rotated, bev)]
    return picked[objectness[picked].sort(descending=True, stable=True).indices]


def points_inside(boxes: Tensor, points: Tensor) -> Tensor:
    """(P,) int64: the number of points (N, 3) in each box (P, 7), faces included."""
    if boxes.device.type == "cpu" and len(points):
        return _near_points_inside(boxes, points)
    size = max(1, pairs_at_a_time(boxes.device, rotated=False) // max(1, len(points)))
    counts = [in_boxes(points[None], part[None])[0].sum(dim=1) for part in boxes.split(size)]
    return torch.cat(counts) if counts else boxes.new_zeros(0, dtype=torch.int64)


def _near_points_inside(boxes: Tensor, points: Tensor) -> Tensor:
    """The same on a CPU. Only buckets of points near a box are looked at, a tenth of them or so."""
    boxes, points = boxes.detach(), points.detach()
    buckets = Buckets(points.numpy())
    reach = boxes[:, 3:6].double().norm(dim=1) / 2 * _ROUNDING
    pairs = (torch.from_numpy(x) for x in buckets.near(boxes[:, :3].numpy(), reach.numpy()))
    counts = torch.zeros(len(boxes), dtype=torch.int64)
    bucketed = torch.from_numpy(buckets.points)  # padded with inf, which is never inside
    size = max(1, pairs_at_a_time(boxes.device, rotated=False) // bucketed.shape[2])
    for row, bucket in zip(*(x.split(size) for x in pairs), strict=True):
        inside = in_boxes(bucketed[bucket].transpose(1, 2), boxes[row][:, None])[:, 0]
        counts.index_add_(0, row, inside.sum(dim=1))
    return counts
