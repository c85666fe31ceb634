"""The `Family` of BRNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d.detectors.brnet.config import BRNetConfig
from sr3d.detectors.brnet.names import CHECKPOINTS
from sr3d.detectors.family import Family

if TYPE_CHECKING:
    from sr3d.detectors.brnet.detector import BRNet


def _build(config: BRNetConfig) -> BRNet:
    from sr3d.detectors.brnet.detector import BRNet

    return BRNet(config)


FAMILY = Family(
    title="BRNet",
    config=BRNetConfig,
    build=_build,
    checkpoints=CHECKPOINTS,
    needs=("instance",),
)
