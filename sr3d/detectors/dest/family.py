"""The `Family` of DEST."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d.detectors.dest.config import DESTConfig
from sr3d.detectors.dest.names import CHECKPOINTS
from sr3d.detectors.family import Family

if TYPE_CHECKING:
    from sr3d.detectors.dest.detector import DEST


def _build(config: DESTConfig) -> DEST:
    from sr3d.detectors.dest.detector import DEST

    return DEST(config)


FAMILY = Family(
    title="DEST",
    config=DESTConfig,
    build=_build,
    checkpoints=CHECKPOINTS,
    needs=("instance", "mean_sizes"),
)
