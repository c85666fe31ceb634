"""V-DETR's configuration. Its defaults are V-DETR on ScanNet.

Source: default arguments of V-DETR/V-DETR and the command of its README (`--hard_anchor`), with
colours as features. Its code has no SUN RGB-D. Values for boxes with a yaw are derived, see
docs/detectors/vdetr.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from sr3d.config import Condition, Config, Preset, Rule
from sr3d.detectors.common.point_config import POINT_CONDITIONS, ProposalInference
from sr3d.detectors.common.sparse_config import SparseModelConfig, VoxelInference
from sr3d.presets import COSINE, DataFacts, Values, evaluation_points, repeat, rooms_of
from sr3d.value_types import Count, ManyOrNone, Share, Weight


@dataclass(frozen=True, kw_only=True)
class VoxelQueryModel(SparseModelConfig):
    """The network: a MinkResNet34, a neck, points sampled from voxels, a decoder of queries."""

    # of voxels: colours, or coordinates in metres and colours
    features: Literal["colors", "points_and_colors"] = "colors"
    stem_pool: bool = False
    planes: tuple[Count, ...] = (64, 128, 256, 512)
    neck_channels: Count = 256  # channels of the voxels that points are sampled from
    seeds: Count = 4096  # voxels that the decoder attends to
    queries: Count = 1024  # maximum number of boxes
    channels: Count = 256  # channels of points and queries
    heads: Count = 4  # attention heads
    layers: Count = 8  # layers of the decoder
    hidden: Count = 256  # channels inside the decoder's feed-forward networks
    dropout: Share = 0.1  # dropout of the decoder
    head_dropout: Share = 0.3  # dropout of the heads
    heading_bins: Count = 12  # bins of headings, where boxes have a yaw

    def size(self) -> str:
        return f"{super().size()}, {self.queries} queries, L{self.layers}"


@dataclass(frozen=True, kw_only=True)
class VDETRModel(VoxelQueryModel):
    """V-DETR's network, whose decoder is a transformer."""

    name: Literal["vdetr"] = "vdetr"


@dataclass(frozen=True)
class VDETRAssignment:
    """The assigner: some queries per ground truth, at the least total cost. The costs' weights."""

    name: Literal["hungarian"] = "hungarian"  # the least total cost
    cls_cost: Weight = 3.0  # weight of the focal cost of the true class
    center_cost: Weight = 1.0  # weight of the L1 distance of offsets, in edges of reference boxes
    size_cost: Weight = 0.5  # weight of the L1 distance of logarithms of sizes
    giou_cost: Weight = 2.0  # weight of minus the generalised IoU
    repeats: Count = 5  # queries per ground truth after each layer. Points have one


@dataclass(frozen=True)
class VDETRLoss:
    """The weights of the losses. All but the last are of the points' stage and of each layer."""

    cls_weight: Weight = 3.0  # weight of the focal loss
    center_weight: Weight = 1.0  # weight of the L1 loss of offsets
    size_weight: Weight = 0.5  # weight of the L1 loss of logarithms of sizes
    giou_weight: Weight = 2.0  # weight of the generalised IoU loss
    heading_cls_weight: Weight = 0.1  # weight of the heading's bin
    heading_reg_weight: Weight = 0.5  # weight of the heading's offset in its bin
    point_weight: Weight = 0.05  # weight of the focal loss of the classes of points in boxes


@dataclass(frozen=True)
class VDETRInference(ProposalInference, VoxelInference):
    """Inference. The indices of the runs decide the seeds."""

    score_thr: Share = 0.0  # detections need a higher objectness
    min_points: ManyOrNone = 0  # voxels that a box needs inside


# Cells of 0.16 m, as few as TR3D's thin network has on its finest level.
THIN: Mapping[str, Any] = {
    "voxel_size": 0.08,
    "stem_channels": 16,
    "stem_stride": 1,
    "planes": [16, 24, 48, 64],
    "blocks": [1, 1, 1, 1],
    "neck_channels": 48,
    "seeds": 512,
    "queries": 96,
    "channels": 64,
    "layers": 2,
    "hidden": 64,
    "dropout": 0.0,
    "head_dropout": 0.0,
}


def _published(data: DataFacts) -> Values:
    """On procedural rooms the thin network."""
    return _thin(data) if data.procedural else network(data, "vdetr")


def _thin(data: DataFacts) -> Values:
    """A network that two cores can train."""
    return network(data, "vdetr", **THIN)


def network(data: DataFacts, name: str, **widths: Any) -> Values:
    """The network of a family goes with an assigner, losses and post-processing of its own."""
    count = evaluation_points(data)["test"].get("sample_count", 0)
    test = {"sample_count": count, "nms": "3d", "iou_thr": 0.25, "score_thr": 0.0}
    return {"model": {"name": name, **widths}, "assigner": {"name": "hungarian"}, "test": test}


def schedule(data: DataFacts) -> Values:
    """540 epochs. The original removes scenes without boxes."""
    if data.procedural:
        return {"train": dict(_ROOMS)}
    train: dict[str, Any] = {
        **COSINE,
        "epochs": 540,
        "repeat": repeat({"own": 1}, data),
        "batch_size": 8,
        "lr": 7e-4,
        "warmup_epochs": 9,
        "weight_decay": 0.1,
        "clip_norm": 0.1,
        "filter_empty_gt": True,
        "keep_last": True,
    }
    return {"train": train}


# A schedule of the same form for two cores.
_ROOMS: Mapping[str, Any] = {
    **COSINE,
    "epochs": 10,
    "repeat": 1,
    "batch_size": 2,
    "lr": 2e-3,
    "warmup_epochs": 1,
    "weight_decay": 0.01,
    "clip_norm": 1.0,
}


def augmentation(data: DataFacts) -> Values:
    """Cuboids of whole scenes, then 100,000 points; on procedural rooms, the rooms' own.

    Single views have 3DETR's augmentation of SUN RGB-D.
    """
    if data.procedural:
        return {"augment": rooms_of(data)["augment"] | {"keep_front": data.single_view}}
    augment: dict[str, Any] = {
        "sample_count": 100_000,
        "translation": 0.0,
        "shift": 0.4,
        "crop": [0.5, 1.0],
        "crop_when": "whole",
    }
    if data.single_view or data.rotated:
        augment |= {"flip_y": 0.0, "rotation": 30.0, "scale": [0.85, 1.15], "shift": 0.0}
        augment |= {"keep_front": True, "crop": [0.75, 1.0], "crop_aspect": 0.75}
    return {"augment": augment}


@dataclass(frozen=True, kw_only=True)
class VoxelQueryConfig(Config):
    """One setting of a detector whose queries attend to sampled voxels."""

    conditions: ClassVar[Mapping[str, Condition]] = POINT_CONDITIONS

    model: VoxelQueryModel
    assigner: VDETRAssignment = field(default_factory=VDETRAssignment)
    loss: VDETRLoss = field(default_factory=VDETRLoss)
    test: VDETRInference = field(default_factory=VDETRInference)

    @property
    def candidates(self) -> int:
        return self.model.queries

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        model = self.model
        yield from model.rules((2, 3, 4), "two to four numbers")
        yield "model.channels", model.channels % model.heads == 0, "a multiple of model.heads"
        yield "model.queries", model.queries <= model.seeds, "at most model.seeds"


@dataclass(frozen=True, kw_only=True)
class VDETRConfig(VoxelQueryConfig):
    """One setting of V-DETR on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"vdetr": _published, "vdetr_small": _thin},
        "train": {"vdetr": schedule},
        "augment": {"vdetr": augmentation},
    }

    model: VDETRModel = field(default_factory=VDETRModel)
