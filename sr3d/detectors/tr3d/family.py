"""The `Family` of TR3D."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sr3d.detectors.common.checkpoint_names import Naming, foreign_name
from sr3d.detectors.family import Family
from sr3d.detectors.tr3d.detector import TR3D


def _recognises(weights: Mapping[str, Tensor]) -> bool:
    head = {name for name in weights if name.startswith("bbox_head.conv_")}
    return "bbox_head.conv_reg.kernel" in head and "bbox_head.conv_center.kernel" not in head


def _publish(weights: Mapping[str, Tensor], naming: Naming) -> dict[str, Tensor]:
    return {foreign_name(name, naming, fcaf3d=False): value for name, value in weights.items()}


FAMILY = Family("TR3D", TR3D, _recognises, _publish, adopt=lambda weights, _: dict(weights))
