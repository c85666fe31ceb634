"""The `Family` of CAGroup3D."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d.detectors.cagroup3d.config import CAGroup3DConfig
from sr3d.detectors.cagroup3d.names import CHECKPOINTS
from sr3d.detectors.family import Family

if TYPE_CHECKING:
    from sr3d.detectors.cagroup3d.detector import CAGroup3D


def _build(config: CAGroup3DConfig) -> CAGroup3D:
    from sr3d.detectors.cagroup3d.detector import CAGroup3D

    return CAGroup3D(config)


FAMILY = Family(
    title="CAGroup3D",
    config=CAGroup3DConfig,
    build=_build,
    checkpoints=CHECKPOINTS,
    needs=("instance", "mean_sizes"),
)
