"""SPOTA without the cost of all pairs.

Few pairs can be among the k cheapest of a ground truth. So bounds exclude most pairs before their
overlap is computed. The bounds are safe: the matches equal those of `SPOTA`, which computes the
matrix of all pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sr3d.data.ground_truth import GroundTruth
from sr3d.matching.assigner import Anchors, levels_of
from sr3d.matching.batching import Rows, Scenes
from sr3d.matching.matches import overlaps, places
from sr3d.matching.spota import SPOTA

_PAIRS = 1 << 19  # pairs computed together: limits memory to about 100 MB
_SEEDS = 4  # times k: the number of nearest anchors, whose costs bound the k-th smallest cost
_SLACK = 1e-3  # tolerance of the bounds against rounding: relative, and on an IoU
_ROUNDING = 1e-6  # above the rounding error of a cost near 0
_NEVER = 1e6  # above any cost
_ROOM = 1e-30  # times a squared distance: below any bound


@dataclass(frozen=True)
class PrunedSPOTA(SPOTA):
    """`SPOTA`, with time and memory that grow with the number of pairs near a ground truth."""

    def claims(
        self, anchors: Anchors, boxes: Tensor, logits: Tensor, truth: GroundTruth
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `SPOTA.claims`."""
        levels = None
        if self.levels == "by_class":
            levels = anchors.levels, levels_of(truth.labels, self.class_levels)
        rows = Rows.make(anchors.positions, Scenes.of(anchors, truth), levels)
        pairs = _Pairs(self, anchors.positions, boxes, logits, truth)
        gt, anchor, cost = _cheap_pairs(pairs, rows, self.k)
        claimed = places(gt, cost, len(truth.boxes)) < self.k
        # A pair without a claim gets anchor -1. To drop it would cost a sync.
        return gt, torch.where(claimed, anchor, -1), cost


@dataclass(frozen=True)
class _Pairs:
    """All pairs of ground truths and anchors. Costs are computed only on request.

    Indices are `(P,)`.
    """

    spota: SPOTA
    anchors: Tensor
    pred: Tensor
    logits: Tensor
    truth: GroundTruth

    def without_iou(self, gt: Tensor, anchor: Tensor) -> tuple[Tensor, Tensor]:
        """See `SPOTA.without_iou`. Includes λ C_cls."""
        anchors, pred = (x.index_select(0, anchor) for x in (self.anchors, self.pred))
        boxes = self.truth.boxes.index_select(0, gt)
        prior, bracket = self.spota.without_iou(anchors, pred, boxes)
        if self.spota.cls_weight == 0:
            return prior, bracket
        labelled = self.logits[anchor, self.truth.labels[gt]]
        classes = softplus(self.logits[anchor]).sum(dim=1) - labelled
        return prior, bracket + self.spota.cls_weight * classes

    def of_iou(self, gt: Tensor, anchor: Tensor) -> Tensor:
        """See `SPOTA.of_iou`."""
        iou = overlaps(self.pred, self.truth.boxes, anchor, gt, self.spota.rotated)
        return self.spota.of_iou(iou)


def _cheap_pairs(pairs: _Pairs, rows: Rows, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ground truths, anchors and costs of pairs that include the k cheapest of each ground truth,
    sorted by ground truth, then anchor.

    The k-th smallest cost is at most the k-th smallest cost among some near anchors. A pair costs
    at least γ_c (1 - IoU), where γ_c = 1 - exp(-x) >= x / (1 + x), and no IoU is above the ratio of
    the volumes. This excludes most pairs. The same bound with R_VD excludes most of the rest.
    """
    bound = _bound(pairs, rows, k)
    volume = pairs.pred[:, 3:6].prod(1).nan_to_num(0.0)
    gt_volume = pairs.truth.boxes[:, 3:6].prod(1).clamp(min=1e-30)
    kept = []
    possible = _possible_pairs(pairs, rows, bound, volume, gt_volume)
    for gt, anchor in zip(*(x.split(_PAIRS) for x in possible), strict=True):
        prior, rest = pairs.without_iou(gt, anchor)
        least = prior * (rest + _least(volume[anchor], gt_volume[gt]).clamp_(min=0))
        cheap = (least <= bound[gt]).nonzero().squeeze(1)  # a sync, as above
        kept.append([x[cheap] for x in (gt, anchor, prior, rest)])
    gt, anchor, prior, rest = (torch.cat(x) for x in zip(*kept, strict=True))
    return gt, anchor, prior * (rest + pairs.of_iou(gt, anchor))


def _possible_pairs(
    pairs: _Pairs, rows: Rows, bound: Tensor, volume: Tensor, gt_volume: Tensor
) -> tuple[Tensor, Tensor]:
    """Ground truths and anchors of all pairs that may cost at most `bound` (M,), by their distances
    and volumes, (N,) and (M,), only.
    """
    volumes = rows.table(volume, 0.0)
    found = []
    for part in rows.parts():  # (m, W)
        limit = bound[part, None]
        least = _least(volumes.index_select(0, rows.of[part]), gt_volume[part, None])
        # x / (1 + x) · least <= bound, without the division. False if x is infinite.
        room = least.sub_(limit).clamp_(min=_ROOM)
        squares = rows.squares(part, pairs.truth.boxes)
        found.append(rows.pairs(part, squares.mul_(pairs.spota.mu).mul_(room) <= limit))
    gt, anchor = zip(*found, strict=True)
    return torch.cat(gt), torch.cat(anchor)


def _bound(pairs: _Pairs, rows: Rows, k: int) -> Tensor:
    """(M,) an upper bound of the k-th smallest cost of each ground truth, from near anchors."""
    squares, anchor = rows.nearest(pairs.truth.boxes, _SEEDS * k)
    if squares.shape[1] < k:
        return squares.new_full((len(squares),), _NEVER)
    gt = torch.arange(len(squares), device=squares.device)[:, None].expand_as(anchor)
    gt, anchor = gt.flatten(), anchor.clamp(min=0).flatten()
    prior, rest = pairs.without_iou(gt, anchor)
    costs = prior * (rest + pairs.of_iou(gt, anchor))
    costs = costs.view_as(squares).masked_fill(squares.isinf(), _NEVER)
    return costs.kthvalue(k, dim=1).values * (1 + _SLACK) + _ROUNDING


def _least(volume: Tensor, gt_volume: Tensor) -> Tensor:
    """A lower bound of 1 - IoU for boxes of these volumes, which broadcast."""
    ratio = torch.minimum(volume, gt_volume).div_(torch.maximum(volume, gt_volume))
    return ratio.neg_().add_(1 - _SLACK)
