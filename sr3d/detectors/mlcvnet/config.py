"""MLCVNet's configuration: VoteNet's with another schedule and without undecided proposals.

Source: NUAAXQ/MLCVNet (train.py, eval.py, models/loss_helper.py), for ScanNet. No code for SUN
RGB-D is published; there the values are VoteNet's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from sr3d.config import Preset
from sr3d.detectors.common.point_config import points_of, whole_scenes
from sr3d.detectors.votenet.config import (
    VotingConfig,
    VotingModel,
    network,
    schedule,
    thin,
    thin_schedule,
)
from sr3d.presets import DataFacts, Values


@dataclass(frozen=True, kw_only=True)
class MLCVNetModel(VotingModel):
    """VoteNet's network with attention between seeds and between clusters."""

    name: Literal["mlcvnet"] = "mlcvnet"


def _published(data: DataFacts) -> Values:
    if data.procedural:
        return _thin(data)
    return _without_undecided(network(data, "mlcvnet", num_points=points_of(data)))


def _thin(data: DataFacts) -> Values:
    return _without_undecided(thin(data, "mlcvnet"))


def _without_undecided(found: Values) -> Values:
    """Sets `loss.far` to `loss.near`, so no proposal is ignored."""
    return found | {"loss": found["loss"] | {"far": 0.3}}


def _schedule(data: DataFacts) -> Values:
    """VoteNet's, longer and with ten times the learning rate."""
    if data.procedural:
        return thin_schedule(data)
    own = {"lr": 1e-2, "epochs": 250, "milestones": [120, 160, 200], "keep_last": False}
    return {"train": schedule(data)["train"] | own}


@dataclass(frozen=True, kw_only=True)
class MLCVNetConfig(VotingConfig):
    """One setting of MLCVNet on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"mlcvnet": _published, "mlcvnet_small": _thin},
        "train": {"mlcvnet": _schedule, "mlcvnet_small": thin_schedule},
        "augment": {"mlcvnet": whole_scenes},
    }

    model: MLCVNetModel = field(default_factory=MLCVNetModel)
