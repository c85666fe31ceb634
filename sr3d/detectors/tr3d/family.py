"""The `Family` of TR3D."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d.detectors.family import Family
from sr3d.detectors.tr3d.config import TR3DConfig
from sr3d.detectors.tr3d.names import CHECKPOINTS

if TYPE_CHECKING:
    from sr3d.detectors.tr3d.detector import TR3D


def _build(config: TR3DConfig) -> TR3D:
    from sr3d.detectors.tr3d.detector import TR3D

    return TR3D(config)


FAMILY = Family(title="TR3D", config=TR3DConfig, build=_build, checkpoints=CHECKPOINTS)
