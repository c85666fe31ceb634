"""The `Family` of MLCVNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d.detectors.family import Family
from sr3d.detectors.mlcvnet.config import MLCVNetConfig
from sr3d.detectors.mlcvnet.names import CHECKPOINTS

if TYPE_CHECKING:
    from sr3d.detectors.mlcvnet.detector import MLCVNet


def _build(config: MLCVNetConfig) -> MLCVNet:
    from sr3d.detectors.mlcvnet.detector import MLCVNet

    return MLCVNet(config)


FAMILY = Family(
    title="MLCVNet",
    config=MLCVNetConfig,
    build=_build,
    checkpoints=CHECKPOINTS,
    needs=("instance", "mean_sizes"),
)
