"""What every detector can do. A further one is a file beside this and an entry in `detector.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from sr3d.config import Config
from sr3d.data.datasets import dataset_of
from sr3d.deploy.compiled import CompiledDetector
from sr3d.deploy.folded import FoldedDetector
from sr3d.detectors.common.voxelize import voxelize
from sr3d.detectors.outputs import Detections, GroundTruth, Level, LossTerms, Predictions
from sr3d.detectors.scan import detect_on_floor, split_points
from sr3d.errors import InputError
from sr3d.sparse import SparseTensor
from sr3d.sparse.functional import engine

P = TypeVar("P", bound=Predictions)


class Detector(nn.Module, ABC, Generic[P]):
    """Points in, boxes out. `forward` takes a voxelised batch, `detect` takes a scan.

    P: what it predicts; `Predictions`, or a subclass with more to say.
    """

    autocast: torch.dtype | None = None  # in which `levels` computes; None: as everything else

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

    def run_network(self, x: SparseTensor) -> Sequence[tuple[Any, ...]]:
        """`levels`, by `autocast` if it is set; then the outputs are made float32 again."""
        with engine(self.config.engine):
            if self.autocast is None:
                return self.levels(x)
            with torch.autocast(x.features.device.type, self.autocast):
                found = self.levels(x)
        return [(level, *(output.float() for output in outputs)) for level, *outputs in found]

    @abstractmethod
    def forward(self, x: SparseTensor) -> P:
        """A voxelised batch to what is predicted in it, from what `run_network` gives."""

    @abstractmethod
    def loss(self, predictions: P, truth: GroundTruth) -> LossTerms:
        """The loss of a batch."""

    @abstractmethod
    def select(self, predictions: P) -> Detections:
        """One scene's predictions to detections, by the test configuration."""

    def folded(self) -> FoldedDetector:
        """The network for inference alone, with the weights of now, for `compile`.

        Raises:
            InputError: unless a detector says what that is.
        """
        raise InputError(f"{type(self).__name__} has no inference runner; run it without")

    def compile(self, dtype: torch.dtype = torch.float32) -> CompiledDetector:  # type: ignore[override]
        """The fastest inference with the weights of now; see `sr3d.deploy.compiled`.

        It takes the place of torch's own `compile`, which cannot see through sparse layers.

        Raises:
            InputError: a detector or an engine that has none.
        """
        if self.config.engine == "minkowski":
            raise InputError("model.engine=minkowski has no inference runner; take native")
        network = self.folded().to(dtype)
        return CompiledDetector(network, self.config, self.test_config, self.dataset)

    def voxels(
        self,
        points: Sequence[Tensor],
        colors: Sequence[Tensor],
        order: Tensor | None = None,
    ) -> SparseTensor:
        """A batch of clouds as `forward` takes it, on the detector's device; see `voxelize`."""
        device = next(self.parameters()).device
        points, colors = [p.to(device) for p in points], [c.to(device) for c in colors]
        return voxelize(points, colors, self.config.voxel_size, order, self.config.engine)

    @torch.no_grad()
    def raw_outputs(self, points: Any, colors: Any = None) -> list[Level]:
        """Outputs before any decoding, per level, for one scan; otherwise as `detect`."""
        self.eval()
        xyz, colors = split_points(points, colors)
        levels = self.run_network(self.voxels([xyz], [colors]))
        return [Level(level.sites.coords[:, 1:], *outputs) for level, *outputs in levels]

    @torch.no_grad()
    def detect(self, points: Any, colors: Any = None, floor: float | None = None) -> Detections:
        """Boxes of one scan, class by class, best score first. Deterministic.

        points: (N, 6), or (N, 3) with `colors` (N, 3): metres, z up, and [0, 1] or uint8. floor:
        its height; None finds it, where the training scenes have theirs at zero. Evaluation mode.

        Raises:
            InputError: empty or wrongly shaped input, NaN, or colours outside [0, 1]; or weights
                that have diverged.
        """
        self.eval()

        def detect(xyz: Tensor, rgb: Tensor) -> Detections:
            predictions = self(self.voxels([xyz], [rgb]))
            found = self.select(predictions)
            predictions.require_finite()
            return found

        return detect_on_floor(detect, points, colors, floor, self.dataset)
