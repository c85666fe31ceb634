"""The names of weights in checkpoints of TR3D and FCAF3D: other repositories' and ours.

Our names are the names of open-mmlab/mmdetection3d from version 1.1 on. Sources of the other names,
with the commit that we read:
| wrote it | backbone's stem | head | its convolutions |
| --- | --- | --- | --- |
| SamsungLabs/fcaf3d bcc7ddc | `conv1.0`, `conv1.1` | `neck_with_head.` | `centerness_conv`, … |
| SamsungLabs/tr3d fa82f45, TR3D | `conv1`, `norm1` | `head.` | `bbox_conv`, `cls_conv` |
| SamsungLabs/tr3d fa82f45, FCAF3D | `conv1`, `norm1` | `head.` | `center_conv`, `reg_conv`, … |
| mmdetection3d fe8f9d4 (1.0.0rc4) | `conv1`, `norm1` | `head.` | `conv_center`, `conv_reg`, … |
| mmdetection3d fe25f7a (1.4.0) | `conv1`, `norm1` | `bbox_head.` | `conv_center`, `conv_reg`, … |

If a file has no version metadata, mmdetection3d's detector replaces every `head.` by `bbox_head.`
when it loads the file, also within `bbox_head.`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Naming = Literal["mmdet3d", "samsung"]

# The stem of the backbone, which TR3D and FCAF3D have, in all namings.
LANDMARK = r"backbone\.conv1\.(?:0\.)?kernel"

_FIRST_FCAF3D = "neck_with_head."
_HEADS = (_FIRST_FCAF3D, "neck_with_bbox_head.", "bbox_bbox_head.", "bbox_head.", "head.")
_CONVS = {
    "bbox_conv": "conv_reg",
    "reg_conv": "conv_reg",
    "cls_conv": "conv_cls",
    "center_conv": "conv_center",
    "centerness_conv": "conv_center",
}
_STEM = {"backbone.conv1.0.": "backbone.conv1.", "backbone.conv1.1.": "backbone.norm1."}
_EMA = "ema_"  # mmcv's EMAHook stores the weights that it replaced as buffers with this prefix


def own_name(name: str) -> str | None:
    """Our name of a weight, or None for a copy that is not part of the network.

    Removes the prefix `module.` of DistributedDataParallel.
    """
    name = name.removeprefix("module.")
    if name.startswith(_EMA):
        return None
    for theirs, ours in _STEM.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    for head in _HEADS:
        if name.startswith(head):
            conv, *rest = name.removeprefix(head).split(".")
            return ".".join(["bbox_head", _CONVS.get(conv, conv), *rest])
    return name


def naming_of(names: Iterable[str]) -> str:
    """The repository whose names these are, in words."""
    parts = {part for name in names for part in name.removeprefix("module.").split(".")[:2]}
    if "neck_with_head" in parts:
        return "SamsungLabs/fcaf3d"
    if "head" in parts:
        return "SamsungLabs/tr3d" if parts & {*_CONVS} else "mmdetection3d before 1.1"
    return "mmdetection3d (and sr3d)"


def is_samsung_fcaf3d(names: Iterable[str]) -> bool:
    """Whether SamsungLabs/fcaf3d wrote the file. Its values follow other conventions."""
    return any(_FIRST_FCAF3D in name for name in names)


def foreign_name(name: str, naming: Naming, fcaf3d: bool) -> str:
    """The name of a weight for mmdetection3d, or for SamsungLabs/fcaf3d or /tr3d, by network."""
    if naming == "mmdet3d":
        return name
    if fcaf3d:
        for theirs, ours in _STEM.items():
            if name.startswith(ours):
                return theirs + name.removeprefix(ours)
    head = name.removeprefix("bbox_head.")
    if head == name:
        return name
    conv, *rest = head.split(".")
    wanted = ("reg_conv", "cls_conv", "centerness_conv") if fcaf3d else ("bbox_conv", "cls_conv")
    convs = {_CONVS[name]: name for name in wanted}
    return ".".join([_FIRST_FCAF3D[:-1] if fcaf3d else "head", convs.get(conv, conv), *rest])
