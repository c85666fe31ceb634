"""The `Family` of V-DETR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d.detectors.family import Family
from sr3d.detectors.vdetr.config import VDETRConfig
from sr3d.detectors.vdetr.names import CHECKPOINTS

if TYPE_CHECKING:
    from sr3d.detectors.vdetr.detector import VDETR


def _build(config: VDETRConfig) -> VDETR:
    from sr3d.detectors.vdetr.detector import VDETR

    return VDETR(config)


FAMILY = Family(title="V-DETR", config=VDETRConfig, build=_build, checkpoints=CHECKPOINTS)
