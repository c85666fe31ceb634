"""The configuration that detectors on voxels with a MinkResNet share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Interval

from sr3d.config import ModelConfig, Rule
from sr3d.value_types import Count


@dataclass(frozen=True, kw_only=True)
class SparseModelConfig(ModelConfig):
    """Voxels and a MinkResNet34, as in TR3D and FCAF3D."""

    # edge of a voxel in metres
    voxel_size: Annotated[float, Interval(ge=0.001, le=10)] = 0.01
    stem_channels: Count = 64  # channels of the first convolution
    stem_stride: Literal[1, 2] = 2  # stride of the first convolution
    stem_norm: Literal["batch", "instance"] = "batch"  # norm after the first convolution
    stem_pool: bool = True  # 2³ max pooling after this norm
    planes: tuple[Count, ...] = (64, 128, 128, 128)  # channels of the stages
    blocks: tuple[Count, ...] = (3, 4, 6, 3)  # residual blocks of the stages
    neck_channels: Count = 128  # channels of the levels that the head gets

    def size(self) -> str:
        return f"voxels of {self.voxel_size:g} m, widths {', '.join(map(str, self.planes))}"

    def rules(self, stages: tuple[int, ...], counted: str) -> Iterator[Rule]:
        """What widths must fulfil. stages: the possible numbers of them. counted: in words."""
        yield "model.planes", len(self.planes) in stages, counted
        same = len(self.blocks) == len(self.planes)
        yield "model.blocks", same, "as many numbers as model.planes"


# The network of procedural rooms: thin, with coarse voxels, so that two cores can train it.
THIN: Mapping[str, Any] = {
    "voxel_size": 0.08,
    "stem_channels": 16,
    "stem_stride": 1,
    "stem_pool": False,
    "planes": [16, 24, 48, 64],
    "blocks": [1, 1, 1, 1],
    "neck_channels": 24,
}
