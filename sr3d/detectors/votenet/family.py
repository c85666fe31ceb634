"""The `Family` of VoteNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.family import Family
from sr3d.detectors.votenet.config import VoteNetConfig

if TYPE_CHECKING:
    from torch import Tensor

    from sr3d.detectors.common.checkpoint_names import Naming
    from sr3d.detectors.votenet.detector import VoteNet


def _build(config: VoteNetConfig) -> VoteNet:
    from sr3d.detectors.votenet.detector import VoteNet

    return VoteNet(config)


def _recognises(weights: Mapping[str, Tensor]) -> bool:
    return "vgen.conv3.weight" in weights and "pnet.conv3.weight" in weights


def _publish(weights: Mapping[str, Tensor], naming: Naming) -> dict[str, Tensor]:
    return dict(weights)


def _adopt(weights: Mapping[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    return dict(weights)


FAMILY = Family(
    title="VoteNet",
    config=VoteNetConfig,
    build=_build,
    recognises=_recognises,
    publish=_publish,
    adopt=_adopt,
    needs=("instance", "mean_sizes"),
)
