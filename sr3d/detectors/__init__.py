"""Every family of detectors by the name that a configuration has (`model.name`)."""

from __future__ import annotations

from typing import Any

from sr3d.config import Config
from sr3d.data.datasets import dataset_of
from sr3d.detectors.base import Detector
from sr3d.detectors.family import Family
from sr3d.detectors.fcaf3d import family as fcaf3d
from sr3d.detectors.outputs import Detections
from sr3d.detectors.tr3d import family as tr3d
from sr3d.errors import InputError, Kind

__all__ = ["FAMILIES", "NETWORKS", "Detections", "Detector", "Family", "build_detector"]

FAMILIES: dict[str, Family] = {"tr3d": tr3d.FAMILY, "fcaf3d": fcaf3d.FAMILY}
# The family of each name that a user may give; SR3D is TR3D's network, trained differently.
NETWORKS = {"sr3d": "tr3d", **{name: name for name in FAMILIES}}


def build_detector(config: Config) -> Detector[Any, Any]:
    """The network that a configuration asks for, with fresh weights (seed torch first).

    Raises:
        InputError: it needs mean sizes, and neither data set nor configuration has any.
    """
    family = FAMILIES[config.model.name]
    if "mean_sizes" in family.needs and not dataset_of(config).mean_sizes:
        raise InputError(
            f"empty, and {family.title} needs the mean size of each class of '{config.dataset}'",
            field="mean_sizes",
            kind=Kind.MISSING,
            remedy="`sr3d train --data DIR` reads them from the prepared folder.",
        )
    return family.build(config)
