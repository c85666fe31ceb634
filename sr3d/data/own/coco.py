"""COCO-like lists: one JSON file with `images`, `categories` and `annotations` with 3D boxes.

An annotation has `image_id`, `category_id` and a box of one of two forms.

`bbox_3d` (or `bbox3D`, `bbox3d`): centre and full size along the scan's axes, six numbers. A
seventh number is a yaw in radians, counter-clockwise about the up-axis. The last size is then the
height.

Omni3D's fields (facebookresearch/omni3d, DATA.md and `cubercnn/util/math_util.py`): `bbox3D_cam`,
the eight corners in camera coordinates; else `center_cam`, `dimensions` (width, height, length) and
`R_cam`. Annotations with `valid3D: false` are skipped.

`images` may be called `scans`, and `file_name` may be called `file_path`, as in Omni3D.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sr3d.checked import Checked
from sr3d.data.own.labels import Label, label_of, label_of_corners, numbers, radians, rotation
from sr3d.errors import InputError, Kind

_BOXES = ("bbox_3d", "bbox3D", "bbox3d")
# Of the corners in Omni3D's drawing: v0, and its neighbours along length, height and depth.
_OMNI3D_CORNERS = (0, 1, 3, 4)


def is_coco(value: object) -> bool:
    """Whether it may be such a list."""
    return isinstance(value, dict) and {"annotations", "categories"} <= value.keys()


def read_coco(value: Checked) -> dict[str, list[Label]]:
    """The labels of each named file. A file without annotations has an empty list.

    Raises:
        InputError: names the field.
    """
    names = _by_id(value.get("categories"), "name")
    files = _by_id(
        value.get("images" if value.has("images") else "scans"), "file_name", "file_path"
    )
    found: dict[str, list[Label]] = {file.text(): [] for file in files.values()}
    for item in value.get("annotations").items():
        file = _known(files, item.get("image_id"))
        name = _known(names, item.get("category_id"))
        if item.has("valid3D") and item.get("valid3D").value is False:
            continue
        found[file.text()].append(_label(item, name))
    return found


def _by_id(items: Checked, *fields: str) -> dict[Any, Checked]:
    """Items by `id`: the first of the fields that an item has."""
    found = {}
    for item in items.items():
        field = next((field for field in fields if item.has(field)), fields[0])
        key = item.get("id").value
        if not isinstance(key, int | str):
            raise item.get("id").wrong("a number or text")
        found[key] = item.get(field)
    return found


def _known(items: dict[Any, Checked], key: Checked) -> Checked:
    if not isinstance(key.value, int | str) or key.value not in items:
        raise InputError(
            f"no entry has the id '{key.value}'",
            field=key.where,
            kind=Kind.VALUE,
            remedy="Add it, or mend this one.",
        )
    return items[key.value]


def _label(item: Checked, name: Checked) -> Label:
    field = next((field for field in _BOXES if item.has(field)), None)
    if field is not None:
        box = item.get(field)
        if len(box.items()) not in (6, 7):
            raise box.wrong("centre, size and perhaps a yaw, 6 or 7 numbers (the order of more "
                            "angles differs between tools)")  # fmt: skip
        values = numbers(box, len(box.items()))
        turn = float(radians(box, values[6])) if len(values) == 7 else np.eye(3)
        return label_of(name, values[:3], values[3:6], turn, box)
    if item.has("bbox3D_cam") and isinstance(item.get("bbox3D_cam").value, list):
        rows = item.get("bbox3D_cam")
        if len(rows.items()) != 8:
            raise rows.wrong("8 corners")
        corners = np.stack([numbers(row, 3) for row in rows.items()])
        return label_of_corners(name, corners, _OMNI3D_CORNERS, rows)
    if item.has("center_cam"):
        # Omni3D's own axes are length, height, width; its `dimensions` begin with the width.
        width, height, length = numbers(item.get("dimensions"), 3)
        axes = rotation(item.get("R_cam"))
        size = np.array([length, height, width])
        return label_of(name, numbers(item.get("center_cam"), 3), size, axes, item)
    raise InputError(
        "'bbox_3d' is missing",
        field=item.where,
        kind=Kind.MISSING,
        remedy="Give centre, size and yaw.",
    )
