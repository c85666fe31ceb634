"""Shared parts of simOTA and AlignOTA: regions around centres, and k by the overlaps.

Anchors in the region of any ground truth are candidates. A ground truth is compared with all
candidates of its scene, in matrices (M, A) of M ground truths and the maximum number of candidates
of a scene. Scenes with fewer candidates are padded. Costs are in float64, because float32 would
lose all differences beside a penalty of 1e8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sr3d.geometry.boxes import enclosing_boxes
from sr3d.matching.batching import Rows, Scenes
from sr3d.matching.matches import overlaps, settle

_SLACK = 1e-3  # relative tolerance against rounding


def reach_of_region(strides: Tensor, radius: float) -> Tensor:
    """Maximum distance in metres from a centre to an anchor in its region, see `in_region`. ()."""
    return math.sqrt(3) * radius * strides.max()


def in_region(points: Tensor, strides: Tensor, centers: Tensor, radius: float) -> Tensor:
    """(P,) bool: points (P, 3) within (strictly) radius · stride of centres (P, 3) on each axis.

    strides: (P,) metres, the edge of each anchor's cell.
    """
    return ((points - centers).abs() < (radius * strides)[:, None]).all(dim=1)


@dataclass(frozen=True)
class Candidates:
    """The anchors that may be claimed, by the ground truths of their scenes.

    index: (K,) int64, ascending, into all anchors. candidate: (M, A) int64 into `index`, -1 in
    padded entries. region: (M, A) bool, whether they are in the region of the ground truth. rows:
    their predicted centres.
    """

    index: Tensor
    candidate: Tensor
    region: Tensor
    rows: Rows

    @staticmethod
    def choose(
        pred_boxes: Tensor,
        scenes: Scenes,
        pairs: tuple[Tensor, Tensor],
        admitted: Tensor,
        region: Tensor,
        nearest: Tensor,
    ) -> Candidates | None:
        """From pairs of a ground truth and an anchor, (P,) indices.

        Flags of each pair say whether it makes the anchor a candidate, and whether the anchor is in
        the region. The nearest anchor of each ground truth, (M,) or -1, is both. Returns None if
        there is no candidate.
        """
        (gt, anchor), end = pairs, len(pred_boxes)
        chosen = torch.zeros(end + 1, dtype=torch.bool, device=anchor.device)  # last: padding
        chosen[torch.where(admitted, anchor, end)] = True
        chosen[nearest] = True
        index = chosen[:-1].nonzero()[:, 0]
        if len(index) == 0:
            return None
        rows = Rows.make(pred_boxes[index, :3], Scenes(scenes.anchors[index], scenes.truths))
        column = torch.full((end + 1,), rows.width, device=index.device)
        column[index] = rows.column
        inside = torch.zeros(len(nearest), rows.width + 1, dtype=torch.bool, device=index.device)
        inside[gt, column[torch.where(region, anchor, end)]] = True
        inside[torch.arange(len(nearest), device=index.device), column[nearest]] = True
        return Candidates(index, rows.anchor[rows.of], inside[:, :-1], rows)

    def iou(self, gt_boxes: Tensor, pred_boxes: Tensor, rotated: bool) -> Tensor:
        """(M, A) float64 in [0, 1]. 0 for boxes that are not finite, early in a bad training
        run."""
        pred = pred_boxes[self.index]
        around, gt_around = pred, gt_boxes
        if rotated:
            around, gt_around = enclosing_boxes(pred.double()), enclosing_boxes(gt_boxes.double())
        radius, gt_radius = (b[:, 3:6].norm(dim=1).to(pred.dtype) / 2 for b in (around, gt_around))
        radii = self.rows.table(radius, 0.0)
        iou = torch.zeros(self.candidate.shape, dtype=torch.float64, device=pred.device)
        for part in self.rows.parts():
            reach = radii.index_select(0, self.rows.of[part]).add_(gt_radius[part, None])
            near = self.rows.squares(part, gt_boxes) <= reach.square_().mul_(1 + _SLACK)
            gt, anchor = self.rows.pairs(part, near)
            if rotated:  # as `pairwise_iou`: boxes cannot overlap if their bounding boxes do not
                meet = overlaps(gt_around, around, gt, anchor, rotated=False) > 0
                met = meet.nonzero().squeeze(1)
                gt, anchor = gt[met], anchor[met]
            shared = overlaps(gt_boxes, pred, gt, anchor, rotated)
            iou[gt, self.rows.column[anchor]] = shared.double()
        return iou.nan_to_num_(0.0).clamp_(0, 1)

    def match(self, cost: Tensor, iou: Tensor, top_n: int, anchors: int) -> Tensor:
        """Every ground truth claims its k candidates of least cost.

        k is the sum of the ground truth's top_n largest IoUs, rounded down, and at least 1. If
        several ground truths claim a candidate, it goes to the ground truth with the least cost of
        all, even if that one did not claim it (as in YOLOX and DAMO-YOLO). The others get no
        substitute. Of equal costs the lower index wins, and NaN comes last.

        Args:
            cost: (M, A). iou: (M, A) in [0, 1].
            anchors: the number of all anchors.

        Returns:
            (anchors,) int64 index of the ground truth, -1 without a claim.
        """
        real = self.candidate >= 0
        top_n = min(top_n, cost.shape[1])
        k = iou.topk(top_n, dim=1).values.sum(dim=1).long().clamp(min=1)
        # Padded entries come last: NaN, after the candidates.
        cheapest = cost.masked_fill(~real, torch.nan).argsort(dim=1, stable=True)[:, :top_n]
        claimed = torch.arange(top_n, device=k.device) < k[:, None]  # k is at most top_n
        claimed = torch.zeros_like(real).scatter_(1, cheapest, claimed) & real

        candidate = self.candidate.clamp(min=0)
        claims = claimed.long().flatten()
        claims = claims.new_zeros(len(self.index)).scatter_add_(0, candidate.flatten(), claims)
        contested = (claims > 1)[candidate] & real
        gt, column = (claimed | contested).nonzero().unbind(1)
        anchor, everything = self.index[candidate[gt, column]], torch.ones_like(gt).bool()
        return settle(gt, anchor, cost[gt, column], everything, anchors)
