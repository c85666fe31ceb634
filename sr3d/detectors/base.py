"""What every detector can do. A further one is a file beside this and an entry in `detector.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from sr3d.config import Config
from sr3d.data.datasets import dataset_of
from sr3d.detectors.common.voxelize import voxelize
from sr3d.detectors.outputs import Detections, GroundTruth, Level, LossTerms, Predictions
from sr3d.detectors.scan import detect_on_floor, split_points
from sr3d.errors import InputError
from sr3d.sparse import SparseTensor
from sr3d.sparse.functional import engine
from sr3d.sparse.tensor import PlannedTensor, plan

if TYPE_CHECKING:
    from sr3d.deploy.compiled import CompiledDetector

P = TypeVar("P", bound=Predictions)


class Detector(nn.Module, ABC, Generic[P]):
    """Points in, boxes out. `forward` takes a voxelised batch, `detect` takes a scan.

    P: what it predicts; `Predictions`, or a subclass with more to say.
    """

    autocast: torch.dtype | None = None  # in which `levels` computes; None: as everything else
    nms_pre_by_level = False  # whether `nms_pre` counts the anchors of each level, not of all

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

    def planned(self, x: PlannedTensor) -> object:
        """The part of `levels` whose cells depend on no score; see `sr3d.sparse.tensor.plan`."""
        return None

    def run_network(self, x: SparseTensor) -> Sequence[tuple[Any, ...]]:
        """`levels`, by `autocast` if it is set; then the outputs are made float32 again."""
        with engine(self.config.engine):
            if self.config.engine != "minkowski":
                plan(self.planned, x.sites)
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

    def decode(self, anchors: Tensor, reg: Tensor) -> Tensor:
        """Anchors (N, 3) in metres and raw box outputs (N, 6 or 8) to boxes (N, 7), for `compile`.

        Raises:
            InputError: unless a detector says how.
        """
        raise InputError(f"{type(self).__name__} has no fused inference; run it without compile")

    def scores(self, cls: Tensor, *more: Tensor) -> Tensor:
        """(N, C) of the raw outputs after the boxes', for `compile`."""
        return cls.sigmoid()

    def compile(self, dtype: torch.dtype = torch.float32) -> CompiledDetector:  # type: ignore[override]
        """Fused inference with a copy of the present weights; see `sr3d.deploy.compiled`.

        It replaces torch's own `compile`, which cannot trace sparse layers.

        Raises:
            InputError: the detector has no `decode`, or its engine is MinkowskiEngine.
        """
        from sr3d.deploy.compiled import CompiledDetector  # a later layer, needed here alone

        return CompiledDetector(self, dtype)

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
