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

from collections.abc import Iterable, Mapping

# The stem of the backbone, which detectors on voxels have, in all namings.
LANDMARK = r"backbone\.conv1\.(?:0\.)?kernel"

TWO_OUTPUTS = "out_cls_block"  # a block of extensions whose levels have two outputs

FIRST_HEAD = "neck_with_head."  # in SamsungLabs/fcaf3d
_HEADS = (FIRST_HEAD, "neck_with_bbox_head.", "bbox_bbox_head.", "bbox_head.", "head.")
_CONVS = {
    "bbox_conv": "conv_reg",
    "reg_conv": "conv_reg",
    "cls_conv": "conv_cls",
    "center_conv": "conv_center",
    "centerness_conv": "conv_center",
}
STEM = {"backbone.conv1.0.": "backbone.conv1.", "backbone.conv1.1.": "backbone.norm1."}
_EMA = "ema_"  # mmcv's EMAHook stores the weights that it replaced as buffers with this prefix


def own_name(name: str) -> str | None:
    """Our name of a weight, or None for a copy that is not part of the network.

    Removes the prefix `module.` of DistributedDataParallel.
    """
    name = name.removeprefix("module.")
    if name.startswith(_EMA):
        return None
    for theirs, ours in STEM.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    for head in _HEADS:
        if name.startswith(head):
            conv, *rest = name.removeprefix(head).split(".")
            return ".".join(["bbox_head", _CONVS.get(conv, conv), *rest])
    return name


def has_two_outputs(names: Iterable[str]) -> bool:
    """Whether weights are of an extension of TR3D or FCAF3D whose levels have two outputs."""
    return any(f".{TWO_OUTPUTS}_" in name for name in names)


def naming_of(names: Iterable[str]) -> str:
    """The repository whose names these are, in words."""
    parts = {part for name in names for part in name.removeprefix("module.").split(".")[:2]}
    if "neck_with_head" in parts:
        return "SamsungLabs/fcaf3d"
    if "head" in parts:
        return "SamsungLabs/tr3d" if parts & {*_CONVS} else "mmdetection3d before 1.1"
    return "mmdetection3d (and sr3d)"


def samsung_name(name: str, head: str, convs: Mapping[str, str]) -> str:
    """SamsungLabs' name of one of our weights. head: its name there. convs: theirs by our names."""
    rest = name.removeprefix("bbox_head.")
    if rest == name:
        return name
    conv, *more = rest.split(".")
    return ".".join([head, convs.get(conv, conv), *more])
