"""DLLA's weights as liuxinrun/dlla stores them.

There neck, head and matcher are one module, `head`. It also has weights that its code never uses:
two encodings of positions and, in FCAF3D + DLLA, `localization_conv`. We do not read them. When we
write a file, they are zeros.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from sr3d.detectors.common.checkpoint_names import (
    LANDMARK,
    TWO_OUTPUTS,
    own_name,
    samsung_name,
)
from sr3d.detectors.common.sparse_config import infer
from sr3d.detectors.dlla.config import HEADS
from sr3d.detectors.family import CheckpointFormat, Inferred, Published

if TYPE_CHECKING:
    from torch import Tensor

_HEAD = "bbox_head."  # what `own_name` makes of `head.`
_MATCHER = re.compile(r"(qkv[01]|[qk]_linear)\.")
_UNUSED = re.compile(r"pe_linear[01]\.")
_NECK = re.compile(rf"(up_block|lateral_block|{TWO_OUTPUTS}|out_reg_block)_\d\.")
_LOCALIZATION = "localization_conv"
_TR3D = {"conv_reg": "bbox_conv", "conv_cls": "cls_conv", "conv_localization": _LOCALIZATION}
_FCAF3D = {"conv_reg": "reg_conv", "conv_cls": "cls_conv", "conv_center": "center_conv"}


def own_tr3d_name(name: str) -> str | None:
    """Our name of a weight of TR3D + DLLA, None for a copy or a weight without use."""
    found = _own_name(name)
    if found is None or not found.startswith(_HEAD):
        return found
    rest = found.removeprefix(_HEAD)
    if _NECK.match(rest):
        return f"neck.{rest}"
    return found.replace(_LOCALIZATION, "conv_localization")


def own_fcaf3d_name(name: str) -> str | None:
    """Our name of a weight of FCAF3D + DLLA, None for a copy or a weight without use."""
    found = _own_name(name)
    return None if found is None or found.startswith(_HEAD + _LOCALIZATION) else found


def _own_name(name: str) -> str | None:
    found = own_name(name)
    rest = (found or "").removeprefix(_HEAD)
    if _UNUSED.match(rest):
        return None
    return f"matcher.{rest}" if _MATCHER.match(rest) else found


def tr3d_to_original(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights of TR3D + DLLA under the names of liuxinrun/dlla."""
    return _to_original(weights, _TR3D)


def fcaf3d_to_original(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights of FCAF3D + DLLA under the names of liuxinrun/dlla."""
    kernel = weights["bbox_head.conv_center.kernel"]
    unused = {"kernel": kernel.new_zeros(kernel.shape), "bias": kernel.new_zeros(1, 1)}
    named = {f"head.{_LOCALIZATION}.{name}": value for name, value in unused.items()}
    return _to_original(weights, _FCAF3D) | named


def _to_original(weights: Mapping[str, Tensor], convs: Mapping[str, str]) -> dict[str, Tensor]:
    theirs = {}
    for name, value in weights.items():
        part, _, rest = name.partition(".")
        merged = part in ("neck", "matcher")
        theirs[f"head.{rest}" if merged else samsung_name(name, "head", convs)] = value
    some = weights["matcher.q_linear.bias"]
    for i in range(2):
        theirs[f"head.pe_linear{i}.weight"] = some.new_zeros(HEADS, 3)
        theirs[f"head.pe_linear{i}.bias"] = some.new_zeros(HEADS)
    return theirs


def _infer(weights: Mapping[str, Tensor]) -> Inferred:
    found = infer(weights)
    width = weights["matcher.q_linear.bias"].shape[0]
    overrides = (*found.overrides, f"model.match_channels={width}")
    return Inferred(found.classes, found.rotated, overrides)


def _is_tr3d(names: Collection[str]) -> bool:
    return f"neck.{TWO_OUTPUTS}_0.0.kernel" in names and "bbox_head.conv_center.kernel" not in names


def _is_fcaf3d(names: Collection[str]) -> bool:
    return {f"bbox_head.{TWO_OUTPUTS}_0.0.kernel", "bbox_head.conv_center.kernel"} <= {*names}


def _written_by(names: Collection[str]) -> str:
    theirs = any(name.removeprefix("module.").startswith("head.") for name in names)
    return "liuxinrun/dlla" if theirs else "sr3d"


TR3D_CHECKPOINTS = CheckpointFormat(
    landmark=LANDMARK,
    own_name=own_tr3d_name,
    recognises=_is_tr3d,
    written_by=_written_by,
    infer=_infer,
    published={"original": Published(tr3d_to_original)},
)
FCAF3D_CHECKPOINTS = CheckpointFormat(
    landmark=LANDMARK,
    own_name=own_fcaf3d_name,
    recognises=_is_fcaf3d,
    written_by=_written_by,
    infer=_infer,
    published={"original": Published(fcaf3d_to_original)},
)
