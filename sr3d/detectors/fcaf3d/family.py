"""The `Family` of FCAF3D."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.common.checkpoint_names import Naming, foreign_name, is_samsung_fcaf3d
from sr3d.detectors.family import Family
from sr3d.detectors.fcaf3d.config import FCAF3DConfig
from sr3d.detectors.fcaf3d.samsung import from_samsung, to_samsung

if TYPE_CHECKING:
    from torch import Tensor

    from sr3d.detectors.fcaf3d.detector import FCAF3D


def _build(config: FCAF3DConfig) -> FCAF3D:
    from sr3d.detectors.fcaf3d.detector import FCAF3D

    return FCAF3D(config)


def _recognises(weights: Mapping[str, Tensor]) -> bool:
    return "bbox_head.conv_center.kernel" in weights


def _publish(weights: Mapping[str, Tensor], naming: Naming) -> dict[str, Tensor]:
    theirs = to_samsung(weights) if naming == "samsung" else weights
    return {foreign_name(name, naming, fcaf3d=True): value for name, value in theirs.items()}


def _adopt(weights: Mapping[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    return from_samsung(weights) if is_samsung_fcaf3d(names) else dict(weights)


FAMILY = Family(
    title="FCAF3D",
    config=FCAF3DConfig,
    build=_build,
    recognises=_recognises,
    publish=_publish,
    adopt=_adopt,
)
