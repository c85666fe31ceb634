"""The `Family` of TR3D."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.common.checkpoint_names import Naming, foreign_name
from sr3d.detectors.family import Family
from sr3d.detectors.tr3d.config import TR3DConfig

if TYPE_CHECKING:
    from torch import Tensor

    from sr3d.detectors.tr3d.detector import TR3D


def _build(config: TR3DConfig) -> TR3D:
    from sr3d.detectors.tr3d.detector import TR3D

    return TR3D(config)


def _recognises(weights: Mapping[str, Tensor]) -> bool:
    head = {name for name in weights if name.startswith("bbox_head.conv_")}
    return "bbox_head.conv_reg.kernel" in head and "bbox_head.conv_center.kernel" not in head


def _publish(weights: Mapping[str, Tensor], naming: Naming) -> dict[str, Tensor]:
    return {foreign_name(name, naming, fcaf3d=False): value for name, value in weights.items()}


FAMILY = Family(
    title="TR3D",
    config=TR3DConfig,
    build=_build,
    recognises=_recognises,
    publish=_publish,
    adopt=lambda weights, _: dict(weights),
)
