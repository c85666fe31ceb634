"""The `Family` of 3DETR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d.detectors.detr3d.config import DETR3DConfig
from sr3d.detectors.detr3d.names import CHECKPOINTS
from sr3d.detectors.family import Family

if TYPE_CHECKING:
    from sr3d.detectors.detr3d.detector import DETR3D


def _build(config: DETR3DConfig) -> DETR3D:
    from sr3d.detectors.detr3d.detector import DETR3D

    return DETR3D(config)


FAMILY = Family(title="3DETR", config=DETR3DConfig, build=_build, checkpoints=CHECKPOINTS)
