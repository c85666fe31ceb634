"""What detectors on points share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch

from sr3d.config import Config
from sr3d.data.scene import Scene
from sr3d.detectors.base import Detector
from sr3d.detectors.common.point_inputs import Features, PointBatch, point_batch
from sr3d.sparse.functional import engine

P = TypeVar("P")


class PointDetector(Detector[PointBatch, P]):
    """A detector on equally many points of each scene. P: its predictions."""

    input_unit, input_stage = "sampled points", "sample"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.takes_instances = not config.replaces_instances

    def draw_points(
        self,
        scenes: Sequence[Scene],
        count: int,
        generators: Sequence[torch.Generator] | None,
        features: Features | None = None,
    ) -> PointBatch:
        """`point_batch` on the detector's device.

        The batch has no instances if the configuration takes the points inside a box instead.
        """
        return point_batch(
            scenes, count, generators, self.device, features, instances=self.takes_instances
        )

    def input_size(self, batch: PointBatch) -> int:
        return batch.points.shape[:2].numel()

    @contextmanager
    def network_mode(self) -> Iterator[None]:
        """Within the block, `model.engine` computes point operations, and products have the
        precision of `autocast`.
        """
        with engine(self.config.engine), self.precision():
            yield
