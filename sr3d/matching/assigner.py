"""The arguments and results of all assigners."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sr3d.data.ground_truth import NEGATIVE, GroundTruth


class Anchors(NamedTuple):
    """The places of a batch where a detector predicts boxes: all levels, concatenated.

    positions: (A, 3) metres. levels: (A,) int64, 0 the finest. strides: (A,) metres, the edge of an
    anchor's cell. scenes: (A,) int64, scene index. batch_size: number of scenes of the batch.
    """

    positions: Tensor
    levels: Tensor
    strides: Tensor
    scenes: Tensor
    batch_size: int

    def rows(self, index: Tensor) -> Anchors:
        """The anchors at an index or mask."""
        positions, levels, strides, scenes, size = self
        return Anchors(positions[index], levels[index], strides[index], scenes[index], size)


class Assigner(Protocol):
    """Decides which anchors are positive, and for which ground truth."""

    def __call__(
        self, anchors: Anchors, boxes: Tensor, logits: Tensor, truth: GroundTruth
    ) -> Tensor:
        """(A,) int64: index into the ground truth of the batch, `NEGATIVE` or `IGNORED`.

        boxes: (A, 7) decoded predictions. logits: (A, C) of the classes. Assigners by distance
        ignore both. No gradient flows.
        """


def all_negative(anchors: Anchors) -> Tensor:
    """(A,) int64: no anchor is positive."""
    return torch.full_like(anchors.scenes, NEGATIVE)


def levels_of(labels: Tensor, class_levels: tuple[int, ...]) -> Tensor:
    """(M,) the level of each label (M,) for its anchors, 0 if classes have no levels."""
    if not class_levels:
        return torch.zeros_like(labels)
    return _on_device(class_levels, labels.device)[labels]


@cache
def _on_device(levels: tuple[int, ...], device: torch.device) -> Tensor:
    """The levels on a device. Cached, because a copy to a GPU is a sync."""
    return torch.tensor(levels, device=device)
