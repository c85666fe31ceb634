"""FCAF3D's weights as mmdetection3d, SamsungLabs/tr3d and SamsungLabs/fcaf3d store them.

mmdetection3d's names are ours. The network of SamsungLabs/fcaf3d is the same, but two of its
conventions differ:

- Its yaw is clockwise, as in its labels (`tools/data_converter/sunrgbd_data_utils.py`). With 8
  outputs the yaw is atan2(r6, r7) / 2. r6 is one column of the regression kernel, which has no
  bias, so the sign of that column is the sign of every yaw. SamsungLabs/tr3d and mmdetection3d
  from 1.0 on use counter-clockwise yaws, as we do.
- Its network divides colours by 255 (`single_stage_sparse.py`), also SUN RGB-D's, which are in
  [0, 1] already. Our colours are always in [0, 1], so on SUN RGB-D the stem's kernel takes the
  factor.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.common.checkpoint_names import (
    FIRST_HEAD,
    LANDMARK,
    STEM,
    has_two_outputs,
    naming_of,
    own_name,
    samsung_name,
)
from sr3d.detectors.common.sparse_config import infer
from sr3d.detectors.family import CheckpointFormat, Published

if TYPE_CHECKING:
    from torch import Tensor

_CONVS = {"conv_reg": "reg_conv", "conv_cls": "cls_conv", "conv_center": "centerness_conv"}

_STEM = "backbone.conv1.kernel"
_BOXES, _CLASSES = "bbox_head.conv_reg.kernel", "bbox_head.conv_cls.kernel"
_SINE = 6  # the sign of this output is the sign of the yaw
_COLOURS = 255.0


def published_name(name: str) -> str:
    """The name of one of our weights in SamsungLabs/fcaf3d."""
    for theirs, ours in STEM.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return samsung_name(name, FIRST_HEAD.removesuffix("."), _CONVS)


def adopt(weights: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """See `CheckpointFormat`. Only the files of SamsungLabs/fcaf3d have other conventions."""
    first = any(FIRST_HEAD in name for name in names)
    return from_samsung(weights) if first else dict(weights)


def from_samsung(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """SamsungLabs/fcaf3d's weights, under our names, in our conventions."""
    ours = _turned(weights)
    if _is_sunrgbd(weights):
        ours[_STEM] = ours[_STEM] / _COLOURS
    return ours


def to_samsung(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under the names and in the conventions of SamsungLabs/fcaf3d.

    The inverse of `from_samsung`. Exact, except for the last bit of SUN RGB-D's stem.
    """
    theirs = _turned(weights)
    if _is_sunrgbd(weights):
        theirs[_STEM] = theirs[_STEM] * _COLOURS
    return {published_name(name): value for name, value in theirs.items()}


def _turned(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with the opposite sign of yaw. Unchanged if boxes have no yaw."""
    turned = dict(weights)
    if _outputs(weights, _BOXES) == 8:
        kernel = weights[_BOXES].clone()
        kernel[..., _SINE] = -kernel[..., _SINE]
        turned[_BOXES] = kernel
    return turned


def _is_sunrgbd(weights: Mapping[str, Tensor]) -> bool:
    return (_outputs(weights, _BOXES), _outputs(weights, _CLASSES)) == (8, 10)


def _outputs(weights: Mapping[str, Tensor], name: str) -> int | None:
    return weights[name].shape[-1] if name in weights and weights[name].dim() else None


def _recognises(names: Collection[str]) -> bool:
    return "bbox_head.conv_center.kernel" in names and not has_two_outputs(names)


CHECKPOINTS = CheckpointFormat(
    landmark=LANDMARK,
    own_name=own_name,
    recognises=_recognises,
    written_by=naming_of,
    adopt=adopt,
    infer=infer,
    published={"mmdet3d": Published(), "samsung": Published(to_samsung)},
)
