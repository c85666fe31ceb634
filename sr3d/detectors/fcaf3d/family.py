"""The `Family` of FCAF3D."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.common.checkpoint_names import (
    LANDMARK,
    foreign_name,
    is_samsung_fcaf3d,
    naming_of,
    own_name,
)
from sr3d.detectors.common.sparse_config import infer
from sr3d.detectors.family import CheckpointFormat, Family, Published
from sr3d.detectors.fcaf3d.config import FCAF3DConfig
from sr3d.detectors.fcaf3d.samsung import from_samsung, to_samsung

if TYPE_CHECKING:
    from torch import Tensor

    from sr3d.detectors.fcaf3d.detector import FCAF3D


def _build(config: FCAF3DConfig) -> FCAF3D:
    from sr3d.detectors.fcaf3d.detector import FCAF3D

    return FCAF3D(config)


def _recognises(names: Collection[str]) -> bool:
    return "bbox_head.conv_center.kernel" in names


def _to_mmdet3d(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {foreign_name(name, "mmdet3d", fcaf3d=True): value for name, value in weights.items()}


def _to_samsung(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    theirs = to_samsung(weights)
    return {foreign_name(name, "samsung", fcaf3d=True): value for name, value in theirs.items()}


def _adopt(weights: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    return from_samsung(weights) if is_samsung_fcaf3d(names) else dict(weights)


FAMILY = Family(
    title="FCAF3D",
    config=FCAF3DConfig,
    build=_build,
    checkpoints=CheckpointFormat(
        landmark=LANDMARK,
        own_name=own_name,
        recognises=_recognises,
        written_by=naming_of,
        adopt=_adopt,
        infer=infer,
        published={"mmdet3d": Published(_to_mmdet3d), "samsung": Published(_to_samsung)},
    ),
)
