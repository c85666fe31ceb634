"""3DETR's matching and losses: the same after every decoder layer, added up.

Source: facebookresearch/3detr (criterion.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, smooth_l1_loss

from sr3d.data.ground_truth import NEGATIVE, GroundTruth
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.detr3d.config import DETR3DLoss
from sr3d.detectors.detr3d.giou import BoxOverlap
from sr3d.detectors.detr3d.network import Extent, RawOutputs
from sr3d.detectors.outputs import Losses, Total, alone
from sr3d.matching.hungarian import HungarianMatcher


@dataclass(frozen=True)
class QueryPredictions:
    """L decoder layers' predictions for Q queries of each of B scenes.

    boxes: (L, B, Q, 7) decoded, differentiable. queries: (B, Q, 3), the points of the queries.
    points: (B, N, 3), the input, whose extent normalises centres and sizes.
    """

    raw: RawOutputs
    boxes: Tensor
    queries: Tensor
    points: Tensor
    extent: Extent

    @property
    def probabilities(self) -> Tensor:
        """(L, B, Q, C), without the one of no object."""
        return self.raw.logits.softmax(dim=-1)[..., :-1]

    @property
    def objectness(self) -> Tensor:
        """(L, B, Q): one minus the probability of no object."""
        return 1 - self.raw.logits.softmax(dim=-1)[..., -1]


@dataclass(frozen=True)
class SetLoss:
    """One query per ground truth, chosen by `matcher`, learns its box. All others learn background.

    overlap: the generalised IoU of costs and of the loss.
    """

    matcher: HungarianMatcher
    overlap: BoxOverlap
    bins: HeadingBins
    weights: DETR3DLoss

    def __call__(
        self, predictions: QueryPredictions, truth: GroundTruth, total: Total = alone
    ) -> Losses:
        """See `Detector.loss`."""
        clip = self.clips(truth.boxes, total)
        matches = self.match(predictions, truth, clip)
        terms = self.terms(predictions, truth, matches, clip, total)
        positives = (matches[-1] >= 0).sum()
        return Losses(
            {name: value.sum() for name, value in terms.items()}, {"positives": positives}
        )

    def clips(self, truth: Tensor, total: Total = alone) -> bool:
        """Whether 3DETR intersects polygons in a batch with these (M, 7) boxes: if the heading of
        any of them, in (-π, π], is positive. See `BoxOverlap`. A sync.

        total: see `Detector.loss`.
        """
        positive = self.bins.decode(*self.bins.encode(-truth[:, 6])) > 0
        return bool(total(positive.sum()) > 0)

    @torch.no_grad()
    def match(self, predictions: QueryPredictions, truth: GroundTruth, clip: bool) -> Tensor:
        """(L, B, Q) int64: index into the batch's ground truth, or `NEGATIVE`.

        clip: `clips` of the batch.
        """
        probabilities, objectness = predictions.probabilities, predictions.objectness
        matches = torch.full_like(objectness, NEGATIVE, dtype=torch.int64)
        for scene in range(matches.shape[1]):
            rows = (truth.scenes == scene).nonzero().squeeze(1)
            if len(rows) == 0:
                continue
            gious, distances = self.costs(predictions, truth.boxes[rows], scene, clip)
            found = self.matcher(
                probabilities[:, scene], objectness[:, scene], distances, gious, truth.labels[rows]
            )
            matches[:, scene] = torch.where(found >= 0, rows[found.clamp(min=0)], found)
        return matches

    def costs(
        self, predictions: QueryPredictions, truth: Tensor, scene: int, clip: bool
    ) -> tuple[Tensor, Tensor]:
        """Generalised IoU, and L1 distance of normalised centres, (L, Q, M), in one scene.

        truth: its (M, 7) boxes.
        """
        boxes, extent = predictions.boxes[:, scene], predictions.extent.of_scene(scene)
        gious = self.overlap.of_all(boxes.flatten(0, 1), truth, clip)
        centers = extent.normalised(boxes[..., :3])
        distances = torch.cdist(centers, extent.normalised(truth[:, :3]), p=1)
        return gious.unflatten(0, boxes.shape[:2]), distances

    def terms(
        self,
        predictions: QueryPredictions,
        truth: GroundTruth,
        matches: Tensor,
        clip: bool,
        total: Total = alone,
    ) -> dict[str, Tensor]:
        """The weighted losses of each layer, (L,), by name.

        Classification is an average over queries, weighted by their true classes. All others are
        sums over the matched queries, divided by the number of ground truths.
        """
        raw, extent, weights = predictions.raw, predictions.extent, self.weights
        matched = matches >= 0
        # Queries without a ground truth compare with the first one, or with none, masked below.
        owner = matches.clamp(min=0)
        padded = len(truth.boxes) == 0
        gt = (truth.boxes.new_zeros(1, 7) if padded else truth.boxes)[owner]
        labels = (truth.labels.new_zeros(1) if padded else truth.labels)[owner]
        bins, residual = self.bins.encode(-gt[..., 6])
        found = raw.heading_residual.gather(-1, bins[..., None])[..., 0]
        center = extent.normalised(predictions.boxes[..., :3]) - extent.normalised(gt[..., :3])
        size = raw.size.sigmoid() - extent.shares(gt[..., 3:6])
        losses = {
            "heading_cls": weights.heading_cls_weight * _cross_entropy(raw.heading_logits, bins),
            "heading_reg": weights.heading_reg_weight
            * smooth_l1_loss(found, residual, reduction="none"),
            "center": weights.center_weight * center.abs().sum(dim=-1),
            "size": weights.size_weight * size.abs().sum(dim=-1),
        }
        if weights.giou_weight:
            gious = self.overlap.of_pairs(predictions.boxes, gt, clip)
            losses["giou"] = weights.giou_weight * (1 - gious)
        count = total(truth.labels.new_full((), len(truth.labels))).clamp(min=1)
        terms = {
            name: loss.where(matched, 0).flatten(1).sum(dim=1) / count
            for name, loss in losses.items()
        }
        return {"cls": weights.cls_weight * self._cls(raw.logits, labels, matched, total), **terms}

    def _cls(self, logits: Tensor, labels: Tensor, matched: Tensor, total: Total) -> Tensor:
        """(L,): the weighted average of the cross entropy of all queries."""
        labels = labels.where(matched, logits.shape[-1] - 1)
        weight = torch.where(matched, 1.0, self.weights.background_weight)
        entropy = (_cross_entropy(logits, labels) * weight).flatten(1).sum(dim=1)
        positives = total(matched.flatten(1).sum(dim=1))
        negatives = total((~matched).flatten(1).sum(dim=1))
        return entropy / (positives + self.weights.background_weight * negatives).clamp(min=1e-6)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(L, B, Q) of logits (L, B, Q, C)."""
    return cross_entropy(logits.flatten(0, 2), labels.flatten(), reduction="none").view_as(labels)
