"""labelCloud's JSON files, one a scan, in each of its three formats.

    {"folder": …, "filename": "kitchen.ply", "path": …, "objects": [
        {"name": "chair", "centroid": {"x", "y", "z"}, "dimensions": {"length", "width", "height"},
         "rotations": {"x", "y", "z"}}, …]}
    … {"name": "chair", "vertices": [[x, y, z], …]}

As its code has it (ch-sa/labelCloud, `io/labels/centroid.py`, `io/labels/vertices.py`,
`model/bbox.py`, `utils/math3d.py`): length, width and height are along x, y and z of the box; the
rotation is Rz · Ry · Rx; vertex 0 is the lower corner, 3, 1 and 4 are its neighbours along x, y and
z. Rotations are degrees from 0 to 360 in `centroid_abs` and radians from −π to π in `centroid_rel`.
No label file says which it is; `_classes.json`, which newer versions write beside them, does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from sr3d.checked import Checked
from sr3d.data.own.labels import (
    Array,
    Label,
    euler_axes,
    label_of,
    label_of_corners,
    named_numbers,
    numbers,
)
from sr3d.errors import InputError, Kind
from sr3d.runs.files import read_json

_CORNERS = (0, 3, 1, 4)
_CLASSES = "_classes.json"
_FORMATS = {"centroid_abs": True, "centroid_rel": False}


def is_labelcloud(value: object) -> bool:
    """Whether it may be such a file."""
    return isinstance(value, dict) and isinstance(value.get("objects"), list)


def read_labelcloud(value: Checked, degrees: bool) -> list[Label]:
    """The labels of one scan. degrees: whether rotations are, see `in_degrees`.

    Raises:
        InputError: names the field.
    """
    return [_label(item, degrees) for item in value.get("objects").items()]


def said_degrees(folders: Iterable[Path]) -> bool | None:
    """Whether rotations are degrees, as `_classes.json` in a folder of labels says; else None.

    Raises:
        InputError: the folders contradict one another.
    """
    found = {}
    for path in sorted(folder / _CLASSES for folder in folders):
        if path.is_file():
            value = read_json(path)
            name = value.get("format") if isinstance(value, dict) else None
            if name in _FORMATS:
                found[_FORMATS[name]] = path
    if len(found) > 1:
        raise InputError(
            f"{found[True]} says degrees and {found[False]} radians",
            kind=Kind.VALUE,
            remedy="Prepare the folders one by one.",
        )
    return next(iter(found), None)


def in_degrees(files: Sequence[Checked]) -> bool:
    """Whether the rotations of all files, which one person made with one setting, are degrees.

    Raises:
        InputError: nothing decides.
    """
    angles = np.concatenate([_angles(file) for file in files])
    if (angles > math.pi + 1e-6).any():
        return True
    if (angles < 0).any() or not angles.any():
        return False
    first = next(file for file in files if _angles(file).any())
    raise InputError(
        f"{first.where} objects: all rotations lie between 0 and π, so they "
        "may be degrees or radians",
        kind=Kind.VALUE,
        remedy="Say --boxes labelcloud-degrees or --boxes labelcloud-radians.",
    )


def _angles(file: Checked) -> Array:
    """All rotations in a file. A faulty file has none here, and is refused when it is read."""
    try:
        items = [item.get("rotations") for item in file.get("objects").items()
                 if item.has("rotations")]  # fmt: skip
        return np.array([named_numbers(item, "x", "y", "z") for item in items]).ravel()
    except InputError:
        return np.zeros(0)


def _label(item: Checked, degrees: bool) -> Label:
    if item.has("vertices"):
        rows = item.get("vertices")
        if len(rows.items()) != 8:
            raise rows.wrong("8 corners")
        corners = np.stack([numbers(row, 3) for row in rows.items()])
        return label_of_corners(item.get("name"), corners, _CORNERS, item)
    center = named_numbers(item.get("centroid"), "x", "y", "z")
    size = named_numbers(item.get("dimensions"), "length", "width", "height")
    angles = named_numbers(item.get("rotations"), "x", "y", "z")
    axes = euler_axes(np.radians(angles) if degrees else angles, "zyx")
    return label_of(item.get("name"), center, size, axes, item)
