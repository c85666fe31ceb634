"""The positive anchors of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Positives:
    """The positive anchors and their ground truths.

    matches: (A,) int64, of all anchors. rows: (P,) int64, the positive anchors, in their order.
    owner: (P,) int64, their ground truths.
    """

    matches: Tensor
    rows: Tensor
    owner: Tensor

    @staticmethod
    def of(matches: Tensor) -> Positives:
        """matches: (A,) int64, see `sr3d.data.ground_truth`. Their number needs a sync on a GPU."""
        rows = (matches >= 0).nonzero().squeeze(1)
        return Positives(matches, rows, matches[rows])

    @property
    def count(self) -> Tensor:
        """() int64: number of positives."""
        return torch.full((), len(self.rows), device=self.rows.device)

    def pairs(self, boxes: Tensor, gt_boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (A, 7) of the positives, and boxes (M, 7) of their ground truths, (P, 7) each."""
        return boxes[self.rows], gt_boxes[self.owner]

    def groups(self, of_truth: Tensor | None = None) -> Tensor:
        """(P,) int64: equal for positives of one ground truth, or of ground truths with an equal
        value in `of_truth` (M,).
        """
        return self.owner if of_truth is None else of_truth[self.owner]
