"""Which anchors on rays lie on the object of their cluster.

Source: Haiyang-W/RBGNet (pcdet/models/dense_heads/rbg_head.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch
from sr3d.detectors.common.pointnet2 import rows
from sr3d.detectors.common.votes import in_boxes
from sr3d.points import ball_query


@dataclass(frozen=True)
class Objects:
    """The points that anchors look for, with their objects.

    points: (B, M, 3). owner: (B, M) int64, the ground truth of each point, -1 for none. judged:
    (B,) bool, whether the scene's anchors are trained.
    """

    points: Tensor
    owner: Tensor
    judged: Tensor

    @staticmethod
    def of(batch: PointBatch, truth: PaddedTruth, index: Tensor, all_objects: bool) -> Objects:
        """index: (B, M), of points of the batch. all_objects: see `RBGNetLoss`.

        Without instances a point belongs to the last box that contains it.
        """
        points = rows(batch.points, index)
        if batch.instance is None:
            inside = in_boxes(points, truth.boxes) & truth.real[..., None]
            places = torch.arange(1, inside.shape[1] + 1, device=inside.device)
            owner = (inside * places[:, None]).amax(dim=1) - 1
        else:
            owner = batch.instance.gather(1, index)
        judged = (owner >= 0).any(dim=1)
        if all_objects and batch.instance is not None:
            seen = torch.zeros_like(truth.real, dtype=torch.int64)
            known = batch.instance >= 0
            seen.scatter_reduce_(1, batch.instance.clamp(min=0), known.long(), "amax")
            judged &= (seen.bool() | ~truth.real).all(dim=1)
        return Objects(points, owner, judged)


@dataclass(frozen=True)
class RayTargets:
    """near: whether any point lies near an anchor. own: whether a point of its cluster's object
    does. Both (V, A) bool, of the A anchors of V clusters.
    """

    near: Tensor
    own: Tensor


@torch.no_grad()
def ray_targets(
    anchors: Tensor, scene: Tensor, owner: Tensor, objects: Objects, radius: float
) -> RayTargets:
    """Targets of the anchors (V, A, 3) of clusters with scenes (V,) and ground truths (V,).

    radius: of a point near an anchor, in metres. Loops over the objects, which needs syncs.
    """
    near = torch.zeros(anchors.shape[:2], dtype=torch.bool, device=anchors.device)
    own = torch.zeros_like(near)
    for number, points in enumerate(objects.points):
        chosen = (scene == number).nonzero()[:, 0]
        if not len(chosen) or not objects.judged[number]:
            continue
        near[chosen] = _touched(anchors[chosen], points, radius)
        for own_object in owner[chosen].unique():
            clusters = chosen[owner[chosen] == own_object]
            cloud = points[objects.owner[number] == own_object]
            own[clusters] = _touched(anchors[clusters], cloud, radius)
    return RayTargets(near, own)


def _touched(anchors: Tensor, points: Tensor, radius: float) -> Tensor:
    """(V, A) bool: whether points (M, 3) lie within the radius of anchors (V, A, 3)."""
    found = ball_query(points[None], anchors.flatten(0, 1)[None], radius, 1, pad="zero")
    return found[0, :, 0].unflatten(0, anchors.shape[:2]) > 0
