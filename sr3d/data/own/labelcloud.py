"""labelCloud's JSON files, one per scan, in its three formats.

    {"folder": …, "filename": "kitchen.ply", "path": …, "objects": [
        {"name": "chair", "centroid": {"x", "y", "z"}, "dimensions": {"length", "width", "height"},
         "rotations": {"x", "y", "z"}}, …]}
    … {"name": "chair", "vertices": [[x, y, z], …]}

Source: ch-sa/labelCloud (`io/labels/centroid.py`, `io/labels/vertices.py`, `model/bbox.py`,
`utils/math3d.py`). Length, width and height are along x, y and z of the box. The rotation is
Rz · Ry · Rx. Vertex 0 is the lower corner. Vertices 3, 1 and 4 are its neighbours along x, y and z.
Rotations are degrees from 0 to 360 in `centroid_abs` and radians from −π to π in `centroid_rel`.
Label files do not name their format. Newer versions write it to `_classes.json` beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sr3d.data.own.labels import (
    Array,
    Corners,
    FilePlace,
    FileValue,
    Label,
    Vector,
    euler_axes,
    given,
    label_of,
    label_of_corners,
)
from sr3d.errors import InputError, Kind
from sr3d.runs.files import read_json
from sr3d.value_types import Foreign, LeftOut

_CORNERS = (0, 3, 1, 4)
_CLASSES = "_classes.json"
_FORMATS = {"centroid_abs": True, "centroid_rel": False}


@dataclass(frozen=True)
class _Dimensions(Foreign):
    length: float
    width: float
    height: float


@dataclass(frozen=True)
class _Object(Foreign):
    """It has vertices, or else the other three."""

    name: str
    vertices: LeftOut[Corners] = None
    centroid: LeftOut[Vector] = None
    dimensions: LeftOut[_Dimensions] = None
    rotations: LeftOut[Vector] = None


@dataclass(frozen=True)
class _LabelCloudFile(Foreign):
    objects: tuple[_Object, ...]


@dataclass(frozen=True)
class _Rotated(Foreign):
    rotations: LeftOut[Vector] = None


@dataclass(frozen=True)
class _Rotations(Foreign):
    objects: tuple[_Rotated, ...]


def is_labelcloud(value: object) -> bool:
    """Whether it may be such a file."""
    return isinstance(value, dict) and isinstance(value.get("objects"), list)


def read_labelcloud(value: FileValue, degrees: bool) -> list[Label]:
    """The labels of one scan. degrees: whether rotations are in degrees.

    Raises:
        InputError: names the field.
    """
    objects = value.read(_LabelCloudFile, value.value).objects
    return [_label(x, degrees, value.place.at(f"objects[{i}]")) for i, x in enumerate(objects)]


def declared_degrees(folders: Iterable[Path]) -> bool | None:
    """Whether rotations are in degrees, by `_classes.json` in a folder of labels. None if unknown.

    Raises:
        InputError: the folders contradict each other.
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
            f"{found[True]} declares degrees, but {found[False]} declares radians",
            kind=Kind.VALUE,
            remedy="Prepare the folders one by one.",
        )
    return next(iter(found), None)


def in_degrees(files: Sequence[FileValue]) -> bool:
    """Whether the rotations of all files are in degrees. All files must have the same setting.

    Raises:
        InputError: the values do not show it.
    """
    angles = np.concatenate([_angles(file) for file in files])
    if (angles > math.pi + 1e-6).any():
        return True
    if (angles < 0).any() or not angles.any():
        return False
    first = next(file for file in files if _angles(file).any())
    raise first.place.at("objects").error(
        "all rotations are between 0 and π, so they may be in degrees or radians",
        Kind.VALUE,
        "Give --boxes labelcloud-degrees or --boxes labelcloud-radians.",
    )


def _angles(file: FileValue) -> Array:
    """All rotations in a file. Empty for an invalid file, which the reader refuses later."""
    try:
        objects = file.read(_Rotations, file.value).objects
    except InputError:
        return np.zeros(0)
    return np.array([x.rotations.array() for x in objects if x.rotations is not None]).ravel()


def _label(item: _Object, degrees: bool, place: FilePlace) -> Label:
    named = place.at("name")
    if item.vertices is not None:
        return label_of_corners(item.name, np.array(item.vertices), _CORNERS, place, named)
    center = given(item.centroid, place.at("centroid")).array()
    edges = given(item.dimensions, place.at("dimensions"))
    angles = given(item.rotations, place.at("rotations")).array()
    size = np.array([edges.length, edges.width, edges.height])
    axes = euler_axes(np.radians(angles) if degrees else angles, "zyx")
    return label_of(item.name, center, size, axes, place, named)
