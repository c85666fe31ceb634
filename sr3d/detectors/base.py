"""The base class of detectors. To add a family, write a folder here and an entry in `FAMILIES`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from sr3d.config import Config, ModelConfig, TrainConfig
from sr3d.data.datasets import dataset_of
from sr3d.data.ground_truth import GroundTruth
from sr3d.data.scene import Scene
from sr3d.detectors.outputs import (
    Detections,
    Losses,
    Total,
    alone,
    require_finite_predictions,
)
from sr3d.detectors.scan import detect_on_floor
from sr3d.errors import InputError, Kind

B = TypeVar("B")
P = TypeVar("P")


class Detector(nn.Module, ABC, Generic[B, P]):
    """Turns scenes into boxes: `inputs`, `forward`, then `loss` or `detections`.

    B: a batch for `forward`. P: its predictions. The family chooses both types.
    """

    autocast: torch.dtype | None = None  # data type of the network's products, None for fp32
    # For a benchmark: what `input_size` counts, and the name of the stage that makes the inputs.
    input_unit = "inputs"
    input_stage = "inputs"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config: ModelConfig = config.model
        self.inference = config.test
        self.dataset = dataset_of(config)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes. The label of a detection is an index into them."""
        return self.dataset.classes

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    def precision(self) -> AbstractContextManager[object]:
        """Within the block, products have the precision of `autocast`."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.autocast)

    @abstractmethod
    def inputs(
        self, scenes: Sequence[Scene], generators: Sequence[torch.Generator] | None = None
    ) -> B:
        """A batch of these scenes, on the detector's device.

        generators: one a scene, for families that draw points at random. None makes a fixed choice.
        """

    def shuffled(self, scene: Scene, generator: torch.Generator) -> Scene:
        """The scene with its points in the order that an evaluation reads them in."""
        return scene

    @abstractmethod
    def forward(self, batch: B) -> P:
        """The predictions of the network for a batch."""

    @abstractmethod
    def loss(self, predictions: P, truth: GroundTruth, total: Total = alone) -> Losses:
        """The loss of a batch. total: sums a count, an int64 tensor, over the processes of a
        multi-GPU run, so each term can divide by the count of the whole batch.
        """

    @abstractmethod
    def detections(self, predictions: P) -> list[Detections]:
        """The detections of each scene of the batch, by the test configuration."""

    @abstractmethod
    def raw_outputs(self, points: Any, colors: Any = None) -> Any:
        """Outputs of one scan before decoding. Arguments: see `detect`."""

    @abstractmethod
    def input_size(self, batch: B) -> int:
        """The size of the network's input, in `input_unit`."""

    def stages(self) -> dict[str, str]:
        """Maps submodules to the stages of a benchmark: backbone, neck or head.

        What they leave out of the network counts as head.
        """
        return {}

    def parameter_groups(self, config: TrainConfig) -> list[dict[str, Any]]:
        """Groups for the optimiser. `lr_scale` of a group multiplies its learning rate."""
        return [{"params": list(self.parameters())}]

    def start_epoch(self, epoch: int) -> None:
        """Called before the first step of each epoch, from 0, and when a run resumes in it."""

    @property
    def has_oracle(self) -> bool:
        """Whether the test configuration replaces scores by true values."""
        return False

    def with_oracle(self, predictions: P, scene: Scene) -> P:
        """One scene's predictions with scores from the ground truth, if `has_oracle`."""
        raise NotImplementedError(f"{type(self).__name__} has no oracle")

    @torch.no_grad()
    def detect(self, points: Any, colors: Any = None, floor: float | None = None) -> Detections:
        """Boxes of one scan, class by class, best score first. Deterministic.

        points: (N, 6), or (N, 3) with `colors` (N, 3): metres, z up, colours in [0, 1] or uint8.
        floor: its height. None finds it, if the training scenes have their floor at zero. Runs in
        evaluation mode.

        Raises:
            InputError: empty or wrongly shaped input, NaN, colours outside [0, 1], or weights that
                have diverged.
        """
        self.eval()

        def detect(xyz: Tensor, rgb: Tensor) -> Detections:
            predictions = self(self.inputs([Scene.unlabelled(xyz, rgb)]))
            (found,) = self.detections(predictions)
            require_finite_predictions(predictions)
            return found

        return detect_on_floor(detect, points, colors, floor, self.dataset)

    def compile(self, dtype: torch.dtype = torch.float32) -> Any:
        """An inference-only detector with the current weights, see `sr3d.deploy.compiled`.

        It replaces torch's own `compile`, which cannot trace sparse layers.

        Raises:
            InputError: the detector or the engine does not support it.
        """
        raise InputError(
            f"{self.config.name} has no inference runner. compile() supports these detectors on "
            "voxels: SR3D, TR3D, FCAF3D, and the last two with DLLA",
            field="compile",
            kind=Kind.CONFLICT,
            remedy="Run it without compile().",
        )
