"""Spatial-prioritized optimal transport assignment (SPOTA), the assigner of SR3D.

Every ground truth claims the k anchors of least cost C = γ_c (C_reg + R_VD), Eq. 3 to 5. This
module computes the cost of all pairs as one matrix. `spota_pruned` finds the same claims without
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sr3d.data.ground_truth import GroundTruth
from sr3d.geometry.iou import enclosing_diagonal
from sr3d.matching.assigner import Anchors, all_negative, levels_of
from sr3d.matching.matches import overlaps, settle, squared_distances

_LEAST_IOU = 1e-8  # added inside the logarithm


@dataclass(frozen=True)
class SPOTA:
    """Paper Algorithm 1: every ground truth claims its k anchors of least cost, all if fewer.

    If several ground truths claim an anchor, the one of least cost gets it, as in simOTA. The
    others get no substitute. Of equal costs the lower index wins.

    rotated: whether boxes have a yaw. levels: claim on "all" levels, or "by_class", on the level of
    the class in class_levels (as TR3D). mu: of Eq. 4, per square metre. reg_cost: C_reg, "iou"
    (1 - IoU), "log_iou" (-ln IoU) or "diou" (DIoU loss). with_vertices: whether R_VD counts.
    vertices: see `vertex_distance`. cls_weight: λ of an additional term λ C_cls in the bracket of
    Eq. 5 (Table 3, "w/ C_cls").
    """

    rotated: bool
    k: int = 6
    levels: Literal["all", "by_class"] = "all"
    class_levels: tuple[int, ...] = ()
    mu: float = 1.0
    reg_cost: Literal["iou", "log_iou", "diou"] = "iou"
    with_vertices: bool = True
    vertices: Literal["invariant", "literal"] = "invariant"
    cls_weight: float = 0.0

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for name in ("levels", "reg_cost", "vertices"):
            if getattr(self, name) not in get_args(hints[name]):
                raise ValueError(f"SPOTA: {name} is one of {get_args(hints[name])}")

    @torch.no_grad()
    def __call__(
        self, anchors: Anchors, boxes: Tensor, logits: Tensor, truth: GroundTruth
    ) -> Tensor:
        """See `Assigner`."""
        count = len(anchors.positions)
        if count == 0 or len(truth.boxes) == 0:
            return all_negative(anchors)
        gt, anchor, cost = self.claims(anchors, boxes, logits, truth)
        return settle(gt, anchor, cost, anchor >= 0, count)

    def claims(
        self, anchors: Anchors, boxes: Tensor, logits: Tensor, truth: GroundTruth
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Ground truths, anchors and costs, (P,) each: the k cheapest pairs of each ground truth.

        An anchor of -1 means no claim.
        """
        possible = anchors.scenes == truth.scenes[:, None]  # (M, A)
        if self.levels == "by_class":
            possible &= anchors.levels == levels_of(truth.labels, self.class_levels)[:, None]
        cost = self.cost_matrix(anchors.positions, boxes, logits, truth)
        cost, anchor = cost.masked_fill(~possible, torch.inf).sort(dim=1, stable=True)
        gt, place = possible.gather(1, anchor)[:, : self.k].nonzero().unbind(1)
        return gt, anchor[gt, place], cost[gt, place]

    @torch.no_grad()
    def cost_matrix(
        self, anchors: Tensor, boxes: Tensor, logits: Tensor, truth: GroundTruth
    ) -> Tensor:
        """(M, A): Eq. 5 of every ground truth with every anchor, (A, 3), and its box, (A, 7)."""
        m, a = len(truth.boxes), len(anchors)
        gt, anchor = anchors.new_ones(m, a).nonzero().unbind(1)  # every pair
        prior, bracket = self.without_iou(anchors, boxes, truth.boxes[:, None])
        if self.cls_weight > 0:
            bracket = bracket + self.cls_weight * classification_cost(logits, truth.labels).T
        iou = overlaps(boxes, truth.boxes, anchor, gt, self.rotated).view(m, a)
        return prior * (bracket + self.of_iou(iou))

    def without_iou(self, anchors: Tensor, boxes: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
        """γ_c, and the terms in its bracket that need no IoU, of `(…, 3)` and `(…, 7)` that
        broadcast. Eq. 5 is γ_c (terms + `of_iou`).
        """
        prior = center_prior(anchors, gt, self.mu)
        bracket = torch.zeros_like(prior)
        if self.with_vertices:
            bracket = bracket + vertex_distance(boxes, gt, self.rotated, self.vertices)
        if self.reg_cost == "diou":
            diagonal = enclosing_diagonal(boxes, gt, self.rotated)
            bracket = bracket + (squared_distances(boxes, gt) / diagonal.square()).nan_to_num(1.0)
        return prior, bracket

    def of_iou(self, iou: Tensor) -> Tensor:
        """The term of C_reg that needs the IoU. At least 1 - IoU for every `reg_cost`."""
        iou = iou.nan_to_num(0.0)  # boxes of infinite size, early in a bad training run
        if self.reg_cost == "log_iou":
            return -iou.clamp(min=_LEAST_IOU).log()
        return 1 - iou


def center_prior(anchors: Tensor, centers: Tensor, mu: float = 1.0) -> Tensor:
    """Paper Eq. 4: 1 - exp(-mu d²) of points `(…, 3 or more)` in metres that broadcast."""
    return -torch.expm1(-mu * squared_distances(anchors, centers))


def vertex_distance(pred: Tensor, gt: Tensor, rotated: bool, vertices: str = "invariant") -> Tensor:
    """Paper Eq. 3 of boxes `(…, 7)` that broadcast: R_VD in [0, 1], 0 for a perfect prediction.

    The mean of the distances of the minimum corners and of the maximum corners, divided by the
    diagonal of the axis-aligned box around both boxes. The corners of a rotated box rotate with the
    yaw. The same cuboid can be written in four ways, (yaw + n·pi/2, x and y sizes swapped for odd
    n), with different minimum corners. "invariant" takes the minimum over the four ways, so the
    result depends only on the cuboids. "literal" takes the boxes as written.
    """
    x, y, z = (pred[..., axis] - gt[..., axis] for axis in range(3))
    rise = (pred[..., 5] - gt[..., 5]) / 2
    bottom, top = (z - rise).square(), (z + rise).square()

    def corners(run_x: Tensor, run_y: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distances in the x-y plane of the minimum corners and of the maximum corners.

        The corners are the centre minus and plus an offset. run: difference of the offsets.
        """
        low = (x - run_x).square() + (y - run_y).square()
        return low, (x + run_x).square() + (y + run_y).square()

    if not rotated:
        low, high = corners((pred[..., 3] - gt[..., 3]) / 2, (pred[..., 4] - gt[..., 4]) / 2)
        total = (low + bottom).sqrt() + (high + top).sqrt()
    elif vertices == "literal":
        (pred_x, pred_y), (gt_x, gt_y) = _diagonals(pred)[0], _diagonals(gt)[0]
        low, high = corners(pred_x - gt_x, pred_y - gt_y)
        total = (low + bottom).sqrt() + (high + top).sqrt()
    else:
        total = torch.full_like(x, torch.inf)
        least, most = torch.minimum(bottom, top), torch.maximum(bottom, top)
        for pred_x, pred_y in _diagonals(pred):
            for gt_x, gt_y in _diagonals(gt):
                for sign in (1, -1):
                    low, high = corners(pred_x - sign * gt_x, pred_y - sign * gt_y)
                    # After a turn by pi, both offsets swap signs, and so the minimum and maximum
                    # corners. The smaller sum pairs small with small: the square root is concave.
                    near = (torch.minimum(low, high) + least).sqrt()
                    total = torch.minimum(total, near + (torch.maximum(low, high) + most).sqrt())
    # Boxes of infinite size give inf / inf, which counts as the worst.
    return (total / (2 * enclosing_diagonal(pred, gt, rotated))).nan_to_num(1.0)


def _diagonals(boxes: Tensor) -> list[tuple[Tensor, Tensor]]:
    """x and y from the centre to two neighbouring corners. The other two are opposite."""
    cos, sin = torch.cos(boxes[..., 6]) / 2, torch.sin(boxes[..., 6]) / 2
    dx, dy = boxes[..., 3], boxes[..., 4]
    return [(side * cos - dy * sin, side * sin + dy * cos) for side in (dx, -dx)]


def classification_cost(logits: Tensor, gt_labels: Tensor) -> Tensor:
    """Cross entropy of (A, C) logits with each ground truth's one-hot label, (A, M).

    C_cls of Eq. 2, summed over the classes as in simOTA.
    """
    # BCE over the classes: Σ softplus(x) − x of the label. Needs no (A, M, C) table.
    return softplus(logits).sum(dim=1, keepdim=True) - logits[:, gt_labels]
