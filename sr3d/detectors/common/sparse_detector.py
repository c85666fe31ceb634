"""What detectors on voxels share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from sr3d.data.loader import on_device
from sr3d.data.scene import Scene
from sr3d.detectors.common.sparse_config import SparseInferenceConfig, SparseModelConfig
from sr3d.detectors.common.voxel_detector import VoxelDetector
from sr3d.detectors.common.voxelize import voxelize
from sr3d.detectors.outputs import Detections, Level, Predictions
from sr3d.detectors.scan import split_points
from sr3d.errors import InputError, Kind
from sr3d.sparse import SparseTensor
from sr3d.sparse.tensor import PlannedTensor

if TYPE_CHECKING:
    from sr3d.deploy.compiled import CompiledDetector

A = TypeVar("A", bound=Predictions)


class SparseDetector(VoxelDetector[SparseTensor, A]):
    """A detector on voxels whose sites are anchors. A: `Predictions` or a subclass."""

    config: SparseModelConfig
    inference: SparseInferenceConfig
    training_only: tuple[str, ...] = ()  # submodules that `compile` and exports leave out
    nms_pre_by_level = False  # whether `nms_pre` limits the anchors per level, not in all

    def stages(self) -> dict[str, str]:
        return {"backbone": "backbone", "neck": "neck", "bbox_head": "head"}

    def inputs(
        self, scenes: Sequence[Scene], generators: Sequence[torch.Generator] | None = None
    ) -> SparseTensor:
        """The first point of each voxel represents it, see `voxelize`."""
        return self.voxels([scene.points for scene in scenes], [scene.colors for scene in scenes])

    def input_size(self, batch: SparseTensor) -> int:
        return len(batch.sites)

    @abstractmethod
    def levels(self, x: SparseTensor) -> Sequence[tuple[Any, ...]]:
        """Per level, finest first: a sparse tensor with the anchors as its sites, and their raw
        outputs, in the order of the fields of `Level`.
        """

    def planned(self, x: PlannedTensor) -> object:
        """The part of `levels` before pruning by scores, see `sr3d.sparse.tensor.plan`."""
        return None

    def run_network(self, x: SparseTensor) -> Sequence[tuple[Any, ...]]:
        """`levels` in the precision of `autocast`, with outputs in float32."""
        with self.network_mode(self.planned, x.sites):
            found = self.levels(x)
        if self.autocast is None:
            return found
        return [(level, *(output.float() for output in outputs)) for level, *outputs in found]

    @abstractmethod
    def forward(self, x: SparseTensor) -> A:
        """The predictions for a voxelised batch, from the results of `run_network`."""

    @abstractmethod
    def select(self, predictions: A) -> Detections:
        """The detections of one scene, by the test configuration."""

    def detections(self, predictions: A) -> list[Detections]:
        """See `Detector`."""
        return [self.select(scene) for scene in predictions.by_scene()]

    def decode(self, anchors: Tensor, reg: Tensor) -> Tensor:
        """Decode anchors (N, 3) in metres and raw outputs (N, 6 or 8) to boxes (N, 7). For
        `compile`.

        Raises:
            InputError: the detector does not implement it.
        """
        raise InputError(
            f"{type(self).__name__} has no fused inference",
            kind=Kind.CONFLICT,
            remedy="Run it without compile.",
        )

    def scores(self, cls: Tensor, *more: Tensor) -> Tensor:
        """(N, C) scores from the raw outputs after the box outputs. For `compile`."""
        return cls.sigmoid()

    def compile(self, dtype: torch.dtype = torch.float32) -> CompiledDetector:  # type: ignore[override]
        """Fused inference with a copy of the current weights, see `sr3d.deploy.compiled`.

        It replaces torch's own `compile`, which cannot trace sparse layers.

        Raises:
            InputError: the detector has no `decode`, or its engine is MinkowskiEngine.
        """
        from sr3d.deploy.compiled import CompiledDetector  # a higher layer, imported only here

        return CompiledDetector(self, dtype)

    def voxels(
        self,
        points: Sequence[Tensor],
        colors: Sequence[Tensor],
        order: Tensor | None = None,
    ) -> SparseTensor:
        """A batch of clouds for `forward`, on the detector's device, see `voxelize`."""
        points = [on_device(p, self.device) for p in points]
        colors = [on_device(c, self.device) for c in colors]
        return voxelize(points, colors, self.config.voxel_size, order, self.config.engine)

    @torch.no_grad()
    def raw_outputs(self, points: Any, colors: Any = None) -> list[Level]:
        """Outputs of one scan before decoding, per level. Arguments: see `detect`."""
        self.eval()
        xyz, colors = split_points(points, colors)
        levels = self.run_network(self.voxels([xyz], [colors]))
        return [Level(level.sites.coords[:, 1:], *outputs) for level, *outputs in levels]
