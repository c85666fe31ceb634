"""Votes for object centres: the module that predicts them, their targets and their loss.

Source: facebookresearch/votenet (models/voting_module.py, whose names of weights are ours,
scannet/scannet_detection_dataset.py, sunrgbd/sunrgbd_data.py, models/loss_helper.py).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from sr3d.detectors.common.point_config import VoteCentre
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch
from sr3d.detectors.common.pointnet2 import PointSet, rows
from sr3d.detectors.outputs import Total, alone

CHOICES = 3  # centres that a seed may vote for
EPSILON = 1e-6


class VoteModule(nn.Module):
    """Each seed votes for the centre of its object, and adds to its features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(channels, channels, 1)
        self.conv2 = nn.Conv1d(channels, channels, 1)
        self.conv3 = nn.Conv1d(channels, 3 + channels, 1)
        self.bn1, self.bn2 = nn.BatchNorm1d(channels), nn.BatchNorm1d(channels)

    def forward(self, seeds: PointSet) -> PointSet:
        """The votes of S seeds (B, S, 3), with features (B, C, S) of length one."""
        x = self.shift(seeds.features)
        votes = seeds.points + x[:, :3].transpose(1, 2)
        features = seeds.features + x[:, 3:]
        return PointSet(votes, features / features.norm(dim=1, keepdim=True), seeds.index)

    def shift(self, features: Tensor) -> Tensor:
        """(B, 3 + C, S): what a seed's vote adds to its point and to its features (B, C, S)."""
        x = relu(self.bn1(self.conv1(features)))
        shift: Tensor = self.conv3(relu(self.bn2(self.conv2(x)))).float()
        return shift


class VoteTargets(NamedTuple):
    """centres: (B, S, 3, 3), up to three centres for each seed, the first repeated if there are
    fewer. masks: (B, S) bool, whether the seed lies on an object.
    """

    centres: Tensor
    masks: Tensor


def vote_targets(
    batch: PointBatch, truth: PaddedTruth, seeds: Tensor, centre: VoteCentre
) -> VoteTargets:
    """The centres that seeds should vote for. seeds: (B, S) indices of points of the batch.

    centre "extent": of the extent of the object's points in the batch, as for ScanNet. "box": of
    the object's box, as for SUN RGB-D. In a batch without instances, a seed votes for the centres
    of the boxes around it.
    """
    if batch.instance is None:
        return _inside_boxes(rows(batch.points, seeds), truth)
    owner = batch.instance.gather(1, seeds)
    centres = truth.boxes[..., :3] if centre == "box" else extent_centres(batch)
    own = rows(centres, owner.clamp(min=0))
    return VoteTargets(own[:, :, None].expand(-1, -1, CHOICES, -1), owner >= 0)


def extent_centres(batch: PointBatch) -> Tensor:
    """(B, K, 3): the centre of the extent of the points of each instance of a batch."""
    assert batch.instance is not None
    owner = batch.instance + 1  # row 0 takes the points of no object
    count = max(2, int(owner.max()) + 1)
    empty = batch.points.new_zeros(len(batch), count, 3)
    index = owner[..., None].expand(-1, -1, 3)
    low, high = (
        empty.scatter_reduce(1, index, batch.points, reduce, include_self=False)
        for reduce in ("amin", "amax")
    )
    return ((low + high) / 2)[:, 1:]


def _inside_boxes(points: Tensor, truth: PaddedTruth) -> VoteTargets:
    """The first box that contains a point, the second, and the last of all others."""
    inside = in_boxes(points, truth.boxes).transpose(1, 2) & truth.real[:, None]
    rank = inside.cumsum(dim=2) * inside
    places = torch.arange(1, inside.shape[2] + 1, device=points.device)
    first = (rank == 1).int().argmax(dim=2)
    count = inside.sum(dim=2)
    second = torch.where(count >= 2, (rank == 2).int().argmax(dim=2), first)
    last = torch.where(count >= 3, (inside * places).argmax(dim=2), first)
    centres = [rows(truth.boxes[..., :3], index) for index in (first, second, last)]
    return VoteTargets(torch.stack(centres, dim=2), count > 0)


def in_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """(B, K, N) bool: whether points (B, N, 3) lie in boxes (B, K, 7), faces included.

    Only the magnitude of a size counts.
    """
    x, y, z = (points[:, None, :, axis] - boxes[:, :, None, axis] for axis in range(3))
    cos, sin = torch.cos(boxes[..., 6:]), torch.sin(boxes[..., 6:])
    dx, dy, dz = (boxes[..., 3:6].abs() / 2).split(1, dim=-1)
    inside = z.abs() <= dz
    inside &= (x * cos + y * sin).abs() <= dx
    inside &= (y * cos - x * sin).abs() <= dy
    return inside


def vote_loss(votes: Tensor, targets: VoteTargets, total: Total = alone) -> Tensor:
    """The L1 distance of each seed's vote (B, S, 3) to its nearest target, averaged over the seeds
    on objects.
    """
    distance = (votes[:, :, None] - targets.centres).abs().sum(dim=-1).amin(dim=-1)
    return (distance * targets.masks).sum() / (total(targets.masks.sum()) + EPSILON)
