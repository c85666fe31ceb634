"""RBGNet's configuration.

Source: Haiyang-W/RBGNet (tools/cfgs/scannet_models/RBGNet.yaml, tools/cfgs/sunrgbd_models/
RBGNet.yaml, README.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from sr3d.config import Preset, Rule
from sr3d.detectors.common.point_config import (
    THIN_VOTE_WEIGHT,
    THIN_VOTING,
    THIN_VOTING_TRAINING,
    Clusters,
    Metres,
    ProposalConfig,
    ProposalInference,
    ProposalModel,
    VotingLoss,
    whole_scenes,
)
from sr3d.presets import DataFacts, Values, repeat
from sr3d.value_types import Count, Many, ManyOrNone, PositiveShare, Weight

Foreground = Annotated[float, Interval(ge=0.01, le=0.99)]
# How far fine anchors lie around a coarse one: the number of coarse_radius as a fraction of the
# ray, as published, or coarse_radius in metres.
Margin = Literal["fraction", "metres"]

# The network of procedural rooms, with fewer rays and thin layers on them.
THIN: Mapping[str, Any] = {
    **THIN_VOTING,
    "rays": 18,
    "ray_channels": 16,
    "coarse_radius": 0.3,
    "fine_radius": 0.15,
}


@dataclass(frozen=True, kw_only=True)
class RBGNetModel(ProposalModel):
    """VoteNet's network with foreground-biased sampling, and ray-based grouping for the boxes."""

    name: Literal["rbgnet"] = "rbgnet"
    num_points: Many = 50_000  # points drawn from each scene
    skip_origin: bool = False  # RBGNet samples points near the origin like others
    # share of a level's points that have the best foreground scores
    foreground: Foreground = 0.875
    # whether colours in [0, 1] are divided by 255, as the original does on SUN RGB-D
    divide_colors: bool = False
    rays: Count = 66  # rays of a cluster: 4 n² + 2
    ray_channels: Count = 32  # channels of the anchors on rays
    coarse_bins: Count = 5  # anchors of a ray, equally spaced
    coarse_radius: Metres = 0.2  # of the points around such an anchor, in metres
    coarse_samples: Count = 8  # maximum number of these points
    fine_bins: Count = 3  # anchors of a ray close to those that met the object
    fine_radius: Metres = 0.1  # of the points around such an anchor, in metres
    fine_samples: Count = 4  # maximum number of these points
    # how far fine anchors lie around coarse ones: the number of coarse_radius as a fraction of the
    # ray, as published, or coarse_radius in metres
    fine_margin: Margin = "fraction"

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        above = max(1, round(((self.rays - 2) / 4) ** 0.5)) if self.rays > 2 else 1
        complete = self.rays == 4 * above**2 + 2
        yield "model.rays", complete, f"4 n² + 2, such as {4 * above**2 + 2}"
        both = all(1 <= round(self.foreground * count) < count for count in self.levels[1:])
        yield "model.foreground", both, "a share that leaves points of either kind on each level"
        divides = self.seed_channels % 4 == 0
        yield "model.seed_channels", divides, "a multiple of 4"


@dataclass(frozen=True)
class RBGNetLoss(VotingLoss):
    """The terms and their weights in the sum."""

    vote: Weight = 10.0  # distance of votes to centres
    objectness: Weight = 5.0  # whether a proposal is an object
    center: Weight = 10.0  # distance of centres
    scale: Weight = 1.11  # diagonal of the box
    size: Weight = 1.11  # edges of the box
    heading_class: Weight = 1.0  # bin of the heading
    heading_offset: Weight = 10.0  # offset in the bin
    label: Weight = 1.0  # class of the object
    iou: Weight = 3.33  # axis-aligned IoU of the box
    coarse: Weight = 5.0  # whether coarse anchors lie on the object
    fine: Weight = 5.0  # whether fine anchors do
    foreground: Weight = 3.0  # whether points of the first three levels lie on objects
    near: Metres = 0.3  # metres: a proposal nearer to a centre, and in its box, is positive
    # weight of positives in objectness, and of foreground; 1 - it of the others
    object_weight: PositiveShare = 0.8
    # anchors that the fine term judges: those that follow from all coarse anchors with a point
    # near, as published, or the fine anchors of the network
    fine_anchors: Literal["hits", "network"] = "hits"
    # whether an instance without a point removes the coarse and fine terms of its scene, as
    # published
    all_objects: bool = True
    # whether the centre at the origin of padded ground truths counts as the centre nearest to a
    # predicted one, in scenes with fewer boxes than others of their batch, as published
    padded_truth: bool = True


@dataclass(frozen=True)
class RBGNetInference(ProposalInference):
    """Inference. The indices of the runs decide the seeds."""

    # what clusters are sampled from: the votes, or the seeds of the votes
    clusters: Clusters = "votes"
    min_points: ManyOrNone = 6  # points that a box needs inside
    # all: the points in any box count for every box, as published, so none is removed
    points_of: Literal["all", "each"] = "all"


def _published(data: DataFacts) -> Values:
    """On procedural rooms the thin network."""
    return _thin(data) if data.procedural else _network(data)


def _thin(data: DataFacts) -> Values:
    """A short schedule must not spend its gradients on offsets of headings that do not exist, nor
    on squared distances of centres before the votes have learned.
    """
    values = _network(data, **THIN)
    values["loss"] |= {"vote": THIN_VOTE_WEIGHT, "center": 1.0}
    if not (data.single_view or data.rotated):
        values["loss"]["heading_offset"] = 0.0
    return values


def _network(data: DataFacts, **values: Any) -> Values:
    """The network goes with a whole loss and post-processing of its own.

    ScanNet's values for boxes without a yaw, SUN RGB-D's for boxes with one.
    """
    loss, test = asdict(RBGNetLoss()), asdict(RBGNetInference())
    if data.single_view or data.rotated:
        loss |= {"vote_centre": "box", "heading_offset": 1.11}
        test |= {"clusters": "seeds", "iou_thr": 0.3, "score_thr": 0.0}
    return {
        "model": {
            "name": "rbgnet",
            "divide_colors": data.dataset == "sunrgbd",
            **values,
        },
        "loss": loss,
        "test": test,
    }


def _schedule(data: DataFacts) -> Values:
    """AdamW with two steps. On procedural rooms that of the thin network."""
    own = {
        "lr": 6e-3,
        "warmup_iters": 0,
        "weight_decay": 0.01,
        "clip_norm": 10.0,
        "keep_last": True,
    }
    if data.procedural:
        return _thin_schedule(data)
    published = {"epochs": 64, "milestones": [48, 60], "batch_size": 32}
    return {"train": own | published | {"repeat": repeat({"own": 5}, data)}}


def _thin_schedule(data: DataFacts) -> Values:
    return {"train": {**THIN_VOTING_TRAINING, "weight_decay": 0.01}}


def _augmentation(data: DataFacts) -> Values:
    """Whole scenes, of which the network draws its points. Rooms are only mirrored."""
    values = whole_scenes(data)["augment"]
    return {"augment": values if data.single_view else values | {"rotation": 0.0}}


@dataclass(frozen=True, kw_only=True)
class RBGNetConfig(ProposalConfig):
    """One setting of RBGNet on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"rbgnet": _published, "rbgnet_small": _thin},
        "train": {"rbgnet": _schedule, "rbgnet_small": _thin_schedule},
        "augment": {"rbgnet": _augmentation},
    }

    model: RBGNetModel = field(default_factory=RBGNetModel)
    loss: RBGNetLoss = field(default_factory=RBGNetLoss)
    test: RBGNetInference = field(default_factory=RBGNetInference)
