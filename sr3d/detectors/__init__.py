"""All families of detectors, by their name in a configuration (`model.name`).

This module does not import torch: commands ask it for configurations. A family imports its network
when it builds one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sr3d.config import Config
from sr3d.detectors.brnet import family as brnet
from sr3d.detectors.family import Family
from sr3d.detectors.fcaf3d import family as fcaf3d
from sr3d.detectors.mlcvnet import family as mlcvnet
from sr3d.detectors.rbgnet import family as rbgnet
from sr3d.detectors.tr3d import family as tr3d
from sr3d.detectors.votenet import family as votenet
from sr3d.errors import InputError, Kind

if TYPE_CHECKING:
    from sr3d.detectors.base import Detector

__all__ = ["FAMILIES", "NETWORKS", "Family", "build_detector"]

# The first is the family of a data set's default configuration.
FAMILIES: dict[str, Family] = {
    "tr3d": tr3d.FAMILY,
    "fcaf3d": fcaf3d.FAMILY,
    "votenet": votenet.FAMILY,
    "mlcvnet": mlcvnet.FAMILY,
    "brnet": brnet.FAMILY,
    "rbgnet": rbgnet.FAMILY,
}
# The family of each name that a user may give; SR3D is TR3D's network, trained differently.
NETWORKS = {"sr3d": "tr3d", **{name: name for name in FAMILIES}}


def build_detector(config: Config) -> Detector[Any, Any]:
    """The detector of a configuration, with fresh weights (seed torch first).

    Raises:
        InputError: the family needs mean sizes, and neither data set nor configuration has any.
    """
    from sr3d.data.datasets import dataset_of  # imports torch

    family = FAMILIES[config.model.name]
    if "mean_sizes" in family.needs and not dataset_of(config).mean_sizes:
        raise InputError(
            f"empty, and {family.title} needs the mean size of each class of '{config.dataset}'",
            field="mean_sizes",
            kind=Kind.MISSING,
            remedy="`sr3d train --data DIR` reads them from the prepared folder.",
        )
    return family.build(config)
