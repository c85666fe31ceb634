"""The ground truth of each seed and of each query: of the object that the seed lies on.

Source: zeliu98/Group-Free-3D (scannet/scannet_detection_dataset.py,
sunrgbd/sunrgbd_detection_dataset.py, models/loss_helper.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sr3d.data.ground_truth import NEGATIVE
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch
from sr3d.detectors.common.pointnet2 import rows
from sr3d.detectors.common.votes import extent_centres, in_boxes
from sr3d.detectors.groupfree.config import GroupFreeAssignment, SizeTarget
from sr3d.detectors.groupfree.network import GroupFreePredictions
from sr3d.geometry.boxes import enclosing_boxes
from sr3d.matching.matches import squared_distances

EPSILON = 1e-6


@dataclass(frozen=True)
class QueryAssignment:
    """objects: (B, S) int64, the ground truth that each seed lies on, counted in its scene, -1 for
    none. near: (B, S) bool, the seeds that should become queries. matches: (B, K) int64, the ground
    truth of each query in every stage, -1 for none.
    """

    objects: Tensor
    near: Tensor
    matches: Tensor

    @property
    def positive(self) -> Tensor:
        """(B, K) bool."""
        return self.matches >= 0


def assign(
    predictions: GroupFreePredictions,
    truth: PaddedTruth,
    config: GroupFreeAssignment,
    target: SizeTarget,
) -> QueryAssignment:
    """The ground truth of the seeds and queries of a batch. target: see `to_learn`."""
    batch, seeds = predictions.batch, predictions.seeds
    if batch.instance is None:
        objects = objects_by_box(seeds.points, truth, config.boxes_per_point)
    elif config.instances == "own":
        objects = batch.instance.gather(1, seeds.index)
    else:
        objects = objects_by_centre(batch, truth).gather(1, seeds.index)
    boxes = to_learn(truth.boxes, target)
    near = nearest_seeds(seeds.points, objects, boxes, config.seeds_per_box)
    return QueryAssignment(objects, near, objects.gather(1, predictions.queries))


def to_learn(boxes: Tensor, target: SizeTarget) -> Tensor:
    """Boxes (B, K, 7) with the sizes to learn, see `GroupFreeLoss.size_target`. The yaw stays."""
    if target == "box":
        return boxes
    sizes = enclosing_boxes(boxes)[..., 3:6]
    return torch.cat([boxes[..., :3], sizes, boxes[..., 6:]], dim=-1)


def objects_by_centre(batch: PointBatch, truth: PaddedTruth) -> Tensor:
    """(B, N) the object of each point: the box whose centre is nearest to that of its instance.

    The centre of an instance is that of the extent of its points in the batch. So the nearest box
    may be the box of another object.
    """
    assert batch.instance is not None
    centres = extent_centres(batch)
    distance = squared_distances(centres[:, :, None], truth.boxes[:, None])
    nearest = distance.masked_fill(~truth.real[:, None], torch.inf).argmin(dim=2)
    own = nearest.gather(1, batch.instance.clamp(min=0))
    return torch.where(batch.instance < 0, NEGATIVE, own)


def objects_by_box(points: Tensor, truth: PaddedTruth, most: int) -> Tensor:
    """(B, N) the object of each point (B, N, 3): of the boxes around it, the one with the nearest
    centre.

    most: number of boxes that a point can lie in, in the order of the ground truths. A further box
    replaces the last of them. 0: any number.
    """
    inside = in_boxes(points, truth.boxes).transpose(1, 2) & truth.real[:, None]
    if most:
        place = inside.cumsum(dim=2)
        inside &= (place < most) | (place == place[..., -1:])
    distance = squared_distances(points[:, :, None], truth.boxes[:, None])
    nearest = distance.masked_fill(~inside, torch.inf).argmin(dim=2)
    return torch.where(inside.any(dim=2), nearest, NEGATIVE)


def nearest_seeds(seeds: Tensor, objects: Tensor, boxes: Tensor, count: int) -> Tensor:
    """(B, S) bool: the `count` seeds of each object that are nearest to the centre of its box.

    Distances along the axes are relative to the size of the box. Its yaw is not used. All seeds of
    an object with fewer are near. seeds: (B, S, 3). objects: (B, S). boxes: (B, K, 7).
    """
    own = rows(boxes, objects.clamp(min=0))
    relative = (seeds - own[..., :3]) / (own[..., 3:6] + EPSILON)
    distance = (relative.square().sum(dim=2) + EPSILON).sqrt()
    others = objects[:, None] != torch.arange(boxes.shape[1], device=boxes.device)[:, None]
    of_each = distance[:, None].masked_fill(others, torch.inf)  # (B, K, S)
    least, index = of_each.topk(min(count, seeds.shape[1]), dim=2, largest=False)
    return torch.zeros_like(others).scatter_(2, index, least.isfinite()).any(dim=1)
