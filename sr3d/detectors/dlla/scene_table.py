"""Rows of a batch as a table with one line per scene, padded to the longest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SceneTable:
    """Where N rows of B scenes stand in a table (B, W, …), in their order.

    scene, place: (N,) int64. real: (B, W) bool, False where padded. W is 1 or more.
    """

    scene: Tensor
    place: Tensor
    real: Tensor

    @staticmethod
    def of(scene: Tensor, scenes: int) -> SceneTable:
        """scene: (N,) int64, of each row. scenes: their number. W needs a sync on a GPU."""
        lines = torch.arange(scenes, device=scene.device)
        own = scene == lines[:, None]
        count = own.sum(dim=1)
        place = (own.cumsum(dim=1) - 1).gather(0, scene[None])[0]
        width = max(1, int(count.max()))
        return SceneTable(scene, place, torch.arange(width, device=scene.device) < count[:, None])

    def fill(self, rows: Tensor) -> Tensor:
        """(B, W, …) of rows (N, …), with zeros in padded rows."""
        table = rows.new_zeros(*self.real.shape, *rows.shape[1:])
        return table.index_put((self.scene, self.place), rows)

    def rows(self, table: Tensor) -> Tensor:
        """(N, …) of a table (B, W, …)."""
        return table[self.scene, self.place]
