"""One-to-one matching of queries and ground truth: the assignment of least total cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from sr3d.data.ground_truth import NEGATIVE

_WORST = 1e6  # the cost of a pair that has none because the network has diverged


@dataclass(frozen=True)
class HungarianMatcher:
    """3DETR's matcher (`Matcher` of facebookresearch/3detr, criterion.py).

    The cost of a query and a ground truth is the weighted sum of minus the probability of the true
    class, minus the objectness, the L1 distance of the normalised centres, and minus the
    generalised IoU. These are the weights.
    """

    cls: float = 1.0
    objectness: float = 0.0
    center: float = 0.0
    giou: float = 2.0

    @torch.no_grad()
    def __call__(
        self, probabilities: Tensor, objectness: Tensor, distance: Tensor, giou: Tensor,
        labels: Tensor,
    ) -> Tensor:  # fmt: skip
        """(L, Q) int64: the ground truth of each query in each of L layers, or `NEGATIVE`.

        probabilities: (L, Q, C). objectness: (L, Q). distance, giou: (L, Q, M). labels: (M,). A
        ground truth has one query per layer, unless there are more ground truths than queries.
        """
        cost = (
            -self.cls * probabilities[..., labels]
            - self.objectness * objectness[..., None]
            + self.center * distance
            - self.giou * giou
        )
        return least_cost(cost)


def least_cost(cost: Tensor) -> Tensor:
    """(L, Q) int64 from costs (L, Q, M): the column of each row, or `NEGATIVE`. Needs a sync."""
    costs = np.nan_to_num(cost.cpu().double().numpy(), nan=_WORST, posinf=_WORST, neginf=-_WORST)
    found = np.full(costs.shape[:2], NEGATIVE)
    for own, table in zip(found, costs, strict=True):
        queries, truths = linear_sum_assignment(table)
        own[queries] = truths
    return torch.from_numpy(found).to(cost.device)
