"""Spatial-prioritized optimal transport assignment (SPOTA), the assigner of SR3D.

Every ground truth claims the k anchors of least cost C = γ_c (C_reg + R_VD). Few of all pairs can
be among them, so `spota_assign` rules pairs out by bounds before it computes their overlap. The
bounds are safe: the result is that of the full cost matrix, `spota_cost`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sr3d.assigners.matches import settle_claims, squared_distances
from sr3d.geometry.iou import enclosing_diagonal, paired_iou, pairwise_iou

_CHUNK = 1 << 20  # pairs looked at together: bounds memory to some MB
_SEEDS = 4  # times k: the nearest anchors, whose costs bound the k-th least
_SLACK = 1e-3  # keeps bounds safe from rounding: relative, and on an IoU
_ROUNDING = 1e-6  # above the rounding error of a cost near 0
_NEVER = 1e6  # above any cost
_LEAST_IOU = 1e-8  # inside the logarithm


@torch.no_grad()
def center_prior(anchors: Tensor, gt_centers: Tensor, mu: float = 1.0) -> Tensor:
    """Paper Eq. 4: 1 - exp(-mu d²) of anchors (N, 3) and centres (M, 3) in metres, (N, M)."""
    return -torch.expm1(-mu * squared_distances(anchors[:, None], gt_centers))


@torch.no_grad()
def vertex_distance(pred: Tensor, gt: Tensor, rotated: bool, vertices: str = "invariant") -> Tensor:
    """Paper Eq. 3 of (N, 7) and (M, 7) boxes, (N, M) in [0, 1]; 0 for a perfect prediction.

    The mean distance of the minimum corners and of the maximum corners, over the diagonal of the
    axis-aligned box around both boxes. On rotated boxes the corners turn with the yaw, and the same
    cuboid can be written in four ways, (yaw + n·pi/2, x and y sizes swapped for odd n), which
    differ in their minimum corner. "invariant" takes the least over the ways to write either box,
    so that only the cuboids count; "literal" takes the boxes as they are written.
    """
    return _vertex_distance(pred[:, None], gt, rotated, vertices)


@torch.no_grad()
def spota_cost(
    anchors: Tensor,
    pred_boxes: Tensor,
    gt_boxes: Tensor,
    *,
    rotated: bool,
    mu: float = 1.0,
    reg_cost: str = "iou",
    vertex_distance: bool = True,
    vertices: str = "invariant",
    cls_cost: Tensor | None = None,
) -> Tensor:
    """Paper Eq. 5 of all pairs: what `spota_assign` minimises, without its shortcuts.

    Args:
        anchors: (N, 3) metres.
        pred_boxes: (N, 7), each anchor's decoded box.
        gt_boxes: (M, 7).
        mu: of Eq. 4, per square metre.
        reg_cost: C_reg, "iou" (1 - IoU), "log_iou" (-ln IoU) or "diou" (DIoU loss).
        vertex_distance: whether R_VD counts.
        vertices: see the function `vertex_distance`.
        cls_cost: (N, M), what a pair's classes add inside the bracket (Table 3, "w/ C_cls").

    Returns:
        (N, M).
    """
    cost = _Cost(rotated, mu, reg_cost, vertex_distance, vertices)
    prior, rest = cost.without_iou(anchors[:, None], pred_boxes[:, None], gt_boxes)
    if cls_cost is not None:
        rest = rest + cls_cost
    return prior * (rest + cost.of_iou(pairwise_iou(pred_boxes, gt_boxes, rotated)))


@torch.no_grad()
def classification_cost(logits: Tensor, gt_labels: Tensor) -> Tensor:
    """Cross entropy of (N, C) logits with each ground truth's one-hot label, (N, M).

    C_cls of Eq. 2, summed over the classes as in simOTA.
    """
    # Σ softplus(x) − x of the label: BCE over the classes, without an (N, M, C) table.
    return softplus(logits).sum(dim=1, keepdim=True) - logits[:, gt_labels]


@torch.no_grad()
def spota_assign(
    anchors: Tensor,
    anchor_levels: Tensor,
    pred_boxes: Tensor,
    gt_boxes: Tensor,
    gt_levels: Tensor,
    *,
    rotated: bool,
    k: int = 6,
    levels: str = "all",
    mu: float = 1.0,
    reg_cost: str = "iou",
    vertex_distance: bool = True,
    vertices: str = "invariant",
    cls_weight: float = 0.0,
    logits: Tensor | None = None,
    gt_labels: Tensor | None = None,
) -> Tensor:
    """Paper Algorithm 1: every ground truth claims its k anchors of least cost, all if fewer.

    An anchor that several claim goes to the one of least cost, as in simOTA, and the others get no
    substitute. Of equal costs the lower index wins.

    Args:
        anchors: (N, 3) metres, of all levels.
        anchor_levels: (N,) int; used by levels="by_class" alone, as is gt_levels.
        pred_boxes: (N, 7), each anchor's decoded box.
        gt_boxes: (M, 7).
        gt_levels: (M,) int, the level of each ground truth's class.
        levels: "all" anchors are up for claims, or "by_class" those on the class's level (TR3D).
        mu, reg_cost, vertex_distance, vertices: see `spota_cost`.
        cls_weight: λ, where the bracket of Eq. 5 also has λ C_cls; needs the (N, C) logits and
            the (M,) gt_labels then.

    Returns:
        (N,) int64 index of the ground truth, -1 for a negative.
    """
    if levels not in ("all", "by_class"):
        raise ValueError(f"unknown choice of levels: {levels}")
    if len(anchors) == 0 or len(gt_boxes) == 0:
        return anchors.new_full((len(anchors),), -1, dtype=torch.int64)
    cost = _Cost(rotated, mu, reg_cost, vertex_distance, vertices)
    size = max(1, _CHUNK // len(anchors))
    pairs = []
    for first in range(0, len(gt_boxes), size):
        part = slice(first, first + size)
        allowed = anchor_levels == gt_levels[part, None] if levels == "by_class" else None
        extra = None
        if cls_weight > 0:
            if logits is None or gt_labels is None:
                raise ValueError("cls_weight needs logits and gt_labels")
            extra = cls_weight * classification_cost(logits, gt_labels[part]).t()
        found = _cheap_pairs(anchors, pred_boxes, gt_boxes[part], allowed, extra, k, cost)
        gt, anchor, value = found
        pairs.append((gt + first, anchor, value))
    gt, anchor, value = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    return settle_claims(gt, anchor, value, k, len(anchors))


@dataclass(frozen=True)
class _Cost:
    """Eq. 5 with its options. Its inputs `(…, 3)` and `(…, 7)` broadcast."""

    rotated: bool
    mu: float
    reg_cost: str
    vertex_distance: bool
    vertices: str

    def without_iou(self, anchors: Tensor, pred: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
        """γ_c, and the terms in its bracket that need no overlap; cost = γ_c (terms + of_iou)."""
        prior = -torch.expm1(-self.mu * squared_distances(anchors, gt))
        rest = torch.zeros_like(prior)
        if self.vertex_distance:
            rest = rest + _vertex_distance(pred, gt, self.rotated, self.vertices)
        if self.reg_cost == "diou":
            diagonal = enclosing_diagonal(pred, gt, self.rotated)
            rest = rest + (squared_distances(pred, gt) / diagonal.square()).nan_to_num(1.0)
        return prior, rest

    def of_iou(self, iou: Tensor) -> Tensor:
        """The term of C_reg that needs the overlap; at least 1 - IoU whatever the option."""
        iou = iou.nan_to_num(0.0)  # boxes of infinite size, early in a bad training
        match self.reg_cost:
            case "iou" | "diou":
                return 1 - iou
            case "log_iou":
                return -iou.clamp(min=_LEAST_IOU).log()
        raise ValueError(f"unknown C_reg: {self.reg_cost}")


def _cheap_pairs(
    anchors: Tensor,
    pred: Tensor,
    gt: Tensor,
    allowed: Tensor | None,
    extra: Tensor | None,
    k: int,
    cost: _Cost,
) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of ground truths and anchors, and costs, of pairs that contain each ground truth's k
    cheapest, sorted by ground truth, then anchor.

    The k-th least cost is at most that among some near anchors. A pair costs at least
    γ_c (1 - IoU), where γ_c = 1 - exp(-x) >= x / (1 + x), and no IoU is above the ratio of volumes:
    that rules out most pairs, and the same bound with R_VD most of the rest.

    allowed: (M, N) bool, which pairs there are at all; None for every one. extra: (M, N), at least
    0, what a pair adds inside the bracket; None for nothing.
    """
    squares = squared_distances(gt[:, None], anchors)  # (M, N), as everything dense here
    if allowed is not None:
        squares = squares.masked_fill_(~allowed, torch.inf)
    near = squares.topk(min(_SEEDS * k, len(anchors)), dim=1, largest=False)
    bound = squares.new_full((len(gt), 1), _NEVER)
    if near.values.shape[1] >= k:
        boxes = gt[:, None].expand(-1, near.indices.shape[1], -1)
        prior, rest = cost.without_iou(anchors[near.indices], pred[near.indices], boxes)
        if extra is not None:
            rest = rest + extra.gather(1, near.indices)
        iou = paired_iou(pred[near.indices].flatten(0, 1), boxes.flatten(0, 1), cost.rotated)
        costs = prior * (rest + cost.of_iou(iou.view_as(prior)))
        costs = costs.masked_fill(near.values.isinf(), _NEVER)
        bound = costs.kthvalue(k, dim=1, keepdim=True).values * (1 + _SLACK) + _ROUNDING

    volume = pred[:, 3:6].prod(1).nan_to_num(0.0)
    gt_volume = gt[:, 3:6].prod(1).clamp(min=1e-30)[:, None]
    ratio = torch.minimum(volume, gt_volume).div_(torch.maximum(volume, gt_volume))
    least = ratio.neg_().add_(1 - _SLACK)  # below 1 - IoU
    # x / (1 + x) · least <= bound, without the division
    possible = squares.mul_(cost.mu).mul_(least - bound) <= bound
    if allowed is not None:
        possible &= allowed
    row, column = possible.nonzero().unbind(1)
    prior, rest = cost.without_iou(anchors[column], pred[column], gt[row])
    if extra is not None:
        rest = rest + extra[row, column]
    kept = prior * (rest + least[row, column].clamp(min=0)) <= bound[row, 0]
    row, column, prior, rest = row[kept], column[kept], prior[kept], rest[kept]
    iou = paired_iou(pred[column], gt[row], cost.rotated)
    return row, column, prior * (rest + cost.of_iou(iou))


def _vertex_distance(pred: Tensor, gt: Tensor, rotated: bool, vertices: str) -> Tensor:
    """`vertex_distance` of boxes `(…, 7)` that broadcast."""
    x, y, z = (pred[..., axis] - gt[..., axis] for axis in range(3))
    rise = (pred[..., 5] - gt[..., 5]) / 2
    bottom, top = (z - rise).square(), (z + rise).square()

    def corners(run_x: Tensor, run_y: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distance, seen from above, of the minimum corners and of the maximum corners,
        where the corners lie at the centre minus and plus an offset; run: difference of offsets.
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
    elif vertices == "invariant":
        total = torch.full_like(x, torch.inf)
        least, most = torch.minimum(bottom, top), torch.maximum(bottom, top)
        for pred_x, pred_y in _diagonals(pred):
            for gt_x, gt_y in _diagonals(gt):
                for sign in (1, -1):
                    low, high = corners(pred_x - sign * gt_x, pred_y - sign * gt_y)
                    # Turned by pi, both offsets swap signs and with them low and high. Of the two,
                    # the less sum pairs less with less, because the square root is concave.
                    near = (torch.minimum(low, high) + least).sqrt()
                    total = torch.minimum(total, near + (torch.maximum(low, high) + most).sqrt())
    else:
        raise ValueError(f"unknown choice of vertices: {vertices}")
    # inf / inf, for boxes of infinite size, is the worst.
    return (total / (2 * enclosing_diagonal(pred, gt, rotated))).nan_to_num(1.0)


def _diagonals(boxes: Tensor) -> list[tuple[Tensor, Tensor]]:
    """x and y from the centre to two neighbouring corners; the other two lie opposite."""
    cos, sin = torch.cos(boxes[..., 6]) / 2, torch.sin(boxes[..., 6]) / 2
    dx, dy = boxes[..., 3], boxes[..., 4]
    return [(side * cos - dy * sin, side * sin + dy * cos) for side in (dx, -dx)]
