"""DEST's configuration: GroupFree's, with another decoder.

Source: OpenSpaceAI/DEST3D (models/dest_detector.py). It publishes no training, so losses, schedule
and post-processing are those of zeliu98/Group-Free-3D, on which its detector is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from sr3d.config import Preset
from sr3d.detectors.common.point_config import whole_scenes
from sr3d.detectors.groupfree.config import (
    THIN,
    QueryConfig,
    QueryModel,
    network,
    points_of,
    schedule,
)
from sr3d.presets import DataFacts, Values


@dataclass(frozen=True, kw_only=True)
class DESTModel(QueryModel):
    """GroupFree's network with scans of the seeds in place of cross-attention."""

    name: Literal["dest"] = "dest"
    bidirectional: bool = True  # also scan the seeds from the last to the first


def _published(data: DataFacts) -> Values:
    """GroupFree(S): L6, O256. On procedural rooms the thin network."""
    return _thin(data) if data.procedural else network(data, "dest", num_points=points_of(data))


def _thin(data: DataFacts) -> Values:
    return network(data, "dest", **THIN)


@dataclass(frozen=True, kw_only=True)
class DESTConfig(QueryConfig):
    """One setting of DEST on one data set."""

    presets: ClassVar[Mapping[str, Mapping[str, Preset]]] = {
        "model": {"dest": _published, "dest_small": _thin},
        "train": {"dest": schedule},
        "augment": {"dest": whole_scenes},
    }

    model: DESTModel = field(default_factory=DESTModel)
