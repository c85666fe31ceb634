"""The `Family` of DEST on GroupFree, and that of DEST on V-DETR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d.detectors.dest.config import DESTConfig
from sr3d.detectors.dest.names import CHECKPOINTS
from sr3d.detectors.dest.on_vdetr_config import DESTOnVDETRConfig
from sr3d.detectors.family import Family

if TYPE_CHECKING:
    from sr3d.detectors.dest.detector import DEST
    from sr3d.detectors.dest.on_vdetr import DESTOnVDETR


def _build(config: DESTConfig) -> DEST:
    from sr3d.detectors.dest.detector import DEST

    return DEST(config)


def _build_on_vdetr(config: DESTOnVDETRConfig) -> DESTOnVDETR:
    from sr3d.detectors.dest.on_vdetr import DESTOnVDETR

    return DESTOnVDETR(config)


FAMILY = Family(
    title="DEST",
    config=DESTConfig,
    build=_build,
    checkpoints=CHECKPOINTS,
    needs=("instance", "mean_sizes"),
)
ON_VDETR = Family(
    title="DEST on V-DETR (reconstruction)", config=DESTOnVDETRConfig, build=_build_on_vdetr
)
