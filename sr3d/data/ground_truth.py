"""The ground truth of a batch, and the special values of a match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sr3d.data.loader import on_device
from sr3d.data.scene import Scene

# A match is the index of a ground truth, 0 or above, or one of these.
NEGATIVE = -1  # trained as background
IGNORED = -2  # left out of every loss


@dataclass(frozen=True)
class GroundTruth:
    """The boxes of all scenes of a batch. boxes: (M, 7). labels, scenes: (M,) int64."""

    boxes: Tensor
    labels: Tensor
    scenes: Tensor

    @staticmethod
    def collate(boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> GroundTruth:
        """The ground truth of scenes with one (K, 7) and one (K,) tensor each."""
        scenes = [torch.full((len(b),), i, dtype=torch.int64) for i, b in enumerate(boxes)]
        return GroundTruth(torch.cat(list(boxes)), torch.cat(list(labels)), torch.cat(scenes))

    @staticmethod
    def of(scenes: Sequence[Scene], device: torch.device) -> GroundTruth:
        """The ground truth of these scenes, copied to the device without synchronisation."""
        host = GroundTruth.collate([s.boxes.tensor for s in scenes], [s.labels for s in scenes])
        return GroundTruth(*(on_device(x, device) for x in (host.boxes, host.labels, host.scenes)))

    def to(self, device: torch.device) -> GroundTruth:
        return GroundTruth(self.boxes.to(device), self.labels.to(device), self.scenes.to(device))
