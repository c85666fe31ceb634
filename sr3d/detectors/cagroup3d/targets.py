"""CAGroup3D's targets: classes of voxels, votes, and anchors of each class's group.

Source: Haiyang-W/CAGroup3D (pcdet/models/dense_heads/target_assigner).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sr3d.data.ground_truth import NEGATIVE
from sr3d.geometry.boxes import centerness, in_frame
from sr3d.points.functional import nearest


class CentreVotes(NamedTuple):
    """offsets: (V, n, 3) metres, zero where the mask is. masks: (V,) bool, on an object."""

    offsets: Tensor
    masks: Tensor


def inside(points: Tensor, boxes: Tensor) -> Tensor:
    """(N, K) bool: whether points (N, 3) lie in boxes (K, 7), faces excluded."""
    offset = in_frame(points[:, None], boxes)
    return (offset.abs() < boxes[:, 3:6] / 2).all(dim=-1)


def smallest(within: Tensor, boxes: Tensor) -> Tensor:
    """(N,) the box of least volume of those that each row of `within` (N, K) names, or NEGATIVE."""
    if not len(boxes):
        return torch.full_like(within[:, :0].sum(dim=1), NEGATIVE)
    volume = boxes[:, 3:6].prod(dim=1).expand_as(within)
    owner = volume.masked_fill(~within, torch.inf).argmin(dim=1)
    return torch.where(within.any(dim=1), owner, NEGATIVE)


@torch.no_grad()
def match_anchors(
    points: Tensor, groups: Tensor, boxes: Tensor, labels: Tensor, top: int
) -> Tensor:
    """(A,) matches of one scene's anchors with its boxes (K, 7), or NEGATIVE.

    A box claims the `top` most central anchors inside it, of the group of its class. An anchor goes
    to the smallest box that claims it. points: (A, 3). groups: (A,) classes.
    """
    matches = torch.full_like(groups, NEGATIVE)
    for label in labels.unique():
        rows = (groups == label).nonzero().squeeze(1)
        own = (labels == label).nonzero().squeeze(1)
        central = centerness(points[rows][:, None], boxes[own])  # 0 on faces and outside
        # Only those above the next one: equally central ones may all lose their place.
        least = central.topk(min(top + 1, len(rows)), dim=0).values[-1]
        found = smallest((central > least) & (central > 0), boxes[own])
        matches[rows] = torch.where(found >= 0, own[found.clamp(min=0)], NEGATIVE)
    return matches


@torch.no_grad()
def votes_for_boxes(voxels: Tensor, boxes: Tensor, votes: int) -> CentreVotes:
    """Votes of voxels (V, 3) for the centres of the boxes (K, 7) around them.

    The first vote is for the first box, the second for the second one, the third for the last one.
    Boxes that do not exist are the first.
    """
    within = inside(voxels, boxes)
    masks = within.any(dim=1)
    offsets = voxels.new_zeros(len(voxels), votes, 3)
    if not len(boxes):
        return CentreVotes(offsets, masks)
    rank = within.cumsum(dim=1) * within
    first = (rank == 1).int().argmax(dim=1)
    second = torch.where((rank == 2).any(dim=1), (rank == 2).int().argmax(dim=1), first)
    place = torch.arange(1, len(boxes) + 1, device=boxes.device)
    last = torch.where((rank > 2).any(dim=1), (within * place).argmax(dim=1), first)
    chosen = torch.stack([first, second, last], dim=1)[:, :votes]
    offsets = boxes[chosen, :3] - voxels[:, None]
    return CentreVotes(offsets * masks[:, None, None], masks)


@torch.no_grad()
def votes_for_instances(
    voxels: Tensor, boxes: Tensor, points: Tensor, instance: Tensor
) -> CentreVotes:
    """The vote of each voxel (V, 3) for the object of the nearest point.

    The target is the centre of the box (K, 7) nearest to the centre of the object's extent. points:
    (N, 3). instance: (N,) objects, -1 for none.
    """
    index = nearest(points[None], voxels[None], 1)[1][0, :, 0]
    owner = instance[index]
    masks = (owner >= 0) & bool(len(boxes))
    if not len(boxes):
        return CentreVotes(voxels.new_zeros(len(voxels), 1, 3), masks)
    count = int(instance.max()) + 2
    place = (instance + 1)[:, None].expand(-1, 3)  # row 0 takes the points of no object
    empty = points.new_zeros(count, 3)
    low, high = (
        empty.scatter_reduce(0, place, points, reduce, include_self=False)
        for reduce in ("amin", "amax")
    )
    box = torch.cdist((low + high) / 2, boxes[:, :3]).argmin(dim=1)
    offsets = (boxes[box[owner + 1], :3] - voxels) * masks[:, None]
    return CentreVotes(offsets[:, None], masks)
