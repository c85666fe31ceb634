"""The label files of annotation tools, one a scan: Xtreme1, Supervisely, SUSTechPOINTS, OpenPCDet.

labelCloud has three formats, and a module of its own. Centres are geometric centres, sizes are full
sizes along the box's own axes, and rotations are radians.

Xtreme1 (xtreme1-io/xtreme1; docs.xtreme1.io, "Export data"). Rotations are in three.js' order XYZ.
Objects of other types lie in images and are skipped.

    [{"sourceName": "Ground Truth", "objects": [{"type": "3D_BOX", "className": "chair", "contour":
      {"center3D": {"x", "y", "z"}, "size3D": {"x", "y", "z"}, "rotation3D": {"x", "y", "z"}}}, …]}]

Supervisely (docs.supervisely.com, "Pointclouds"; in its SDK, `geometry/cuboid_3d` and
`pointcloud_annotation`). The order of rotations about several axes is not documented, so only
rotations about z are read. Rotations about x and y within rounding count as none. Figures of other
kinds are skipped.

    {"objects": [{"key": K, "classTitle": "chair"}, …], "figures": [{"objectKey": K,
      "geometryType": "cuboid_3d", "geometry": {"position": {"x", "y", "z"},
      "rotation": {"x", "y", "z"}, "dimensions": {"x", "y", "z"}}}, …]}

SUSTechPOINTS (naurril/SUSTechPOINTS, `public/js/annotation.js`, `doc/data-format.md`). Rotations
are Rx · Ry · Rz, which is three.js' order XYZ.

    [{"obj_type": "chair", "obj_id": "1", "psr": {"position": {"x", "y", "z"},
      "scale": {"x", "y", "z"}, "rotation": {"x", "y", "z"}}}, …]

OpenPCDet and mmdetection3d, custom data sets (open-mmlab/OpenPCDet,
docs/CUSTOM_DATASET_TUTORIAL.md; mmdetection3d, docs/en/advanced_guides/customize_dataset.md). A
text file has one box a line. The yaw is counter-clockwise about z. An empty file has no box.

    x y z dx dy dz yaw class
"""

from __future__ import annotations

import math

import numpy as np

from sr3d.checked import Checked
from sr3d.data.own.labels import Label, euler_axes, label_of, named_numbers, radians
from sr3d.errors import InputError

_TRUTH = "Ground Truth"

_ROUNDING = 1e-4  # radians; turns as small may be applied in any order
_KITTI = 15  # words of a line of KITTI's own labels, which begin with the class


def is_xtreme1(value: object) -> bool:
    """Whether it may be a file of this tool."""
    results = value if isinstance(value, list) else [value]
    return bool(results) and all(
        isinstance(result, dict)
        and isinstance(result.get("objects"), list)
        and ("dataId" in result or _has_contours(result["objects"]))
        for result in results
    )


def _has_contours(objects: list[object]) -> bool:
    return bool(objects) and all(isinstance(x, dict) and "contour" in x for x in objects)


def read_xtreme1(value: Checked) -> list[Label]:
    """The labels of one scan.

    Raises:
        InputError: names the field; or several sources, none of them the ground truth.
    """
    results = value.items() if isinstance(value.value, list) else (value,)
    full = [result for result in results if result.get("objects").items()]
    if len(full) > 1:
        truth = [r for r in full if r.has("sourceName") and r.get("sourceName").value == _TRUTH]
        if len(truth) != 1:
            raise InputError(
                f"{value.where} has {len(full)} results; export the one that is the ground truth"
            )
        full = truth
    return [
        _xtreme1_label(item)
        for result in full
        for item in result.get("objects").items()
        if not item.has("type") or item.get("type").value == "3D_BOX"
    ]


def _xtreme1_label(item: Checked) -> Label:
    contour = item.get("contour")
    center, size, angles = (
        named_numbers(contour.get(name), "x", "y", "z")
        for name in ("center3D", "size3D", "rotation3D")
    )
    radians(contour.get("rotation3D"), angles)
    return label_of(item.get("className"), center, size, euler_axes(angles, "xyz"), item)


def is_supervisely(value: object) -> bool:
    """Whether it may be a file of this tool."""
    return isinstance(value, dict) and {"objects", "figures"} <= value.keys()


def read_supervisely(value: Checked) -> list[Label]:
    """The labels of one scan.

    Raises:
        InputError: names the field.
    """
    names = {
        item.get("key").text(): item.get("classTitle") for item in value.get("objects").items()
    }
    figures = value.get("figures").items()
    return [
        _supervisely_label(f, names) for f in figures if f.get("geometryType").value == "cuboid_3d"
    ]


def _supervisely_label(figure: Checked, names: dict[str, Checked]) -> Label:
    key = figure.get("objectKey")
    if key.value not in names:
        raise InputError(f"{key.where}: no object has the key '{key.value}'; export it again")
    geometry = figure.get("geometry")
    center, size, angles = (
        named_numbers(geometry.get(name), "x", "y", "z")
        for name in ("position", "dimensions", "rotation")
    )
    radians(geometry.get("rotation"), angles)
    if (np.abs(angles[:2]) > _ROUNDING).any():
        raise geometry.get("rotation").wrong(
            "turns about z alone (the order of turns about several axes is undocumented)"
        )
    return label_of(names[key.text()], center, size, euler_axes(angles, "xyz"), figure)


def is_sustech(value: object) -> bool:
    """Whether it may be a file of this tool."""
    return isinstance(value, list) and all(isinstance(x, dict) and "psr" in x for x in value)


def read_sustech(value: Checked) -> list[Label]:
    """The labels of one scan.

    Raises:
        InputError: names the field.
    """
    return [_sustech_label(item) for item in value.items()]


def _sustech_label(item: Checked) -> Label:
    psr = item.get("psr")
    center, size, angles = (
        named_numbers(psr.get(name), "x", "y", "z") for name in ("position", "scale", "rotation")
    )
    radians(psr.get("rotation"), angles)
    return label_of(item.get("obj_type"), center, size, euler_axes(angles, "xyz"), item)


def read_openpcdet(text: str, where: str) -> list[Label]:
    """The labels of one scan. where: the file.

    Raises:
        InputError: names the line.
    """
    lines = [line.split() for line in text.splitlines()]
    return [
        _openpcdet_label(words, f"{where}: line {number}")
        for number, words in enumerate(lines, start=1)
        if words
    ]


def _openpcdet_label(words: list[str], where: str) -> Label:
    if len(words) >= _KITTI and not _is_number(words[0]):
        raise InputError(
            f"{where}: is a line of KITTI's labels, which are in a camera's coordinates; write "
            "`x y z dx dy dz yaw class` in the scan's coordinates"
        )
    if len(words) < 8 or not all(map(_is_number, words[:7])):
        raise InputError(
            f"{where}: expected `x y z dx dy dz yaw class`, got '{' '.join(words)[:80]}'; "
            "correct the line, docs/own_data.md shows every format"
        )
    values = np.array([float(word) for word in words[:7]])
    name, whole = Checked(" ".join(words[7:]), where), Checked(words, where)
    turn = float(radians(whole, values[6]))
    return label_of(name, values[:3], values[3:6], turn, whole)


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False
