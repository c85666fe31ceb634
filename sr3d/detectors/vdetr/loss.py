"""V-DETR's matching and losses, of the points' stage and after each layer.

Source: V-DETR/V-DETR (criterion.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, smooth_l1_loss

from sr3d.data.ground_truth import NEGATIVE, GroundTruth
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.votes import in_boxes
from sr3d.detectors.detr3d.giou import BoxOverlap
from sr3d.detectors.outputs import Losses, Total, alone
from sr3d.detectors.vdetr.config import VDETRAssignment, VDETRLoss
from sr3d.detectors.vdetr.network import BoxStage
from sr3d.losses.focal import class_targets, focal_loss
from sr3d.matching.hungarian import least_cost
from sr3d.sparse import SparseTensor

_LEAST_SIZE = 1e-5  # metres, added to sizes that targets are relative to
_EPSILON = 1e-8  # added to probabilities, in costs
_ALPHA, _GAMMA = 0.25, 2.0  # of the focal costs
_HUGE = 100.0  # m³. Points in larger boxes are background


@dataclass(frozen=True)
class VDETRPredictions:
    """batch: the voxels. points: (B, M, 3), the sampled ones. point_logits: (B, M, C) of their
    classes. queries: (B, Q), the points of the queries, best first. stages: boxes of points,
    without classes, then of queries after each layer.
    """

    batch: SparseTensor
    points: Tensor
    point_logits: Tensor
    queries: Tensor
    stages: list[BoxStage]


@dataclass(frozen=True)
class RepeatedSetLoss:
    """After each layer, `costs.repeats` queries per ground truth learn its box. One point does."""

    overlap: BoxOverlap
    bins: HeadingBins
    costs: VDETRAssignment
    weights: VDETRLoss

    def __call__(
        self, predictions: VDETRPredictions, truth: GroundTruth, total: Total = alone
    ) -> Losses:
        """See `Detector.loss`."""
        matches = self.match(predictions.stages, truth)
        each = self.terms(predictions.stages, truth, matches, total)
        terms = {name: torch.stack([own[name] for own in each]).sum() for name in each[0]}
        terms["point_cls"] = self.point_loss(predictions, truth, total)
        return Losses(terms, {"positives": (matches[-1] >= 0).sum()})

    @torch.no_grad()
    def match(self, stages: Sequence[BoxStage], truth: GroundTruth) -> list[Tensor]:
        """For each stage (B, Q) int64: index into the batch's ground truth, or `NEGATIVE`."""
        found = [torch.full_like(s.logits[..., 0], NEGATIVE, dtype=torch.int64) for s in stages]
        for scene in range(len(stages[0].logits)):
            rows = (truth.scenes == scene).nonzero().squeeze(1)
            if len(rows) == 0:
                continue
            boxes, labels = truth.boxes[rows], truth.labels[rows]
            first, *others = (
                self.cost(stage, scene, boxes, labels if i else torch.zeros_like(labels))
                for i, stage in enumerate(stages)
            )
            repeated = torch.stack(others).repeat(1, 1, self.costs.repeats)
            columns = [*least_cost(first[None]), *least_cost(repeated)]
            for own, column in zip(found, columns, strict=True):
                own[scene] = torch.where(column >= 0, rows[column % len(rows)], column)
        return found

    def cost(self, stage: BoxStage, scene: int, boxes: Tensor, labels: Tensor) -> Tensor:
        """(Q, K) of the queries of a scene and its boxes (K, 7) with labels (K,)."""
        p, costs = stage.logits[scene].sigmoid()[:, labels], self.costs
        positive = _ALPHA * (1 - p) ** _GAMMA * -(p + _EPSILON).log()
        negative = (1 - _ALPHA) * p**_GAMMA * -(1 - p + _EPSILON).log()
        center, size = targets(stage.reference[scene][:, None], boxes)
        return (
            costs.cls_cost * (positive - negative)
            + costs.center_cost * (stage.center[scene][:, None] - center).abs().sum(dim=-1)
            + costs.size_cost * (stage.size[scene][:, None] - size).abs().sum(dim=-1)
            - costs.giou_cost * self.overlap.of_all(stage.boxes[scene], boxes, clip=True)
        )

    def terms(
        self,
        stages: Sequence[BoxStage],
        truth: GroundTruth,
        matches: Sequence[Tensor],
        total: Total = alone,
    ) -> list[dict[str, Tensor]]:
        """The weighted losses of each stage, by name: sums, divided by the number of ground truths,
        which counts repetitions.
        """
        count = total(truth.labels.new_full((), len(truth.labels)))
        objects = replace(truth, labels=torch.zeros_like(truth.labels))
        return [
            self._terms(
                stage,
                truth if i else objects,
                own,
                (count * (self.costs.repeats if i else 1)).clamp(min=1),
            )
            for i, (stage, own) in enumerate(zip(stages, matches, strict=True))
        ]

    def _terms(
        self, stage: BoxStage, truth: GroundTruth, matches: Tensor, count: Tensor
    ) -> dict[str, Tensor]:
        weights, matched = self.weights, matches >= 0
        wanted = class_targets(matches.flatten(), truth.labels)
        # Queries without a ground truth compare with the first one, or with none, masked below.
        empty = len(truth.boxes) == 0
        gt = (truth.boxes.new_zeros(1, 7) if empty else truth.boxes)[matches.clamp(min=0)]
        center, size = targets(stage.reference, gt)
        bins, residual = self.bins.encode(-gt[..., 6])
        turned = stage.heading_residual.gather(-1, bins[..., None])[..., 0]
        logits = stage.heading_logits
        entropy = cross_entropy(logits.flatten(0, 1), bins.flatten(), reduction="none")
        losses = {
            "heading_cls": weights.heading_cls_weight * entropy.view_as(bins),
            "heading_reg": weights.heading_reg_weight
            * smooth_l1_loss(turned, residual, reduction="none"),
            "center": weights.center_weight * (stage.center - center).abs().sum(dim=-1),
            "size": weights.size_weight * (stage.size - size).abs().sum(dim=-1),
            "giou": weights.giou_weight * (1 - self.giou(stage, gt, matched)),
        }
        cls = weights.cls_weight * focal_loss(stage.logits.flatten(0, 1), wanted).sum()
        terms = {"cls": cls, **{n: loss.where(matched, 0).sum() for n, loss in losses.items()}}
        return {name: loss / count for name, loss in terms.items()}

    def giou(self, stage: BoxStage, gt: Tensor, matched: Tensor) -> Tensor:
        """(B, Q): generalised IoU of the matched queries and their boxes (B, Q, 7)."""
        at = matched.nonzero(as_tuple=True)
        found = self.overlap.of_pairs(stage.boxes[at], gt[at], clip=True)
        return torch.zeros_like(stage.boxes[..., 0]).index_put(at, found)

    def point_loss(
        self, predictions: VDETRPredictions, truth: GroundTruth, total: Total = alone
    ) -> Tensor:
        """The weighted focal loss of the classes of points."""
        wanted = point_targets(predictions.points, truth)
        count = total(truth.labels.new_full((), len(truth.labels))).clamp(min=1)
        loss = focal_loss(predictions.point_logits.flatten(0, 1), wanted.flatten()).sum()
        return self.weights.point_weight * loss / count


def targets(reference: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """`BoxStage.center` and `BoxStage.size` of boxes (…, 7), relative to references (…, 6)."""
    at, edges = reference.split(3, dim=-1)
    edges = edges + _LEAST_SIZE
    return (boxes[..., :3] - at) / edges, ((boxes[..., 3:6] + _LEAST_SIZE) / edges).log()


@torch.no_grad()
def point_targets(points: Tensor, truth: GroundTruth) -> Tensor:
    """(B, M) int64: the class of the smallest box around each point (B, M, 3), or `NEGATIVE`."""
    found = torch.full_like(points[..., 0], NEGATIVE, dtype=torch.int64)
    for scene, own in enumerate(points):
        rows = (truth.scenes == scene).nonzero().squeeze(1)
        boxes = truth.boxes[rows]
        volumes = boxes[:, 3:6].prod(dim=1)[:, None]
        held = volumes.where(in_boxes(own[None], boxes[None])[0], torch.inf)
        best = torch.cat([held, held.new_full((1, len(own)), _HUGE)]).argmin(dim=0)
        labels = truth.labels[rows]
        found[scene] = torch.cat([labels, labels.new_full((1,), NEGATIVE)])[best]
    return found
