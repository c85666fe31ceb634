"""Configuration that detectors on points share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from sr3d.config import AnyExcept, Condition, Config, InferenceConfig, ModelConfig, Rule
from sr3d.config_groups import later
from sr3d.presets import DataFacts, Values
from sr3d.value_types import Count, Many, ManyOrNone, PositiveShare, Share

Metres = Annotated[float, Interval(gt=0, le=100)]
# What clusters of votes are sampled from: the votes, or the seeds of the votes.
Clusters = Literal["votes", "seeds"]
# What votes aim at: the centre of the extent of an object's points, or of its box.
VoteCentre = Literal["extent", "box"]
# The points of an object: its instance's, or all inside its box, whose centre they then vote for.
VotePoints = Literal["instance", "box"]


# PointNet++ of thin networks, which two cores can train. The levels are those of its users.
THIN_POINTNET: Mapping[str, Any] = {
    "num_points": 8192,
    "radii": [0.3, 0.6, 1.0, 1.5],
    "samples": [32, 16, 16, 16],
    "planes": [32, 64, 64, 64],
}
# Thin networks of VoteNet and its extensions. Few seeds lie on objects, so there are as many seeds
# and clusters as in the published networks.
THIN_VOTING: Mapping[str, Any] = {
    **THIN_POINTNET,
    "levels": [1024, 1024, 256, 128],
    "seed_channels": 64,
    "proposals": 256,
    "proposal_channels": 64,
}
# Their weight of votes. In small batches few proposals are positive, and their gradients are large:
# the gradient norm of the centre loss was 200 to 1,300, that of votes 40.
THIN_VOTE_WEIGHT = 30.0
# How they train, on any data. In the first 100 steps on two scans, the vote loss was 9.9 with 8e-3
# and 12.2 with 2e-3. A large rate needs clipping, as in mmdetection3d's VoteNet.
THIN_VOTING_TRAINING: Mapping[str, Any] = {
    "epochs": 12,
    "milestones": [],
    "repeat": 1,
    "batch_size": 2,
    "lr": 8e-3,
    "warmup_iters": 0,
    "schedule": "cosine",
    "schedule_by": "step",
    "clip_norm": 10.0,
    "keep_last": True,
}


@dataclass(frozen=True, kw_only=True)
class PointNet2Model(ModelConfig):
    """A network on PointNet++ of four levels, whose second level has the seeds."""

    num_points: Many = 40_000  # points drawn from each scene
    # points of the levels. The second has the seeds
    levels: tuple[Count, ...] = (2048, 1024, 512, 256)
    radii: tuple[Metres, ...] = (0.2, 0.4, 0.8, 1.2)  # of the groups of each level, in metres
    samples: tuple[Count, ...] = (64, 32, 16, 16)  # maximum number of points of a group
    planes: tuple[Count, ...] = (128, 256, 256, 256)  # channels of the levels
    heading_bins: Count = 12  # bins of the heading, if boxes have a yaw
    # points within 3 cm of the origin are never sampled, as in the original
    skip_origin: bool = True

    def size(self) -> str:
        return f"{self.num_points:,} points, widths {', '.join(map(str, self.planes))}"

    def rules(self) -> Iterator[Rule]:
        """What values must fulfil."""
        yield "model.engine", self.engine != "minkowski", "native, torch or triton"
        for name in ("levels", "radii", "samples", "planes"):
            yield f"model.{name}", len(getattr(self, name)) == 4, "four numbers"
        falling = all(a >= b for a, b in pairwise(self.levels))
        yield "model.levels", falling, "falling numbers"


@dataclass(frozen=True, kw_only=True)
class ProposalModel(PointNet2Model):
    """The network: PointNet++, votes, and proposals from clusters of votes."""

    seed_channels: Count = 256  # channels of seeds and votes
    proposals: Count = 256  # clusters of votes
    proposal_radius: Metres = 0.3  # of the votes of a cluster, in metres
    proposal_samples: Count = 16  # maximum number of votes of a cluster
    proposal_channels: Count = 128  # channels of the proposals
    # what clusters are sampled from in training: the votes, or the seeds of the votes
    clusters: Clusters = "votes"


@dataclass(frozen=True)
class VotingLoss:
    """What votes aim at. A family adds the terms of its loss."""

    # the points of an object: its instance's, or all inside its box
    vote_points: VotePoints = later("instance")
    # what votes aim at: the centre of the extent of the object's points, or of its box
    vote_centre: VoteCentre = "extent"


@dataclass(frozen=True)
class ProposalInference(InferenceConfig):
    """Inference. The indices of the runs decide the seeds."""

    nms: Literal["bev", "3d"] = "3d"  # IoU for NMS: of boxes seen from above, or of volumes
    iou_thr: PositiveShare = 0.25  # NMS removes the worse of two boxes with a higher IoU
    score_thr: Share = 0.05  # detections need a higher objectness
    min_points: ManyOrNone = 5  # points that a box needs inside
    keep_best: bool = False  # whether the best box stays if none has enough points
    # boxes that NMS compares: the axis-aligned boxes around the proposals, or the proposals
    nms_boxes: Literal["upright", "rotated"] = "upright"
    nms_classes: Literal["same", "all"] = "same"  # boxes that NMS compares: of one class, or all
    # every: each box is a detection of every class. best: only of its best class
    labels: Literal["every", "best"] = "every"


# The condition of fields that have an effect only on boxes with a yaw. Own data may have a yaw.
WITH_YAW: Condition = ("dataset", ("sunrgbd", "synthetic_rotated", "own"))
# `Config.conditions` of detectors with `ProposalInference` and bins of headings.
POINT_CONDITIONS: Mapping[str, Condition] = {
    **Config.conditions,
    "model.heading_bins": WITH_YAW,
    "test.nms_boxes": WITH_YAW,
    "test.keep_best": ("test.min_points", AnyExcept((0,))),
}


@dataclass(frozen=True, kw_only=True)
class ProposalConfig(Config):
    """One setting of a detector whose proposals come from clusters of votes."""

    conditions: ClassVar[Mapping[str, Condition]] = {
        **POINT_CONDITIONS,
        "loss.vote_centre": ("loss.vote_points", ("instance",)),
    }

    model: ProposalModel
    loss: VotingLoss = field(default_factory=VotingLoss)
    test: ProposalInference = field(default_factory=ProposalInference)

    @property
    def candidates(self) -> int:
        return self.model.proposals

    @property
    def replaces_instances(self) -> bool:
        return self.loss.vote_points == "box"

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        yield from self.model.rules()


def points_of(data: DataFacts) -> int:
    """The number of points that VoteNet and its extensions draw from a scene."""
    return 20_000 if data.single_view else 40_000


def whole_scenes(data: DataFacts) -> Values:
    """Augmentation of whole scenes, of which the network draws its points.

    Headings say where the front of an object is, so mirrored boxes keep it. Source:
    facebookresearch/votenet (the data set classes), which the detectors after it follow.
    """
    rooms = {
        "sample_fraction": [1.0, 1.0],
        "sample_count": 0,
        "scale": [1.0, 1.0],
        "translation": 0.0,
        "keep_front": data.single_view or data.rotated,
    }
    if data.single_view:
        return {"augment": rooms | {"flip_y": 0.0, "rotation": 30.0, "scale": [0.85, 1.15]}}
    return {"augment": rooms}
