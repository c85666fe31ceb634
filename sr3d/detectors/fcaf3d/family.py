"""The `Family` of FCAF3D."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d.detectors.family import Family
from sr3d.detectors.fcaf3d.config import FCAF3DConfig
from sr3d.detectors.fcaf3d.names import CHECKPOINTS

if TYPE_CHECKING:
    from sr3d.detectors.fcaf3d.detector import FCAF3D


def _build(config: FCAF3DConfig) -> FCAF3D:
    from sr3d.detectors.fcaf3d.detector import FCAF3D

    return FCAF3D(config)


FAMILY = Family(title="FCAF3D", config=FCAF3DConfig, build=_build, checkpoints=CHECKPOINTS)
