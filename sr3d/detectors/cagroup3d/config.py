"""CAGroup3D's configuration.

Source: Haiyang-W/CAGroup3D (tools/cfgs/scannet_models, tools/cfgs/sunrgbd_models).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from sr3d.config import Config, ModelConfig, Preset, Rule
from sr3d.detectors.common.sparse_config import VoxelInference
from sr3d.presets import SINGLE_VIEW, DataFacts, Values, repeat, rooms_of
from sr3d.value_types import Count, Exponent, Many, PositiveShare, Share, Weight

# The network of procedural rooms: thin, with coarse voxels, so that two cores can train it.
THIN: Mapping[str, Any] = {
    "voxel_size": 0.08,
    "stem_channels": 16,
    "high_channels": 24,
    "stage_channels": [32, 32, 32],
    "context_channels": 16,
    "channels": 16,
    "blocks": 1,
    "cell_sizes": [0.12, 1.0],
    "group_kernel": 5,
    "expanded_kernel": 3,
    "roi_kernel": 3,
    "roi_grid": 3,
    "roi_channels": 24,
    "roi_hidden": 32,
}
REPEAT = {"scannet": 10, "sunrgbd": 4, "own": 10}
Odd = Literal[3, 5, 7, 9]
Metres = Annotated[float, Interval(ge=0.001, le=10)]


@dataclass(frozen=True, kw_only=True)
class CAGroup3DModel(ModelConfig):
    """The network: BiResNet, groups of each class in cells of its own size, RoI pooling."""

    name: Literal["cagroup3d"] = "cagroup3d"
    voxel_size: Metres = 0.02  # edge of a voxel in metres
    stem_channels: Count = 64  # channels at strides 1 and 2
    high_channels: Count = 128  # channels of the high-resolution branch, at stride 4
    # channels at strides 8 and 16, and within the block of stride 32, which gives twice as many
    stage_channels: tuple[Count, Count, Count] = (256, 512, 512)
    context_channels: Count = 128  # channels of each window of the pyramid pooling
    channels: Count = 64  # channels of the backbone's output and of the first stage
    blocks: Count = 2  # residual blocks of each stage
    votes: Literal[1, 3] = 1  # votes of a voxel for centres. 3: for boxes that overlap
    # what a vote cannot leave by more than two voxels. batch: the extent of all its scenes
    vote_extent: Literal["batch", "scene"] = "batch"
    # edge of a class's cells, as a share of the mean size of its boxes
    cell_share: PositiveShare = 0.15
    cell_sizes: tuple[Metres, Metres] = (0.04, 1.0)  # metres, minimum and maximum edge of a cell
    group_kernel: Odd = 9  # edge of the kernel on a class's cells
    expanded_kernel: Odd = 5  # edge of the kernel on its cells of threefold edge
    # a voxel joins the group of each class whose probability is higher. The threshold falls from
    # the first to the last number by the second one after every epoch
    semantic_thr: tuple[Share, Share, Share] = (0.15, 0.02, 0.05)
    proposals_pre: Many = 1000  # maximum number of anchors of each class's group for proposals
    proposal_thr: Share = 0.01  # proposals need a higher score
    proposal_iou: PositiveShare = 0.5  # NMS removes the worse of two proposals with a higher IoU
    roi_grid: Odd = 7  # points of a proposal's grid along each axis
    roi_kernel: Odd = 5  # edge of the kernel around a point of the grid
    roi_extent: Many = 383  # highest number of a grid point's cell, counted from the origin
    roi_channels: Count = 128  # channels of the pooled features
    roi_hidden: Count = 256  # channels of the refinement
    dropout: Share = 0.3  # dropout of the refinement

    def size(self) -> str:
        widths = self.stem_channels, self.high_channels, *self.stage_channels
        return f"voxels of {self.voxel_size:g} m, widths {', '.join(map(str, widths))}"

    def rules(self) -> Iterator[Rule]:
        """What values must fulfil."""
        start, _, end = self.semantic_thr
        yield "model.cell_sizes", self.cell_sizes[0] <= self.cell_sizes[1], "two rising numbers"
        yield "model.semantic_thr", end <= start, "a last number of at most the first"


@dataclass(frozen=True)
class CAGroup3DAssignment:
    """The assigners of anchors, which groups compete for, and of proposals."""

    name: Literal["cagroup3d"] = "cagroup3d"  # its own
    top: Count = 18  # maximum number of positives per ground truth
    rois: Annotated[int, Interval(ge=2, le=10_000)] = (
        128  # proposals of a scene that train the refinement
    )
    foreground: PositiveShare = 0.9  # maximum share of foreground among them
    foreground_iou: PositiveShare = 0.3  # foreground has a higher IoU with a box of its class
    hard: Share = 0.8  # maximum share of hard ones among the background
    hard_iou: Share = 0.1  # hard background has at least this IoU


@dataclass(frozen=True)
class CAGroup3DLoss:
    """Weights of the terms, and their parameters."""

    semantic: Weight = 1.0  # class of voxels
    vote: Weight = 1.0  # offsets of voxels to centres
    cls: Weight = 1.0  # class of anchors
    center: Weight = 1.0  # centerness of positives
    box: Weight = 1.0  # IoU of positives
    refine: Weight = 1.0  # codes of the refinement
    refine_iou: Weight = 0.0  # IoU of refined boxes
    focal_alpha: Share = 0.25  # weight of positives. Negatives have 1 - α
    # focusing exponent. A higher value reduces the weight of easy rows
    focal_gamma: Exponent = 2.0
    # whether the IoU of the first stage takes the opposite yaw of both boxes, as published
    mirrored_yaw: bool = True


@dataclass(frozen=True)
class CAGroup3DInference(VoxelInference):
    """Inference. The indices of the runs decide the seeds."""


def _published(data: DataFacts) -> Values:
    """On procedural rooms the thin network."""
    return _thin(data) if data.procedural else _network(data)


def _thin(data: DataFacts) -> Values:
    return _network(data, **THIN)


def _network(data: DataFacts, **widths: Any) -> Values:
    """The network goes with a loss and post-processing of its own.

    Data without the object of each point take SUN RGB-D's three votes.
    """
    single = data.dataset == "sunrgbd"
    boxes_only = data.dataset in ("sunrgbd", "own")
    rotated = data.single_view or data.rotated
    loss = {"vote": 0.2 if boxes_only else 1.0}
    loss |= {"refine": 0.5, "refine_iou": 1.0} if rotated else {}
    test = {"sample_count": 100_000 if single else 0}
    model = {"name": "cagroup3d", "votes": 3 if boxes_only else 1, **widths}
    return {"model": model, "loss": loss, "test": test}


def _schedule(data: DataFacts) -> Values:
    if data.procedural:
        return {"train": rooms_of(data)["train"]}
    single = data.dataset == "sunrgbd"
    train = {
        "epochs": 14 if single else 10,
        "milestones": [8, 11] if single else [7, 9],
        "repeat": repeat(REPEAT, data),
        "warmup_iters": 0,
        "keep_last": True,
        "filter_empty_gt": True,
    }
    return {"train": train}


def _augmentation(data: DataFacts) -> Values:
    """On procedural rooms, the rooms' own."""
    if data.procedural:
        return {"augment": rooms_of(data)["augment"]}
    if data.single_view:
        return {"augment": dict(SINGLE_VIEW)}
    return {"augment": {"sample_fraction": [1.0, 1.0], "scale": [0.9, 1.1]}}


@dataclass(frozen=True, kw_only=True)
class CAGroup3DConfig(Config):
    """One setting of CAGroup3D on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"cagroup3d": _published, "cagroup3d_small": _thin},
        "train": {"cagroup3d": _schedule},
        "augment": {"cagroup3d": _augmentation},
    }

    model: CAGroup3DModel = field(default_factory=CAGroup3DModel)
    assigner: CAGroup3DAssignment = field(default_factory=CAGroup3DAssignment)
    loss: CAGroup3DLoss = field(default_factory=CAGroup3DLoss)
    test: CAGroup3DInference = field(default_factory=CAGroup3DInference)

    @property
    def candidates(self) -> int:
        return self.model.proposals_pre

    @property
    def replaces_instances(self) -> bool:
        return self.model.votes == 3

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        yield from self.model.rules()
