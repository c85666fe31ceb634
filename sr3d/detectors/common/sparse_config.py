"""The configuration that detectors on voxels with a MinkResNet share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Interval

from sr3d.config import Config, InferenceConfig, ModelConfig, Rule
from sr3d.detectors.family import Inferred
from sr3d.value_types import Count, Many

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK = re.compile(r"backbone\.layer(\d+)\.(\d+)\.conv1\.kernel")


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


@dataclass(frozen=True)
class VoxelInference(InferenceConfig):
    """Inference on voxels. The indices of the runs decide the seeds."""

    voxel_pick: Literal["first", "random"] = "random"  # which point represents a voxel


@dataclass(frozen=True)
class SparseInferenceConfig(VoxelInference):
    """Inference on voxels whose sites are anchors."""

    nms_pre: Many = 1000  # maximum number of anchors that NMS gets


@dataclass(frozen=True, kw_only=True)
class SparseConfig(Config):
    """One setting of a detector on voxels."""

    model: SparseModelConfig
    test: SparseInferenceConfig = field(default_factory=SparseInferenceConfig)

    @property
    def candidates(self) -> int:
        return self.test.nms_pre


def infer(weights: Mapping[str, Tensor]) -> Inferred:
    """`CheckpointFormat.infer` of a network with a MinkResNet and a shared head.

    Raises:
        KeyError, IndexError: a weight is missing, or has too few axes.
    """
    blocks: dict[int, int] = {}
    for stage, _ in (match.groups() for match in map(_BLOCK.fullmatch, weights) if match):
        blocks[int(stage)] = blocks.get(int(stage), 0) + 1
    planes = [weights[f"backbone.layer{i}.0.conv1.kernel"].shape[-1] for i in sorted(blocks)]
    boxes = weights["bbox_head.conv_reg.kernel"].shape
    overrides = (
        f"model.stem_channels={weights['backbone.conv1.kernel'].shape[-1]}",
        f"model.stem_norm={'batch' if 'backbone.norm1.bn.weight' in weights else 'instance'}",
        f"model.planes={planes}",
        f"model.blocks={[blocks[i] for i in sorted(blocks)]}",
        f"model.neck_channels={boxes[-2]}",
    )
    classes = weights["bbox_head.conv_cls.kernel"].shape[-1]
    return Inferred(classes, rotated=boxes[-1] == 8, overrides=overrides)


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
