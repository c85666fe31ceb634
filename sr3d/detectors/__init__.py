"""All families of detectors, by their name in a configuration (`model.name`).

This module does not import torch: commands ask it for configurations. A family imports its network
when it builds one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sr3d.config import Config
from sr3d.detectors.brnet.family import FAMILY as BRNET
from sr3d.detectors.cagroup3d.family import FAMILY as CAGROUP3D
from sr3d.detectors.dest.family import FAMILY as DEST
from sr3d.detectors.dest.family import ON_VDETR as DEST_VDETR
from sr3d.detectors.detr3d.family import FAMILY as DETR3D
from sr3d.detectors.dlla.family import FCAF3D_DLLA, TR3D_DLLA
from sr3d.detectors.family import Family
from sr3d.detectors.fcaf3d.family import FAMILY as FCAF3D
from sr3d.detectors.groupfree.family import FAMILY as GROUPFREE
from sr3d.detectors.gsdn.family import FAMILY as GSDN
from sr3d.detectors.mlcvnet.family import FAMILY as MLCVNET
from sr3d.detectors.rbgnet.family import FAMILY as RBGNET
from sr3d.detectors.spgroup3d.family import FAMILY as SPGROUP3D
from sr3d.detectors.tr3d.family import FAMILY as TR3D
from sr3d.detectors.vdetr.family import FAMILY as VDETR
from sr3d.detectors.votenet.family import FAMILY as VOTENET
from sr3d.errors import InputError, Kind

if TYPE_CHECKING:
    from sr3d.detectors.base import Detector

__all__ = ["FAMILIES", "NETWORKS", "Family", "build_detector"]

# The first is the family of a data set's default configuration.
FAMILIES: dict[str, Family] = {
    "tr3d": TR3D,
    "fcaf3d": FCAF3D,
    "tr3d_dlla": TR3D_DLLA,
    "fcaf3d_dlla": FCAF3D_DLLA,
    "votenet": VOTENET,
    "mlcvnet": MLCVNET,
    "brnet": BRNET,
    "rbgnet": RBGNET,
    "groupfree": GROUPFREE,
    "3detr": DETR3D,
    "vdetr": VDETR,
    "dest": DEST,
    "dest_vdetr": DEST_VDETR,
    "gsdn": GSDN,
    "spgroup3d": SPGROUP3D,
    "cagroup3d": CAGROUP3D,
}
# The family of each name that a user may give. SR3D is TR3D's network, trained differently.
NETWORKS = {"sr3d": "tr3d", **{name: name for name in FAMILIES}}


def build_detector(config: Config) -> Detector[Any, Any]:
    """The detector of a configuration, with fresh weights (seed torch first).

    Raises:
        InputError: the family needs mean sizes, and neither data set nor configuration has any.
    """
    from sr3d.detectors.needs import lacks_mean_sizes  # imports torch

    family = FAMILIES[config.model.name]
    if lacks_mean_sizes(config, family):
        raise InputError(
            f"empty, and {family.title} needs the mean size of each class of '{config.dataset}'",
            field="mean_sizes",
            kind=Kind.MISSING,
            remedy="`sr3d train --data DIR` reads them from the prepared folder.",
        )
    return family.build(config)
