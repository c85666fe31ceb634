"""Boxes of many scenes as flat arrays, for files and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BoxSet:
    """scene: (N,) str, the scene of each box. label: (N,) int64. box: (N, 7) float32.

    score: (N,) float32 of detections, None for ground truth. scenes: ids of all scenes if known,
    including scenes without a box. If empty, only the scenes in `scene` are known.
    """

    scene: NDArray[np.str_]
    label: NDArray[np.int64]
    box: NDArray[np.float32]
    score: NDArray[np.float32] | None = None
    scenes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scene)

    def known_scenes(self) -> set[str]:
        """All known scenes, with or without boxes."""
        return set(self.scenes) | set(self.scene.tolist())

    def __getitem__(self, index: Any) -> BoxSet:
        """The rows at a mask, slice or index array. The known scenes do not change."""
        score = None if self.score is None else self.score[index]
        return BoxSet(self.scene[index], self.label[index], self.box[index], score, self.scenes)
