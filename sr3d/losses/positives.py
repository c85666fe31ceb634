"""The positive anchors of a batch, padded on a GPU."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sr3d.sparse.packing import kept_first


@dataclass(frozen=True)
class Positives:
    """The positive anchors and their ground truths.

    On a GPU the host does not know the number of positives. To save a sync, the rows are padded to
    the maximum number. Padded rows come last and have the owner -1. No method lets them affect a
    result or a gradient.

    matches: (A,) int64, of all anchors. rows: (P,) int64, the positive anchors, each once. owner:
    (P,) int64, their ground truths. max_of_one: maximum number of positives of one ground truth, if
    `rows` is padded.
    """

    matches: Tensor
    rows: Tensor
    owner: Tensor
    max_of_one: int | None

    @staticmethod
    def of(matches: Tensor, truths: int, max_of_one: int | None) -> Positives:
        """matches: (A,) int64, see `sr3d.data.ground_truth`. truths: the number of ground truths.
        max_of_one: see `Assigner.max_positives`.
        """
        positive = matches >= 0
        if max_of_one is None or not _needs_padding(matches.device):
            rows, max_of_one = positive.nonzero().squeeze(1), None
        else:
            # Pads with the first negatives, each once, so no gradient is summed there.
            rows = kept_first(positive)[: truths * max_of_one]
        return Positives(matches, rows, matches[rows].clamp(min=-1), max_of_one)

    @property
    def real(self) -> Tensor:
        """(P,) bool: False in padded rows."""
        return self.owner >= 0

    @property
    def count(self) -> Tensor:
        """() int64: number of positives."""
        return self.real.sum()

    def masked(self, values: Tensor) -> Tensor:
        """(P,) values, 0 in padded rows."""
        return values.where(self.real, 0)

    def pairs(self, boxes: Tensor, gt_boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (A, 7) of the positives, and boxes (M, 7) of their ground truths, (P, 7) each.

        A padded row pairs a box with itself, which gives no loss and no gradient.
        """
        targets = gt_boxes[self.owner]
        return boxes[self.rows].where(self.real[:, None], targets), targets

    def groups(self, of_truth: Tensor | None = None) -> Tensor:
        """(P,) int64: equal for positives of one ground truth, or of ground truths with an equal
        value in `of_truth` (M,). A padded row has its own group.
        """
        group = self.owner if of_truth is None else of_truth[self.owner]
        return group.where(self.real, -1 - torch.arange(len(group), device=group.device))


def _needs_padding(device: torch.device) -> bool:
    return device.type != "cpu"
