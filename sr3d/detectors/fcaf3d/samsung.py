"""Converts weights of SamsungLabs/fcaf3d to the conventions of our network, and back.

The network is the same as ours, which follows open-mmlab/mmdetection3d. Two conventions differ:

- Its yaw is clockwise, as in its labels (`tools/data_converter/sunrgbd_data_utils.py`). With 8
  outputs the yaw is atan2(r6, r7) / 2. r6 is one column of the regression kernel, which has no
  bias, so the sign of that column is the sign of every yaw. SamsungLabs/tr3d and mmdetection3d
  from 1.0 on use counter-clockwise yaws, as we do.
- Its network divides colours by 255 (`single_stage_sparse.py`), also SUN RGB-D's, which are in
  [0, 1] already. Our colours are always in [0, 1], so on SUN RGB-D the stem's kernel takes the
  factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_STEM = "backbone.conv1.kernel"
_BOXES, _CLASSES = "bbox_head.conv_reg.kernel", "bbox_head.conv_cls.kernel"
_SINE = 6  # the sign of this output is the sign of the yaw
_COLOURS = 255.0


def from_samsung(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """SamsungLabs/fcaf3d's weights, under our names, in our conventions."""
    ours = _turned(weights)
    if _is_sunrgbd(weights):
        ours[_STEM] = ours[_STEM] / _COLOURS
    return ours


def to_samsung(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `from_samsung`. Exact, except for the last bit of SUN RGB-D's stem."""
    theirs = _turned(weights)
    if _is_sunrgbd(weights):
        theirs[_STEM] = theirs[_STEM] * _COLOURS
    return theirs


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
