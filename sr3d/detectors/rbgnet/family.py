"""The `Family` of RBGNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d.detectors.family import Family
from sr3d.detectors.rbgnet.config import RBGNetConfig
from sr3d.detectors.rbgnet.names import CHECKPOINTS

if TYPE_CHECKING:
    from sr3d.detectors.rbgnet.detector import RBGNet


def _build(config: RBGNetConfig) -> RBGNet:
    from sr3d.detectors.rbgnet.detector import RBGNet

    return RBGNet(config)


FAMILY = Family(
    title="RBGNet",
    config=RBGNetConfig,
    build=_build,
    checkpoints=CHECKPOINTS,
    needs=("instance",),
)
