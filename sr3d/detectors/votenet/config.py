"""VoteNet's configuration.

Source: facebookresearch/votenet (train.py, eval.py, README.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

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
    VotePoints,
    VotingLoss,
    points_of,
    whole_scenes,
)
from sr3d.presets import DataFacts, Values, repeat
from sr3d.value_types import Count, PositiveShare, Share, Weight

_ADAM: Mapping[str, Any] = {"optimizer": "adam", "weight_decay": 0.0}


@dataclass(frozen=True, kw_only=True)
class VotingModel(ProposalModel):
    """The network of VoteNet and MLCVNet. The momentum of its batch norms falls with the epochs."""

    norm_momentum: PositiveShare = 0.5  # of batch norms at first: the weight of the newest batch
    norm_momentum_epochs: Count = 20  # epochs after which this momentum halves
    norm_momentum_least: Share = 0.001  # its minimum


@dataclass(frozen=True, kw_only=True)
class VoteNetModel(VotingModel):
    """VoteNet's network."""

    name: Literal["votenet"] = "votenet"


@dataclass(frozen=True)
class VoteNetLoss(VotingLoss):
    """The terms and their weights in the sum. Digests have always counted `vote_points`."""

    vote: Weight = 10.0  # distance of votes to centres
    objectness: Weight = 5.0  # whether a proposal is an object
    center: Weight = 10.0  # distance of centres
    heading_class: Weight = 1.0  # bin of the heading
    heading_offset: Weight = 10.0  # offset in the bin
    size_class: Weight = 1.0  # nearest mean size
    size_offset: Weight = 10.0  # offset from the mean size
    label: Weight = 1.0  # class of the object
    near: Metres = 0.3  # metres: a proposal nearer to a centre is positive
    far: Metres = 0.6  # metres: a proposal farther from all centres is negative
    object_weight: PositiveShare = 0.8  # weight of positives in objectness; 1 - it of negatives
    # the points of an object: its instance's, or all inside its box
    vote_points: VotePoints = "instance"
    # whether padded ground truths, of class 0 at the origin, are assigned to proposals near it
    padded_truth: bool = True


@dataclass(frozen=True)
class VoteNetInference(ProposalInference):
    """Inference. The indices of the runs decide the seeds."""

    # what clusters are sampled from: the votes, or the seeds of the votes
    clusters: Clusters = "seeds"


def _published(data: DataFacts) -> Values:
    """Half as many points on single views; on procedural rooms the thin network."""
    return _thin(data) if data.procedural else network(data, num_points=points_of(data))


def _thin(data: DataFacts) -> Values:
    return thin(data)


def thin(data: DataFacts, name: str = "votenet") -> Values:
    """The thin network. Clusters sampled from 1,024 seeds missed 3 of 27 objects on two scans, so
    evaluation samples them from votes.
    """
    found = network(data, name, **THIN_VOTING, norm_momentum=0.1)
    return found | {
        "loss": found["loss"] | {"vote": THIN_VOTE_WEIGHT},
        "test": found["test"] | {"clusters": "votes"},
    }


def network(data: DataFacts, name: str = "votenet", **values: Any) -> Values:
    """The network goes with a loss and post-processing of its own.

    Single views show a part of an object, so votes aim at the centre of its box.
    """
    return {
        "model": {"name": name, **values},
        "loss": {"vote_centre": "box" if data.single_view else "extent"},
        "test": {"sample_count": 0, "nms": "3d", "iou_thr": 0.25, "score_thr": 0.05},
    }


def schedule(data: DataFacts) -> Values:
    """Adam with three steps, without clipping. On procedural rooms that of the thin network."""
    if data.procedural:
        return thin_schedule(data)
    return {
        "train": {
            **_ADAM,
            "lr": 1e-3,
            "warmup_iters": 0,
            "clip_norm": 0.0,
            "keep_last": True,
            "batch_size": 8,
            "epochs": 180,
            "milestones": [80, 120, 160],
            "repeat": repeat({"own": 1}, data),
        }
    }


def thin_schedule(data: DataFacts) -> Values:
    """Adam with a cosine and clipping, on any data."""
    return {"train": {**_ADAM, **THIN_VOTING_TRAINING}}


@dataclass(frozen=True, kw_only=True)
class VotingConfig(ProposalConfig):
    """One setting of VoteNet, or of a detector that extends it, on one data set."""

    model: VotingModel
    loss: VoteNetLoss = field(default_factory=VoteNetLoss)
    test: VoteNetInference = field(default_factory=VoteNetInference)

    def rules(self) -> Iterator[Rule]:
        yield from super().rules()
        further = self.loss.near <= self.loss.far
        yield "loss.far", further, f"at least loss.near={self.loss.near}"


@dataclass(frozen=True, kw_only=True)
class VoteNetConfig(VotingConfig):
    """One setting of VoteNet on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"votenet": _published, "votenet_small": _thin},
        "train": {"votenet": schedule, "votenet_small": thin_schedule},
        "augment": {"votenet": whole_scenes},
    }

    model: VoteNetModel = field(default_factory=VoteNetModel)
