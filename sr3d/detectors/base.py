"""What every detector can do. A further one is a folder beside this and an entry in `FAMILIES`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from sr3d.config import Config, TrainConfig
from sr3d.data.datasets import dataset_of
from sr3d.data.loader import on_device
from sr3d.data.scene import Scene
from sr3d.detectors.common.voxelize import voxelize
from sr3d.detectors.outputs import (
    Detections,
    GroundTruth,
    Level,
    Losses,
    Predictions,
    Total,
    alone,
    require_finite_predictions,
)
from sr3d.detectors.scan import detect_on_floor, split_points
from sr3d.errors import InputError, Kind
from sr3d.sparse import SparseTensor
from sr3d.sparse.functional import engine
from sr3d.sparse.tensor import PlannedTensor, plan

if TYPE_CHECKING:
    from sr3d.deploy.compiled import CompiledDetector

B = TypeVar("B")
P = TypeVar("P")
A = TypeVar("A", bound=Predictions)


class Detector(nn.Module, ABC, Generic[B, P]):
    """Scenes in, boxes out: `inputs`, `forward`, then `loss` or `detections`.

    B: a batch as `forward` takes it. P: what it predicts. Both are the family's own types.
    """

    autocast: torch.dtype | None = None  # in which the network computes; None: as everything else

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.test_config = config.model, config.test
        self.dataset = dataset_of(config)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of what it finds; a detection's label is an index into them."""
        return self.dataset.classes

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @abstractmethod
    def inputs(self, scenes: Sequence[Scene], generator: torch.Generator | None = None) -> B:
        """A batch of these scenes, on the detector's device.

        generator: for families that draw points at random; None takes a fixed choice.
        """

    @abstractmethod
    def forward(self, batch: B) -> P:
        """What the network predicts in a batch."""

    @abstractmethod
    def loss(self, predictions: P, truth: GroundTruth, total: Total = alone) -> Losses:
        """The loss of a batch. total: sums a count, an int64 tensor, over the processes of a
        multi-GPU run, so that each term can divide by what the whole batch has.
        """

    @abstractmethod
    def detections(self, predictions: P) -> list[Detections]:
        """Of each scene of the batch, by the test configuration."""

    @abstractmethod
    def raw_outputs(self, points: Any, colors: Any = None) -> Any:
        """Outputs before any decoding, for one scan; arguments as of `detect`."""

    @abstractmethod
    def input_size(self, batch: B) -> int:
        """Number of voxels or points that the network gets."""

    def stages(self) -> dict[str, str]:
        """Submodule to the stage that a benchmark reports its time as: backbone, neck or head."""
        return {"backbone": "backbone", "neck": "neck", "bbox_head": "head"}

    def parameter_groups(self, config: TrainConfig) -> list[dict[str, Any]]:
        """For the optimiser. A group may have a `lr_scale`, by which its learning rate differs."""
        return [{"params": list(self.parameters())}]

    def start_epoch(self, epoch: int) -> None:
        """Called before the first step of each epoch, from 0, and when a run resumes in it."""

    def with_oracle(self, predictions: P, scene: Scene) -> P:
        """One scene's predictions with scores that know the ground truth, by the test
        configuration.

        Raises:
            InputError: unless a family has an oracle.
        """
        raise InputError(f"test.oracle={self.test_config.oracle}: {type(self).__name__} has none")

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
            predictions = self(self.inputs([Scene.unlabelled(xyz, rgb)]))
            (found,) = self.detections(predictions)
            require_finite_predictions(predictions)
            return found

        return detect_on_floor(detect, points, colors, floor, self.dataset)

    def compile(self, dtype: torch.dtype = torch.float32) -> Any:
        """The fastest inference with the weights of now; see `sr3d.deploy.compiled`.

        It takes the place of torch's own `compile`, which cannot see through sparse layers.

        Raises:
            InputError: a detector or an engine that has none.
        """
        raise InputError(
            f"{type(self).__name__} has no inference runner",
            kind=Kind.CONFLICT,
            remedy="Run it without.",
        )


class SparseDetector(Detector[SparseTensor, A]):
    """A detector on voxels whose sites are anchors. A: `Predictions`, or a subclass."""

    nms_pre_by_level = False  # whether `nms_pre` counts the anchors of each level, not of all

    def inputs(
        self, scenes: Sequence[Scene], generator: torch.Generator | None = None
    ) -> SparseTensor:
        """The first point of each voxel represents it; see `voxelize`."""
        points = [on_device(scene.points, self.device) for scene in scenes]
        colors = [on_device(scene.colors, self.device) for scene in scenes]
        return self.voxels(points, colors)

    def input_size(self, batch: SparseTensor) -> int:
        return len(batch.sites)

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
    def forward(self, x: SparseTensor) -> A:
        """A voxelised batch to what is predicted in it, from what `run_network` gives."""

    @abstractmethod
    def select(self, predictions: A) -> Detections:
        """One scene's predictions to detections, by the test configuration."""

    def detections(self, predictions: A) -> list[Detections]:
        """See `Detector`."""
        return [self.select(scene) for scene in predictions.by_scene()]

    def decode(self, anchors: Tensor, reg: Tensor) -> Tensor:
        """Anchors (N, 3) in metres and raw box outputs (N, 6 or 8) to boxes (N, 7), for `compile`.

        Raises:
            InputError: unless a detector says how.
        """
        raise InputError(
            f"{type(self).__name__} has no fused inference",
            kind=Kind.CONFLICT,
            remedy="Run it without compile.",
        )

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
        points = [p.to(self.device) for p in points]
        colors = [c.to(self.device) for c in colors]
        return voxelize(points, colors, self.config.voxel_size, order, self.config.engine)

    @torch.no_grad()
    def raw_outputs(self, points: Any, colors: Any = None) -> list[Level]:
        """Outputs before any decoding, per level, for one scan; otherwise as `detect`."""
        self.eval()
        xyz, colors = split_points(points, colors)
        levels = self.run_network(self.voxels([xyz], [colors]))
        return [Level(level.sites.coords[:, 1:], *outputs) for level, *outputs in levels]
