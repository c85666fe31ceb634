"""Spatial-prioritized optimal transport assignment (SPOTA), the assigner of SR3D.

Every ground truth claims the k anchors of least cost C = γ_c (C_reg + R_VD). Few of all pairs can
be among them, so `spota_assign` rules pairs out by bounds before it computes their overlap. The
bounds are safe: the result is that of the full cost matrix, `spota_cost`, which is never there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sr3d.geometry.iou import enclosing_diagonal, pairwise_iou
from sr3d.matching.batching import Rows, Scenes
from sr3d.matching.matches import overlaps, places, settle, squared_distances

_PAIRS = 1 << 19  # pairs whose terms are computed together: bounds memory to some 100 MB
_SEEDS = 4  # times k: the nearest anchors, whose costs bound the k-th least
_SLACK = 1e-3  # keeps bounds safe from rounding: relative, and on an IoU
_ROUNDING = 1e-6  # above the rounding error of a cost near 0
_NEVER = 1e6  # above any cost
_ROOM = 1e-30  # times a squared distance: below any bound
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
    scenes: Scenes | None = None,
) -> Tensor:
    """Paper Algorithm 1: every ground truth claims its k anchors of least cost, all if fewer.

    An anchor that several claim goes to the one of least cost, as in simOTA, and the others get no
    substitute. Of equal costs the lower index wins.

    Args:
        anchors: (N, 3) metres, of all levels.
        anchor_levels: (N,) int64; used by levels="by_class" alone, as is gt_levels.
        pred_boxes: (N, 7), each anchor's decoded box.
        gt_boxes: (M, 7).
        gt_levels: (M,) int64, the level of each ground truth's class.
        levels: "all" anchors are up for claims, or "by_class" those on the class's level (TR3D).
        mu, reg_cost, vertex_distance, vertices: see `spota_cost`.
        cls_weight: λ, where the bracket of Eq. 5 also has λ C_cls; needs the (N, C) logits and
            the (M,) gt_labels then.
        scenes: of a batch; None for one scene.

    Returns:
        (N,) int64 index of the ground truth, -1 for a negative.
    """
    if levels not in ("all", "by_class"):
        raise ValueError(f"unknown choice of levels: {levels}")
    if len(anchors) == 0 or len(gt_boxes) == 0:
        return anchors.new_full((len(anchors),), -1, dtype=torch.int64)
    scenes = scenes or Scenes.one(anchors, gt_boxes)
    rows = Rows.make(anchors, scenes, (anchor_levels, gt_levels) if levels == "by_class" else None)
    cost = _Cost(rotated, mu, reg_cost, vertex_distance, vertices)
    classes = None
    if cls_weight > 0:
        if logits is None or gt_labels is None:
            raise ValueError("cls_weight needs logits and gt_labels")
        classes = _Classes(cls_weight, logits, gt_labels)
    pairs = _Pairs(anchors, pred_boxes, gt_boxes, cost, classes)
    gt, anchor, value = _cheap_pairs(pairs, rows, k)
    claimed = places(gt, value, len(gt_boxes)) < k
    return settle(gt, anchor, value, claimed, len(anchors))


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


@dataclass(frozen=True)
class _Classes:
    """λ C_cls of pairs of a ground truth and an anchor; see `classification_cost`."""

    weight: float
    logits: Tensor
    gt_labels: Tensor

    def cost(self, gt: Tensor, anchor: Tensor) -> Tensor:
        """Of indices `(P,)`."""
        labelled = self.logits[anchor, self.gt_labels[gt]]
        return self.weight * (softplus(self.logits[anchor]).sum(dim=1) - labelled)


@dataclass(frozen=True)
class _Pairs:
    """All pairs of ground truths and anchors; what they cost is computed of those asked for.

    Indices are `(P,)`. classes: None where they do not count.
    """

    anchors: Tensor
    pred: Tensor
    gt: Tensor
    cost: _Cost
    classes: _Classes | None

    def without_iou(self, gt: Tensor, anchor: Tensor) -> tuple[Tensor, Tensor]:
        """As `_Cost.without_iou`."""
        anchors, pred = (x.index_select(0, anchor) for x in (self.anchors, self.pred))
        prior, rest = self.cost.without_iou(anchors, pred, self.gt.index_select(0, gt))
        return prior, rest if self.classes is None else rest + self.classes.cost(gt, anchor)

    def of_iou(self, gt: Tensor, anchor: Tensor) -> Tensor:
        """As `_Cost.of_iou`."""
        return self.cost.of_iou(overlaps(self.pred, self.gt, anchor, gt, self.cost.rotated))


def _cheap_pairs(pairs: _Pairs, rows: Rows, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ground truths, anchors and costs of pairs that contain the k cheapest of each ground truth,
    by ground truth, then anchor.

    The k-th least cost is at most that among some near anchors. A pair costs at least
    γ_c (1 - IoU), where γ_c = 1 - exp(-x) >= x / (1 + x), and no IoU is above the ratio of volumes:
    that rules out most pairs, and the same bound with R_VD most of the rest.
    """
    bound = _bound(pairs, rows, k)
    volume = pairs.pred[:, 3:6].prod(1).nan_to_num(0.0)
    gt_volume = pairs.gt[:, 3:6].prod(1).clamp(min=1e-30)
    kept = []
    possible = _possible_pairs(pairs, rows, bound, volume, gt_volume)
    for gt, anchor in zip(*(x.split(_PAIRS) for x in possible), strict=True):
        prior, rest = pairs.without_iou(gt, anchor)
        least = prior * (rest + _least(volume[anchor], gt_volume[gt]).clamp_(min=0))
        cheap = (least <= bound[gt]).nonzero().squeeze(1)  # waits for a GPU, as for those above
        kept.append([x[cheap] for x in (gt, anchor, prior, rest)])
    gt, anchor, prior, rest = (torch.cat(x) for x in zip(*kept, strict=True))
    return gt, anchor, prior * (rest + pairs.of_iou(gt, anchor))


def _possible_pairs(
    pairs: _Pairs, rows: Rows, bound: Tensor, volume: Tensor, gt_volume: Tensor
) -> tuple[Tensor, Tensor]:
    """Ground truths and anchors of all pairs that may cost at most `bound` (M,), by their distance
    and their volumes (N,) and (M,) alone.
    """
    volumes = rows.table(volume, 0.0)
    found = []
    for part in rows.parts():  # (m, W)
        limit = bound[part, None]
        least = _least(volumes.index_select(0, rows.of[part]), gt_volume[part, None])
        # x / (1 + x) · least <= bound, without the division. Never where x is infinite.
        room = least.sub_(limit).clamp_(min=_ROOM)
        squares = rows.squares(part, pairs.gt)
        found.append(rows.pairs(part, squares.mul_(pairs.cost.mu).mul_(room) <= limit))
    gt, anchor = zip(*found, strict=True)
    return torch.cat(gt), torch.cat(anchor)


def _bound(pairs: _Pairs, rows: Rows, k: int) -> Tensor:
    """(M,) at least the k-th least cost of each ground truth: what some near anchors cost."""
    squares, anchor = rows.nearest(pairs.gt, _SEEDS * k)
    if squares.shape[1] < k:
        return squares.new_full((len(squares),), _NEVER)
    gt = torch.arange(len(squares), device=squares.device)[:, None].expand_as(anchor)
    gt, anchor = gt.flatten(), anchor.clamp(min=0).flatten()
    prior, rest = pairs.without_iou(gt, anchor)
    costs = prior * (rest + pairs.of_iou(gt, anchor))
    costs = costs.view_as(squares).masked_fill(squares.isinf(), _NEVER)
    return costs.kthvalue(k, dim=1).values * (1 + _SLACK) + _ROUNDING


def _least(volume: Tensor, gt_volume: Tensor) -> Tensor:
    """Below 1 - IoU of boxes of these volumes, broadcast."""
    ratio = torch.minimum(volume, gt_volume).div_(torch.maximum(volume, gt_volume))
    return ratio.neg_().add_(1 - _SLACK)


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
