"""SPGroup3D's assigner: per ground truth the cheapest superpoints inside its box.

Source: zyrant/SPGroup3D (projects/spgroup).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sr3d.data.ground_truth import NEGATIVE, GroundTruth
from sr3d.detectors.spgroup3d.boxes import face_distances
from sr3d.geometry.iou import paired_diou_loss, pairwise_iou
from sr3d.matching.assigner import Anchors

_OUTSIDE = 1e8  # cost of a superpoint outside the box
_EPSILON = 1e-12


@dataclass(frozen=True)
class SPGroup3DAssigner:
    """A ground truth claims the superpoints whose cost is below the (top + 1)-th lowest, or below
    the highest if there are fewer. A superpoint goes to the claimant of least volume.

    The cost is the focal cost of the class minus the DIoU of the boxes, both without their yaw.
    one_box_iou: in a scene with one ground truth IoU replaces DIoU, as in the original, where the
    distance of the centres cancels by an error of shapes.
    """

    top: int = 18
    alpha: float = 0.25
    gamma: float = 2.0
    one_box_iou: bool = True

    @torch.no_grad()
    def __call__(
        self, anchors: Anchors, boxes: Tensor, logits: Tensor, truth: GroundTruth
    ) -> Tensor:
        """See `Assigner`."""
        matches = torch.full_like(anchors.scenes, NEGATIVE)
        for scene in range(anchors.batch_size):
            rows = (anchors.scenes == scene).nonzero().squeeze(1)
            own = (truth.scenes == scene).nonzero().squeeze(1)
            if len(rows) and len(own):
                found = self._scene(
                    anchors.positions[rows],
                    boxes[rows],
                    logits[rows],
                    truth.boxes[own],
                    truth.labels[own],
                )
                matches[rows] = torch.where(found >= 0, own[found], NEGATIVE)
        return matches

    def _scene(
        self, points: Tensor, boxes: Tensor, logits: Tensor, truth: Tensor, labels: Tensor
    ) -> Tensor:
        """(N,) int64 ground truth of each superpoint of one scene, -1 for none."""
        cost = self.class_cost(logits, labels) + self.box_cost(boxes, truth)
        upper, lower = face_distances(points[:, None], truth[None])
        inside = torch.minimum(upper, lower).amin(dim=2) > 0
        cost = torch.where(inside, cost, _OUTSIDE)
        limit = cost.topk(min(self.top + 1, len(cost)), dim=0, largest=False).values[-1]
        volume = truth[:, 3:6].prod(dim=1).expand(len(cost), -1)
        least, owner = torch.where(cost < limit, volume, torch.inf).min(dim=1)
        return torch.where(least < torch.inf, owner, NEGATIVE)

    def class_cost(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(N, M) focal cost of logits (N, C) for the classes (M,): as a positive minus as a
        negative.
        """
        p = logits[:, labels].sigmoid()
        negative = -(1 - p + _EPSILON).log() * (1 - self.alpha) * p**self.gamma
        positive = -(p + _EPSILON).log() * self.alpha * (1 - p) ** self.gamma
        return positive - negative

    def box_cost(self, boxes: Tensor, truth: Tensor) -> Tensor:
        """(N, M) negative DIoU, or IoU, of boxes (N, 7) and ground truths (M, 7)."""
        if len(truth) == 1 and self.one_box_iou:
            return -pairwise_iou(boxes, truth, rotated=False)
        return paired_diou_loss(boxes[:, None], truth[None], rotated=False) - 1


def centre_targets(points: Tensor, boxes: Tensor) -> Tensor:
    """(P,) centerness of points (P, 3) inside boxes (P, 7): the cube root of the product over the
    axes of (nearer face) / (farther face).
    """
    upper, lower = face_distances(points, boxes)
    nearer, farther = torch.minimum(upper, lower), torch.maximum(upper, lower)
    return (nearer / farther).clamp(min=0).prod(dim=1) ** (1 / 3)
