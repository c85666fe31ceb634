"""Every detector by the name that its configuration has."""

from __future__ import annotations

from typing import Any

from sr3d.config import Config
from sr3d.detectors.base import Detector
from sr3d.detectors.fcaf3d.detector import FCAF3D
from sr3d.detectors.outputs import Detections
from sr3d.detectors.tr3d.detector import TR3D

__all__ = ["Detections", "Detector", "build_detector"]


def build_detector(config: Config) -> Detector[Any, Any]:
    """The network that a configuration asks for, with fresh weights (seed torch first)."""
    match config.model.name:
        case "tr3d":
            return TR3D(config)
        case "fcaf3d":
            return FCAF3D(config)
