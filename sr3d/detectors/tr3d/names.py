"""TR3D's weights as mmdetection3d, whose names are ours, and SamsungLabs/tr3d store them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.common.checkpoint_names import (
    LANDMARK,
    has_two_outputs,
    naming_of,
    own_name,
    samsung_name,
)
from sr3d.detectors.common.sparse_config import infer
from sr3d.detectors.family import CheckpointFormat, Published

if TYPE_CHECKING:
    from torch import Tensor

_CONVS = {"conv_reg": "bbox_conv", "conv_cls": "cls_conv"}


def to_samsung(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under the names of SamsungLabs/tr3d."""
    return {samsung_name(name, "head", _CONVS): value for name, value in weights.items()}


def _recognises(names: Collection[str]) -> bool:
    own = "bbox_head.conv_reg.kernel" in names and "bbox_head.conv_center.kernel" not in names
    return own and not has_two_outputs(names)


CHECKPOINTS = CheckpointFormat(
    landmark=LANDMARK,
    own_name=own_name,
    recognises=_recognises,
    written_by=naming_of,
    infer=infer,
    published={"mmdet3d": Published(), "samsung": Published(to_samsung)},
)
