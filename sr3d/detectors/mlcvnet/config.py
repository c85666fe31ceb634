"""MLCVNet's configuration: VoteNet's with another schedule and without undecided proposals.

Source: NUAAXQ/MLCVNet (train.py, eval.py, models/loss_helper.py), for ScanNet. No code for SUN
RGB-D is published; there the values are VoteNet's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from sr3d.config import Preset
from sr3d.detectors.common.point_config import points_of, whole_scenes
from sr3d.detectors.votenet.config import (
    THIN,
    VotingConfig,
    VotingModel,
    network,
    schedule,
)
from sr3d.presets import DataFacts, Values


@dataclass(frozen=True, kw_only=True)
class MLCVNetModel(VotingModel):
    """VoteNet's network with attention between seeds and between clusters."""

    name: Literal["mlcvnet"] = "mlcvnet"


def _published(data: DataFacts) -> Values:
    return _thin(data) if data.procedural else _network(data, num_points=points_of(data))


def _thin(data: DataFacts) -> Values:
    return _network(data, **THIN)


def _network(data: DataFacts, **values: Any) -> Values:
    """A proposal that is not near an object is negative, however near it is to being near."""
    found = network(data, "mlcvnet", **values)
    return {**found, "loss": {**found["loss"], "far": 0.3}}


def _schedule(data: DataFacts) -> Values:
    """VoteNet's, longer and with ten times the learning rate."""
    found = schedule(data)["train"] | {"keep_last": False}
    if not data.procedural:
        found |= {"lr": 1e-2, "epochs": 250, "milestones": [120, 160, 200]}
    return {"train": found}


@dataclass(frozen=True, kw_only=True)
class MLCVNetConfig(VotingConfig):
    """One setting of MLCVNet on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"mlcvnet": _published, "mlcvnet_small": _thin},
        "train": {"mlcvnet": _schedule},
        "augment": {"mlcvnet": whole_scenes},
    }

    model: MLCVNetModel = field(default_factory=MLCVNetModel)
