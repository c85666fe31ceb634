"""What every detector can do. A further one is a file beside this and an entry in `detector.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from sr3d.config import Config
from sr3d.data.datasets import dataset_of
from sr3d.models.outputs import Detections, GroundTruth, Level, LossTerms, Predictions
from sr3d.models.scan import split_points
from sr3d.models.voxelize import voxelize
from sr3d.sparse import SparseTensor

P = TypeVar("P", bound=Predictions)


class Detector(nn.Module, ABC, Generic[P]):
    """Points in, boxes out. `forward` takes a voxelised batch, `detect` takes a scan.

    P: what it predicts; `Predictions`, or a subclass with more to say.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.test_config = config.model, config.test
        self.dataset = dataset_of(config)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of what it finds; a detection's label is an index into them."""
        return self.dataset.classes

    @abstractmethod
    def levels(self, x: SparseTensor) -> Sequence[tuple[Any, ...]]:
        """Per level, finest first: a sparse tensor, whose sites are the anchors, and the raw
        outputs there, as `Level` has them after its coordinates.
        """

    @abstractmethod
    def forward(self, x: SparseTensor) -> P:
        """A voxelised batch to what is predicted in it."""

    @abstractmethod
    def loss(self, predictions: P, truth: GroundTruth) -> LossTerms:
        """The loss of a batch."""

    @abstractmethod
    def select(self, predictions: P) -> Detections:
        """One scene's predictions to detections, by the test configuration."""

    def voxels(
        self,
        points: Sequence[Tensor],
        colors: Sequence[Tensor],
        generator: torch.Generator | None = None,
    ) -> SparseTensor:
        """A batch of clouds as `forward` takes it, on the detector's device; see `voxelize`."""
        device = next(self.parameters()).device
        points, colors = [p.to(device) for p in points], [c.to(device) for c in colors]
        return voxelize(points, colors, self.config.voxel_size, generator, self.config.engine)

    @torch.no_grad()
    def raw_outputs(self, points: Any) -> list[Level]:
        """Outputs before any decoding, per level, for one scan.

        points: (N, 6) float32 array or tensor: metres, colours in [0, 1]. Evaluation mode.
        """
        self.eval()
        xyz, colors = split_points(points, None)
        levels = self.levels(self.voxels([xyz], [colors]))
        return [Level(level.sites.coords[:, 1:], *outputs) for level, *outputs in levels]

    @torch.no_grad()
    def detect(self, points: Any, colors: Any = None) -> Detections:
        """Boxes of one scan, class by class, best score first. Deterministic.

        points: (N, 6), or (N, 3) with `colors` (N, 3) in [0, 1]. Evaluation mode.

        Raises:
            InputError: empty or wrongly shaped input, or NaN.
        """
        self.eval()
        xyz, colors = split_points(points, colors)
        return self.select(self(self.voxels([xyz], [colors])))
