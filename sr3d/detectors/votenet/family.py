"""The `Family` of VoteNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sr3d.detectors.family import Family
from sr3d.detectors.votenet.config import VoteNetConfig
from sr3d.detectors.votenet.names import CHECKPOINTS

if TYPE_CHECKING:
    from sr3d.detectors.votenet.detector import VoteNet


def _build(config: VoteNetConfig) -> VoteNet:
    from sr3d.detectors.votenet.detector import VoteNet

    return VoteNet(config)


FAMILY = Family(
    title="VoteNet",
    config=VoteNetConfig,
    build=_build,
    checkpoints=CHECKPOINTS,
    needs=("instance", "mean_sizes"),
)
