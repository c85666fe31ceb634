"""GroupFree's configuration.

Source: zeliu98/Group-Free-3D (README.md, train_dist.py, eval_avg.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from sr3d.config import Condition, Config, Preset, Rule
from sr3d.detectors.common.point_config import (
    POINT_CONDITIONS,
    THIN_POINTNET,
    WITH_YAW,
    PointNet2Model,
    ProposalInference,
    whole_scenes,
)
from sr3d.presets import DataFacts, Values, repeat, rooms_of
from sr3d.value_types import Count, Exponent, Many, ManyOrNone, PositiveShare, Share, Weight

Delta = Annotated[float, Interval(ge=0.001, le=100)]
SizeTarget = Literal["extent", "box"]
Stages = Literal["last", "last_three", "all"]
Instances = Literal["nearest_centre", "own", "box"]

# The network of procedural rooms, with a thin decoder. Seeds are close enough for small objects.
THIN: Mapping[str, Any] = {
    **THIN_POINTNET,
    "levels": [1024, 512, 256, 128],
    "channels": 64,
    "queries": 128,
    "layers": 3,
    "heads": 4,
    "feedforward": 128,
    "dropout": 0.0,
}


@dataclass(frozen=True, kw_only=True)
class QueryModel(PointNet2Model):
    """The network: PointNet++, queries sampled from its seeds, and a decoder."""

    num_points: Many = 50_000  # points drawn from each scene
    # channels of the levels. The wide network (w2x) has twice as many
    planes: tuple[Count, ...] = (128, 256, 256, 256)
    channels: Count = 288  # channels of seeds and queries
    queries: Count = 256  # seeds that become queries, those with the best scores
    layers: Count = 6  # layers of the decoder
    heads: Count = 8  # attention heads
    feedforward: Count = 2048  # channels within the feed-forward network of a layer
    dropout: Share = 0.1  # in the decoder
    # class: relative to the mean size of the predicted class. metres: directly
    box_size: Literal["class", "metres"] = "class"
    decoder_lr: PositiveShare = 0.1  # learning rate of the decoder relative to train.lr

    def size(self) -> str:
        return f"{self.num_points:,} points, {self.layers} layers, {self.queries} queries"

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        fits = self.queries <= max(self.levels[1:2], default=0)
        yield "model.queries", fits, "at most the number of seeds, the second of model.levels"
        divides = self.channels % self.heads == 0
        yield "model.heads", divides, f"a divisor of model.channels={self.channels}"


@dataclass(frozen=True, kw_only=True)
class GroupFreeModel(QueryModel):
    """GroupFree's network, whose decoder is a transformer."""

    name: Literal["groupfree"] = "groupfree"


@dataclass(frozen=True)
class GroupFreeAssignment:
    """The assigner: a query belongs to the object that its seed lies on."""

    name: Literal["seed"] = "seed"  # its own
    seeds_per_box: Count = 4  # seeds of an object that should become queries, nearest to its centre
    # the box that a point belongs to: the one with the centre nearest to that of its instance's
    # points, its instance's own, or the one around it, for data without instances
    instances: Instances = "nearest_centre"
    # of boxes around a point: how many it can lie in. A further box replaces the last of them. 0:
    # any number
    boxes_per_point: ManyOrNone = 3


@dataclass(frozen=True)
class GroupFreeLoss:
    """Weights of the terms, and the errors at which Huber losses turn linear."""

    total: Weight = 10.0  # of the sum of all terms
    sampling: Weight = 0.8  # whether a seed should become a query
    objectness: Weight = 0.1  # whether a query is an object
    focal_alpha: Share = 0.25  # weight of positives in both; 1 - α of negatives
    # focusing exponent of both. A higher value reduces the weight of easy rows
    focal_gamma: Exponent = 2.0
    center: Weight = 1.0  # distance of centres
    heading_class: Weight = 0.1  # bin of the heading
    size_class: Weight = 0.1  # nearest mean size
    label: Weight = 0.1  # class of the object
    center_delta: Delta = 0.04  # of centres, in metres
    heading_delta: Delta = 1.0  # of offsets in the bin, in half bins
    size_delta: Delta = 1 / 9  # of sizes, in mean sizes or in metres
    # size of a rotated box: of the axis-aligned box around it, as published, or its own
    size_target: SizeTarget = "extent"


@dataclass(frozen=True)
class GroupFreeInference(ProposalInference):
    """Inference. The indices of the runs decide the seeds."""

    # whose boxes form one set: of the last layer, of the last three, or of all and the proposal
    stages: Stages = "last_three"


def _published(data: DataFacts) -> Values:
    """L6-O256: fewer points on single views; on procedural rooms the thin network."""
    return _thin(data) if data.procedural else network(data, num_points=points_of(data))


def _table1(data: DataFacts) -> Values:
    """The networks of the paper's Table 1: w2x, L12, O512 on ScanNet, and L6, O256 elsewhere."""
    if data.dataset != "scannet":
        return _published(data)
    return network(data, layers=12, queries=512, planes=[256, 512, 512, 512])


def _thin(data: DataFacts) -> Values:
    return network(data, **THIN)


def points_of(data: DataFacts) -> int:
    """The number of points that the published networks draw from a scene."""
    return 20_000 if data.single_view else 50_000


def network(data: DataFacts, name: str = "groupfree", **values: Any) -> Values:
    """The network goes with an assigner, a loss and post-processing of its own.

    ScanNet's values for boxes without a yaw, SUN RGB-D's for boxes with one. Sizes that are wrong
    for rotated boxes are learnt where results were published with them.
    """
    yaw = data.single_view or data.rotated
    loss = {
        "sampling": 0.2,
        "objectness": 0.4,
        "center_delta": 1 / 9,
        "heading_delta": 0.04,
        "size_delta": 0.0625,
    }
    target = {"size_target": "extent" if data.dataset in ("scannet", "sunrgbd") else "box"}
    model = {"name": name, "box_size": "metres" if yaw else "class"}
    return {
        "model": model | ({"decoder_lr": 0.05} if yaw else {}) | values,
        "assigner": {"name": "seed"},
        "loss": loss | target if yaw else target,
        "test": {
            "sample_count": 0,
            "nms": "3d",
            "iou_thr": 0.25,
            "score_thr": 0.0,
            "stages": "all" if yaw else "last_three",
        },
    }


def schedule(data: DataFacts) -> Values:
    """As its code runs: an epoch after the milestones that are given on the command line."""
    if data.procedural:
        return {"train": rooms_of(data)["train"] | _rooms_schedule(data)}
    own = {
        "batch_size": 32,
        "repeat": repeat({"own": 1}, data),
        "warmup_iters": 0,
        "clip_norm": 0.1,
    }
    if data.single_view or data.rotated:
        views = {"epochs": 600, "milestones": [421, 481, 541], "lr": 4e-3, "weight_decay": 1e-8}
        return {"train": own | views}
    rooms = {"epochs": 400, "milestones": [281, 341], "lr": 6e-3, "weight_decay": 5e-4}
    return {"train": own | rooms}


def _rooms_schedule(data: DataFacts) -> dict[str, Any]:
    """Longer than that of other detectors: attention learns slowly."""
    epochs = (
        {"epochs": 36, "milestones": [27, 33]}
        if data.single_view
        else {"epochs": 12, "milestones": [9, 11]}
    )
    return {"batch_size": 4, "lr": 6e-3, "clip_norm": 0.1, **epochs}


@dataclass(frozen=True, kw_only=True)
class QueryConfig(Config):
    """One setting of GroupFree, or of a detector that extends it, on one data set."""

    conditions: ClassVar[Mapping[str, Condition]] = {
        **POINT_CONDITIONS,
        "loss.size_class": ("model.box_size", ("class",)),
        "loss.size_target": WITH_YAW,
    }

    model: QueryModel
    assigner: GroupFreeAssignment = field(default_factory=GroupFreeAssignment)
    loss: GroupFreeLoss = field(default_factory=GroupFreeLoss)
    test: GroupFreeInference = field(default_factory=GroupFreeInference)

    @property
    def candidates(self) -> int:
        layers = self.model.layers
        stages = {"last": 1, "last_three": min(3, layers), "all": layers + 1}[self.test.stages]
        return stages * self.model.queries

    @property
    def replaces_instances(self) -> bool:
        return self.assigner.instances == "box"

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        yield from self.model.rules()


@dataclass(frozen=True, kw_only=True)
class GroupFreeConfig(QueryConfig):
    """One setting of GroupFree on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"groupfree": _published, "groupfree_table1": _table1, "groupfree_small": _thin},
        "train": {"groupfree": schedule},
        "augment": {"groupfree": whole_scenes},
    }

    model: GroupFreeModel = field(default_factory=GroupFreeModel)
