"""The `Family` of SPGroup3D."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d.detectors.family import Family
from sr3d.detectors.spgroup3d.config import SPGroup3DConfig
from sr3d.detectors.spgroup3d.names import CHECKPOINTS

if TYPE_CHECKING:
    from sr3d.detectors.spgroup3d.detector import SPGroup3D


def _build(config: SPGroup3DConfig) -> SPGroup3D:
    from sr3d.detectors.spgroup3d.detector import SPGroup3D

    return SPGroup3D(config)


FAMILY = Family(
    title="SPGroup3D",
    config=SPGroup3DConfig,
    build=_build,
    checkpoints=CHECKPOINTS,
    needs=("instance", "superpoints"),
)
