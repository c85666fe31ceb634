"""What all detectors on voxels share, whatever their anchors are."""

from __future__ import annotations

from typing import TypeVar

import torch

from sr3d.data.loader import in_random_order
from sr3d.data.scene import Scene
from sr3d.detectors.base import Detector
from sr3d.detectors.common.sparse_config import VoxelInference

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
