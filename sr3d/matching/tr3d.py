"""TR3D's assigner: the nearest anchors on the level of a ground truth's class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.matching.assigner import Anchors, all_negative, levels_of
from sr3d.matching.batching import Rows, Scenes
from sr3d.matching.matches import settle, squared_distances


@dataclass(frozen=True)
class TR3DAssigner:
    """TR3D's rule (TR3DAssigner of SamsungLabs/tr3d, `get_targets` of mmdet3d's TR3D project).

    An anchor is a candidate for a ground truth if it is on its level and nearer (strictly) to its
    centre than the (k + 1)-th nearest anchor, or than the N-th if the scene has fewer anchors.
    Anchors of other levels count as infinitely far. So ties at that distance may leave fewer than k
    candidates, and a scene of at most k anchors, all on one level, loses its farthest one. If an
    anchor is a candidate for several ground truths, the nearest gets it, the first of equals.

    class_levels: the level of each class, 0 the finest (`Dataset.levels`). k: maximum number of
    candidates per ground truth. variant: "samsung" drops an anchor if another ground truth of any
    level is nearer than the one that got it. "mmdet3d" keeps it.
    """

    class_levels: tuple[int, ...]
    k: int = 6
    variant: Literal["mmdet3d", "samsung"] = "mmdet3d"

    def __post_init__(self) -> None:
        if self.variant not in ("mmdet3d", "samsung"):
            raise ValueError(f"TR3DAssigner: variant is mmdet3d or samsung, not {self.variant}")

    @torch.no_grad()
    def __call__(
        self, anchors: Anchors, boxes: Tensor, logits: Tensor, truth: GroundTruth
    ) -> Tensor:
        """See `Assigner`."""
        count = len(anchors.positions)
        if count == 0 or len(truth.boxes) == 0:
            return all_negative(anchors)
        levels = anchors.levels, levels_of(truth.labels, self.class_levels)
        rows = Rows.make(anchors.positions, Scenes.of(anchors, truth), levels)
        square, anchor = rows.nearest(truth.boxes, self.k + 1)
        other_levels = square.new_full((len(square), 1), torch.inf)
        # The index of the limit.
        last = (rows.in_scene - 1).clamp(min=0, max=min(self.k, square.shape[1]))
        limit = torch.cat([square, other_levels], dim=1).gather(1, last[:, None])

        gt = torch.arange(len(truth.boxes), device=anchor.device)[:, None].expand_as(anchor)
        gt, anchor = gt.flatten(), anchor.flatten()
        assigned = settle(gt, anchor, square.flatten(), (square < limit).flatten(), count)
        if self.variant == "samsung":
            nearest = _nearest_truth(anchors.positions[anchor], anchors.scenes[anchor], truth)
            owner = assigned[anchor]
            assigned[anchor] = torch.where(owner == nearest, owner, -1)
        return assigned


def _nearest_truth(points: Tensor, point_scenes: Tensor, truth: GroundTruth) -> Tensor:
    """(P,) the ground truth of each point's scene with the nearest centre, the first of equals."""
    square = squared_distances(truth.boxes, points[:, None])  # (P, M)
    return square.masked_fill_(truth.scenes != point_scenes[:, None], torch.inf).argmin(dim=1)
