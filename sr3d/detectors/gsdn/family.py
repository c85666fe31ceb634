"""The `Family` of GSDN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d.detectors.family import Family
from sr3d.detectors.gsdn.config import GSDNConfig
from sr3d.detectors.gsdn.names import CHECKPOINTS

if TYPE_CHECKING:
    from sr3d.detectors.gsdn.detector import GSDN


def _build(config: GSDNConfig) -> GSDN:
    from sr3d.detectors.gsdn.detector import GSDN

    return GSDN(config)


FAMILY = Family(
    title="GSDN",
    config=GSDNConfig,
    build=_build,
    checkpoints=CHECKPOINTS,
    needs=("instance",),
)
