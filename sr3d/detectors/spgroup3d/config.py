"""SPGroup3D's configuration.

Source: zyrant/SPGroup3D (projects/config).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from sr3d.config import Config, ModelConfig, Preset, Rule
from sr3d.detectors.common.sparse_config import VoxelInference
from sr3d.presets import SINGLE_VIEW, DataFacts, Values, repeat, rooms_of
from sr3d.value_types import Count, Exponent, Many, Share, Weight

# How often an epoch goes through the scenes, as published. A data set of no paper takes `own`.
REPEAT = {"scannet": 15, "sunrgbd": 5, "s3dis": 13, "own": 15}
# The network of procedural rooms.
THIN: Mapping[str, Any] = {
    "voxel_size": 0.06,
    "stem_channels": 16,
    "high_channels": 24,
    "planes": [24, 32, 24],
    "context_channels": 16,
    "blocks": 1,
    "out_channels": 24,
    "fusion_channels": [24, 32, 32],
    "head_channels": 64,
}


@dataclass(frozen=True, kw_only=True)
class SPGroup3DModel(ModelConfig):
    """The network: BiResNet on voxels, votes, features grouped by superpoints, a head."""

    name: Literal["spgroup3d"] = "spgroup3d"
    # edge of a voxel in metres
    voxel_size: Annotated[float, Interval(ge=0.001, le=10)] = 0.02
    stem_channels: Count = 64  # channels at strides 1 and 2
    high_channels: Count = 128  # channels at stride 4 and of the high-resolution branch
    planes: tuple[Count, Count, Count] = (128, 128, 128)  # channels at strides 8, 16 and 32
    context_channels: Count = 128  # channels of each window of the pyramid pooling
    blocks: Count = 2  # residual blocks of a stage
    out_channels: Count = 64  # channels of the backbone's output
    # what a vote cannot leave by more than two voxels. batch: the extent of all its scenes
    vote_extent: Literal["batch", "scene"] = "batch"
    # channels of the convolutions between two groupings by superpoints
    fusion_channels: tuple[Count, ...] = (64, 128, 128)
    neighbours: Count = 8  # superpoints that each one attends to, itself included
    dropout: Share = 0.1  # share of attention weights that training drops
    head_channels: Count = 256  # channels of the layers of the head
    # box distances that exp makes positive. original: only those to +y, -z and +z
    distances: Literal["original", "all"] = "original"

    def size(self) -> str:
        return f"voxels of {self.voxel_size:g} m, widths {', '.join(map(str, self.planes))}"

    def rules(self) -> Iterator[Rule]:
        """What values must fulfil."""
        yield "model.fusion_channels", len(self.fusion_channels) > 0, "at least one number"


@dataclass(frozen=True)
class SPGroup3DAssignment:
    """The assigner: the cheapest superpoints inside each box."""

    name: Literal["spgroup3d"] = "spgroup3d"  # its own
    spgroup3d_top: Count = 18  # maximum number of positives per ground truth
    # cost of a scene with one box: original takes IoU in place of DIoU
    one_box: Literal["original", "diou"] = "original"
    # the voxels that vote for an object: its instance's, or all inside its box
    object_points: Literal["instance", "box"] = "instance"


@dataclass(frozen=True)
class SPGroup3DLoss:
    """Weights of the terms."""

    focal_alpha: Share = 0.25  # weight of positives. Negatives have 1 - α
    # focusing exponent. A higher value reduces the weight of easy superpoints
    focal_gamma: Exponent = 2.0
    cls: Weight = 1.0  # classes of all superpoints
    center: Weight = 1.0  # centerness of positives
    box: Weight = 1.0  # DIoU loss of positives
    vote: Weight = 1.0  # offsets of votes


@dataclass(frozen=True)
class SPGroup3DInference(VoxelInference):
    """Inference. The indices of the runs decide the seeds."""

    nms_pre: Many = 1000  # maximum number of superpoints that NMS gets


def _published(data: DataFacts) -> Values:
    """Single views are evaluated on 100,000 points. Procedural rooms use the thin network."""
    if data.procedural:
        return _thin(data)
    sampled = data.dataset in ("sunrgbd", "s3dis")
    return _network() | {"test": {"sample_count": 100_000 if sampled else 0}}


def _thin(data: DataFacts) -> Values:
    return _network(**THIN)


def _network(**widths: Any) -> Values:
    """The network goes with an assigner and a loss of its own."""
    return {"model": {"name": "spgroup3d", **widths}}


def _schedule(data: DataFacts) -> Values:
    """15 epochs without warm-up. On procedural rooms, the rooms' own schedule."""
    if data.procedural:
        return {"train": rooms_of(data)["train"]}
    train = {
        "epochs": 15,
        "milestones": [9, 12],
        "repeat": repeat(REPEAT, data),
        "warmup_iters": 0,
        "filter_empty_gt": True,
    }
    return {"train": train}


def _augmentation(data: DataFacts) -> Values:
    """On procedural rooms, the rooms' own. S3DIS is not turned."""
    if data.procedural:
        return {"augment": rooms_of(data)["augment"]}
    if data.single_view:
        return {"augment": dict(SINGLE_VIEW)}
    if data.dataset == "s3dis":
        return {"augment": {"sample_count": 100_000, "rotation": 0.0, "scale": [0.95, 1.05]}}
    # 0.02 rad
    return {"augment": {"rotation": 1.1459, "scale": [0.9, 1.1]}}


@dataclass(frozen=True, kw_only=True)
class SPGroup3DConfig(Config):
    """One setting of SPGroup3D on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"spgroup3d": _published, "spgroup3d_small": _thin},
        "train": {"spgroup3d": _schedule},
        "augment": {"spgroup3d": _augmentation},
    }

    model: SPGroup3DModel = field(default_factory=SPGroup3DModel)
    assigner: SPGroup3DAssignment = field(default_factory=SPGroup3DAssignment)
    loss: SPGroup3DLoss = field(default_factory=SPGroup3DLoss)
    test: SPGroup3DInference = field(default_factory=SPGroup3DInference)

    @property
    def candidates(self) -> int:
        return self.test.nms_pre

    @property
    def replaces_instances(self) -> bool:
        return self.assigner.object_points == "box"

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        yield from self.model.rules()
