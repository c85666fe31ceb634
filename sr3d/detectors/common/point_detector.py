"""What detectors on points share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import torch

from sr3d.detectors.base import Detector
from sr3d.detectors.common.point_inputs import PointBatch
from sr3d.sparse.functional import engine

P = TypeVar("P")


class PointDetector(Detector[PointBatch, P]):
    """A detector on equally many points of each scene. P: its predictions."""

    input_unit, input_stage = "sampled points", "sample"

    def input_size(self, batch: PointBatch) -> int:
        return batch.points.shape[:2].numel()

    @contextmanager
    def network_mode(self) -> Iterator[None]:
        """Within the block, `model.engine` computes point operations, and products have the
        precision of `autocast`.
        """
        precision = (
            nullcontext()
            if self.autocast is None
            else torch.autocast(self.device.type, self.autocast)
        )
        with engine(self.config.engine), precision:
            yield
