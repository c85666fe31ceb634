"""Our own box files, as `sr3d detect` writes them. Corrected detections can serve as labels.

    {"frame": {…}, "detections": [{"class": "chair", "center": [x, y, z], "size": [dx, dy, dz],
                                   "yaw": 0.3}, …]}

`detections` may be called `boxes`. The reader uses class, centre, size and yaw, or the rotation if
there is no yaw. Scores and corners are ignored, so they need no correction. With a `frame`, the yaw
is about the frame's up axis. Without a `frame`, it is about the up axis of the scan.

One file for all scans has `{"scans": {"kitchen.ply": […], …}}`: for each scan a list, or the
content of a file as above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sr3d.data.own.labels import (
    Array,
    FilePlace,
    FileValue,
    Label,
    Radians,
    Rotation,
    Triple,
    Unit,
    label_of,
    yaw_axes,
)
from sr3d.errors import Kind
from sr3d.value_types import Foreign, LeftOut

_LISTS = ("detections", "boxes")


@dataclass(frozen=True)
class _Box(Foreign):
    class_: str
    center: Triple
    size: Triple
    yaw: LeftOut[Radians] = None
    rotation: LeftOut[Rotation] = None


@dataclass(frozen=True)
class _Frame(Foreign):
    rotation: Rotation
    unit: Unit


@dataclass(frozen=True)
class _File(Foreign):
    """frame: of the yaw, if the file has one. The file has one of the two lists."""

    frame: LeftOut[_Frame] = None
    detections: LeftOut[tuple[_Box, ...]] = None
    boxes: LeftOut[tuple[_Box, ...]] = None


@dataclass(frozen=True)
class _AllScans(Foreign):
    scans: dict[str, Any]


def is_ours(value: object) -> bool:
    """Whether it may be a file for one scan."""
    return isinstance(value, dict) and any(isinstance(value.get(name), list) for name in _LISTS)


def read_ours(value: FileValue, unit: str | None = None) -> list[Label]:
    """The labels of one scan, from such a file or a bare list. unit: the unit of the scan.

    Raises:
        InputError: names the field. Or the boxes were detected in another unit.
    """
    whole = value.value
    if isinstance(whole, list):
        boxes = value.read(tuple[_Box, ...], _without_idle_rotations(whole))
        return [_label(box, None, value.place.at(f"[{i}]")) for i, box in enumerate(boxes)]
    name = "detections"
    if isinstance(whole, dict):
        name = next((name for name in _LISTS if name in whole), name)
        whole = {key: whole[key] for key in ("frame", name) if key in whole}
        whole[name] = _without_idle_rotations(whole.get(name))
    file = value.read(_File, whole)
    if file.frame is not None and unit not in (None, file.frame.unit):
        raise value.place.at("frame.unit").error(
            f"detect read the scan in {file.frame.unit}, but here its unit is {unit}",
            Kind.VALUE,
            "Give both the same --unit.",
        )
    upright = None if file.frame is None else np.array(file.frame.rotation)
    boxes = file.boxes or () if file.detections is None else file.detections
    return [_label(box, upright, value.place.at(f"{name}[{i}]")) for i, box in enumerate(boxes)]


def read_all_ours(value: FileValue) -> dict[str, FileValue]:
    """The value of each scan in one file for all scans."""
    scans = value.read(_AllScans, value.value).scans
    return {name: FileValue(scan, value.place.at(f"scans.{name}")) for name, scan in scans.items()}


def _without_idle_rotations(boxes: Any) -> Any:
    """The boxes without rotations beside a yaw, which are not read and may be invalid."""
    if not isinstance(boxes, list):
        return boxes
    return [
        {key: box[key] for key in box if key != "rotation"}
        if isinstance(box, dict) and "yaw" in box
        else box
        for box in boxes
    ]


def _label(box: _Box, upright: Array | None, place: FilePlace) -> Label:
    """upright: the rotation of the frame of the yaw, if the file has one."""
    turn: Array | float = 0.0
    if box.yaw is not None:
        turn = box.yaw if upright is None else upright.T @ yaw_axes(box.yaw)
    elif box.rotation is not None:
        turn = np.array(box.rotation)
    elif upright is not None:
        turn = upright.T
    center, size = np.array(box.center), np.array(box.size)
    return label_of(box.class_, center, size, turn, place, place.at("class"))
