"""The `Family` of TR3D."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.common.checkpoint_names import LANDMARK, foreign_name, naming_of, own_name
from sr3d.detectors.common.sparse_config import infer
from sr3d.detectors.family import CheckpointFormat, Family, Published
from sr3d.detectors.tr3d.config import TR3DConfig

if TYPE_CHECKING:
    from torch import Tensor

    from sr3d.detectors.tr3d.detector import TR3D


def _build(config: TR3DConfig) -> TR3D:
    from sr3d.detectors.tr3d.detector import TR3D

    return TR3D(config)


def _recognises(names: Collection[str]) -> bool:
    return "bbox_head.conv_reg.kernel" in names and "bbox_head.conv_center.kernel" not in names


def _to_mmdet3d(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {foreign_name(name, "mmdet3d", fcaf3d=False): value for name, value in weights.items()}


def _to_samsung(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {foreign_name(name, "samsung", fcaf3d=False): value for name, value in weights.items()}


FAMILY = Family(
    title="TR3D",
    config=TR3DConfig,
    build=_build,
    checkpoints=CheckpointFormat(
        landmark=LANDMARK,
        own_name=own_name,
        recognises=_recognises,
        written_by=naming_of,
        infer=infer,
        published={"mmdet3d": Published(_to_mmdet3d), "samsung": Published(_to_samsung)},
    ),
)
