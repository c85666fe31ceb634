"""BRNet's configuration.

Source: cheng052/BRNet (configs/brnet/, configs/_base_/schedules/schedule_cos.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from sr3d.config import Preset
from sr3d.detectors.common.point_config import (
    THIN_VOTING,
    THIN_VOTING_TRAINING,
    Metres,
    ProposalConfig,
    ProposalInference,
    ProposalModel,
    VotingLoss,
    points_of,
    whole_scenes,
)
from sr3d.presets import DataFacts, Values, repeat
from sr3d.value_types import Count, ManyOrNone, PositiveShare, Weight

# The thin network with a thin second stage. Few seeds lie on objects, so clusters are sampled from
# votes.
THIN: Mapping[str, Any] = {
    **THIN_VOTING,
    "proposals": 128,  # the second stage looks at twelve groups of seeds for each
    "clusters": "votes",
    "trace_radius": 0.3,
    "trace_planes": [64, 32, 16],
}


@dataclass(frozen=True, kw_only=True)
class BRNetModel(ProposalModel):
    """VoteNet's network without classes, and a second stage on points traced back to the seeds."""

    name: Literal["brnet"] = "brnet"
    skip_origin: bool = False  # BRNet samples points near the origin like others
    trace_radius: Metres = 0.2  # of the seeds around a point traced back, in metres
    trace_samples: Count = 16  # maximum number of these seeds
    trace_planes: tuple[Count, ...] = (128, 64, 32)  # channels of the layers on them
    trace_density: Count = 2  # points in each of the six directions


@dataclass(frozen=True)
class BRNetLoss(VotingLoss):
    """The terms and their weights in the sum."""

    vote: Weight = 10.0  # distance of votes to centres
    objectness: Weight = 5.0  # whether a proposal is an object
    heading_class: Weight = 1.0  # bin of the heading
    heading_offset: Weight = 10.0  # offset in the bin
    size: Weight = 10.0  # distances to the faces
    size_refined: Weight = 10.0  # of the second stage
    heading_refined: Weight = 10.0  # of the second stage
    label: Weight = 1.0  # class of the object
    near: Metres = 0.3  # metres: a proposal nearer to a centre, and in its box, is positive
    object_weight: PositiveShare = 0.8  # weight of positives in objectness; 1 - it of negatives
    # whether a refined heading more than half a turn too large costs nothing, as in the original
    one_sided_heading: bool = True


@dataclass(frozen=True)
class BRNetInference(ProposalInference):
    """Inference. The indices of the runs decide the seeds."""

    min_points: ManyOrNone = 6  # points that a box needs inside


def _published(data: DataFacts) -> Values:
    """Half as many points on single views; on procedural rooms the thin network."""
    return _thin(data) if data.procedural else _network(data, num_points=points_of(data))


def _thin(data: DataFacts) -> Values:
    """Sizes also move the votes, and are exponentials. In a short schedule votes learn first, so
    sizes weigh a tenth.
    """
    found = _network(data, **THIN)
    return found | {"loss": found["loss"] | {"size": 1.0, "size_refined": 1.0}}


def _network(data: DataFacts, **values: Any) -> Values:
    """Clusters are sampled from the seeds, also in training. Single views have other weights."""
    single = {
        "vote_centre": "box",
        "objectness": 10.0,
        "size": 5.0,
        "size_refined": 5.0,
        "heading_refined": 1.0,
    }
    return {
        "model": {"name": "brnet", "clusters": "seeds", "skip_origin": False, **values},
        "loss": single if data.single_view else {},
        "test": {"sample_count": 0, "nms": "3d", "iou_thr": 0.25, "score_thr": 0.05},
    }


def _schedule(data: DataFacts) -> Values:
    """AdamW with a cosine to zero, by epochs. On procedural rooms that of the thin network."""
    own = {
        "lr": 1e-3 if data.single_view else 5e-3,
        "warmup_iters": 0,
        "weight_decay": 0.01,
        "schedule": "cosine",
        "milestones": [],
        "batch_size": 8,
        "keep_last": True,
    }
    if data.procedural:
        return _thin_schedule(data)
    return {"train": own | {"epochs": 44, "repeat": repeat({"own": 5}, data)}}


def _thin_schedule(data: DataFacts) -> Values:
    return {"train": {**THIN_VOTING_TRAINING, "weight_decay": 0.01}}


@dataclass(frozen=True, kw_only=True)
class BRNetConfig(ProposalConfig):
    """One setting of BRNet on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"brnet": _published, "brnet_small": _thin},
        "train": {"brnet": _schedule, "brnet_small": _thin_schedule},
        "augment": {"brnet": whole_scenes},
    }

    model: BRNetModel = field(default_factory=BRNetModel)
    loss: BRNetLoss = field(default_factory=BRNetLoss)
    test: BRNetInference = field(default_factory=BRNetInference)
