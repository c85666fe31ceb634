"""What all detectors on voxels share, whatever their anchors are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from sr3d.data.loader import in_random_order
from sr3d.data.scene import Scene
from sr3d.detectors.base import Detector
from sr3d.detectors.common.sparse_config import VoxelInference
from sr3d.sparse import Sites
from sr3d.sparse.functional import engine
from sr3d.sparse.tensor import PlannedTensor, plan

B = TypeVar("B")
P = TypeVar("P")


class VoxelDetector(Detector[B, P]):
    """A detector whose inputs are voxels. The first point of a voxel represents it."""

    inference: VoxelInference
    input_unit, input_stage = "voxels", "voxelise"

    def shuffled(self, scene: Scene, generator: torch.Generator) -> Scene:
        """In random order if `test.voxel_pick` is "random".

        So each point of a voxel has the same chance to represent it.
        """
        if self.inference.voxel_pick == "first":
            return scene
        return in_random_order(scene, generator)

    @contextmanager
    def network_mode(
        self, network: Callable[[PlannedTensor], object], sites: Sites
    ) -> Iterator[None]:
        """Within the block, `model.engine` computes, and products have the precision of `autocast`.

        network: the part that can be planned from its input's sites, see `plan`. MinkowskiEngine
        makes its maps itself.
        """
        with engine(self.config.engine):
            if self.config.engine != "minkowski":
                plan(network, sites)
            with self.precision():
                yield
