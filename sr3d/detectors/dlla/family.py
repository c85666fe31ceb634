"""The `Family` of TR3D + DLLA, and that of FCAF3D + DLLA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d.detectors.dlla.config import FCAF3DDLLAConfig, TR3DDLLAConfig
from sr3d.detectors.dlla.names import FCAF3D_CHECKPOINTS, TR3D_CHECKPOINTS
from sr3d.detectors.family import Family

if TYPE_CHECKING:
    from sr3d.detectors.dlla.detector import FCAF3DDLLA, TR3DDLLA


def _build_tr3d(config: TR3DDLLAConfig) -> TR3DDLLA:
    from sr3d.detectors.dlla.detector import TR3DDLLA

    return TR3DDLLA(config)


def _build_fcaf3d(config: FCAF3DDLLAConfig) -> FCAF3DDLLA:
    from sr3d.detectors.dlla.detector import FCAF3DDLLA

    return FCAF3DDLLA(config)


TR3D_DLLA = Family(
    title="TR3D + DLLA",
    config=TR3DDLLAConfig,
    build=_build_tr3d,
    checkpoints=TR3D_CHECKPOINTS,
)
FCAF3D_DLLA = Family(
    title="FCAF3D + DLLA",
    config=FCAF3DDLLAConfig,
    build=_build_fcaf3d,
    checkpoints=FCAF3D_CHECKPOINTS,
)
