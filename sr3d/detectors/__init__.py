"""All families of detectors, by their name in a configuration (`model.name`)."""

from __future__ import annotations

from typing import Any

from sr3d.config import Config
from sr3d.detectors.base import Detector
from sr3d.detectors.family import Family
from sr3d.detectors.fcaf3d import family as fcaf3d
from sr3d.detectors.outputs import Detections
from sr3d.detectors.tr3d import family as tr3d

__all__ = ["FAMILIES", "NETWORKS", "Detections", "Detector", "Family", "build_detector"]

FAMILIES: dict[str, Family] = {"tr3d": tr3d.FAMILY, "fcaf3d": fcaf3d.FAMILY}
# The family of each name that a user may give; SR3D is TR3D's network, trained differently.
NETWORKS = {"sr3d": "tr3d", **{name: name for name in FAMILIES}}


def build_detector(config: Config) -> Detector[Any, Any]:
    """The detector of a configuration, with fresh weights (seed torch first)."""
    return FAMILIES[config.model.name].build(config)
