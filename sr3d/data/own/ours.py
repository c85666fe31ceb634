"""Our own box files, as `sr3d detect` writes them. Detections corrected by hand are labels.

    {"frame": {…}, "detections": [{"class": "chair", "center": [x, y, z], "size": [dx, dy, dz],
                                   "yaw": 0.3}, …]}

`detections` may be called `boxes`. The reader takes class, centre, size and yaw, or the rotation if
there is no yaw. Scores and corners are ignored, so they need no correction. With a `frame`, the yaw
is about the frame's up-axis. Without, it is about the up-axis of the scan.

One file for all scans has `{"scans": {"kitchen.ply": […], …}}`: for each scan a list, or the whole
content of a file as above.
"""

from __future__ import annotations

from sr3d.checked import Checked
from sr3d.data.own.labels import (
    Array,
    Label,
    label_of,
    number,
    numbers,
    radians,
    rotation,
    yaw_axes,
)
from sr3d.data.scans.frame import UNITS
from sr3d.errors import InputError, Kind

_LISTS = ("detections", "boxes")


def is_ours(value: object) -> bool:
    """Whether it may be a file of one scan."""
    return isinstance(value, dict) and any(isinstance(value.get(name), list) for name in _LISTS)


def read_ours(value: Checked, unit: str | None = None) -> list[Label]:
    """The labels of one scan, from such a file or a bare list. unit: the unit of the scan.

    Raises:
        InputError: names the field; or the file's boxes were found in another unit.
    """
    if isinstance(value.value, list):
        return [_label(item, None) for item in value.items()]
    name = next((name for name in _LISTS if value.has(name)), _LISTS[0])
    upright = None
    if value.has("frame"):
        frame = value.get("frame")
        upright = rotation(frame.get("rotation"))
        found = frame.get("unit").name(list(UNITS))
        if unit not in (None, found):
            raise InputError(
                f"detect took the scan for one in {found}, and here it is one in {unit}",
                field=frame.get("unit").where,
                kind=Kind.VALUE,
                remedy="Tell both the same --unit.",
            )
    return [_label(item, upright) for item in value.get(name).items()]


def read_all_ours(value: Checked) -> dict[str, Checked]:
    """The value of each scan in one file for all scans."""
    return value.get("scans").entries()


def _label(value: Checked, upright: Array | None) -> Label:
    """upright: the rotation of the frame of the yaw, if the file has one."""
    turn: Array | float = 0.0
    if value.has("yaw"):
        turn = float(radians(value.get("yaw"), number(value.get("yaw"))))
        turn = turn if upright is None else upright.T @ yaw_axes(turn)
    elif value.has("rotation"):
        turn = rotation(value.get("rotation"))
    elif upright is not None:
        turn = upright.T
    center, size = numbers(value.get("center"), 3), numbers(value.get("size"), 3)
    return label_of(value.get("class"), center, size, turn, value)
