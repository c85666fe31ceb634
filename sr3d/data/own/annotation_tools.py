"""Label files of annotation tools, one per scan: Xtreme1, Supervisely, SUSTechPOINTS, OpenPCDet.

labelCloud has three formats and its own module. Centres are geometric centres, sizes are full sizes
along the box's own axes, and rotations are radians.

Xtreme1 (xtreme1-io/xtreme1, docs.xtreme1.io, "Export data"). Rotations are in three.js' order XYZ.
Objects of other types are in images and are skipped.

    [{"sourceName": "Ground Truth", "objects": [{"type": "3D_BOX", "className": "chair", "contour":
      {"center3D": {"x", "y", "z"}, "size3D": {"x", "y", "z"}, "rotation3D": {"x", "y", "z"}}}, …]}]

Supervisely (docs.supervisely.com, "Pointclouds", and in its SDK, `geometry/cuboid_3d` and
`pointcloud_annotation`). The order of rotations about several axes is undocumented, so only
rotations about z are read. Rotations about x and y up to rounding count as none. Figures of other
types are skipped.

    {"objects": [{"key": K, "classTitle": "chair"}, …], "figures": [{"objectKey": K,
      "geometryType": "cuboid_3d", "geometry": {"position": {"x", "y", "z"},
      "rotation": {"x", "y", "z"}, "dimensions": {"x", "y", "z"}}}, …]}

SUSTechPOINTS (naurril/SUSTechPOINTS, `public/js/annotation.js`, `doc/data-format.md`). Rotations
are Rx · Ry · Rz, which is three.js' order XYZ.

    [{"obj_type": "chair", "obj_id": "1", "psr": {"position": {"x", "y", "z"},
      "scale": {"x", "y", "z"}, "rotation": {"x", "y", "z"}}}, …]

OpenPCDet and mmdetection3d, custom data sets (open-mmlab/OpenPCDet,
docs/CUSTOM_DATASET_TUTORIAL.md, and mmdetection3d, docs/en/advanced_guides/customize_dataset.md). A
text file has one box per line. The yaw is counter-clockwise about z. An empty file has no box.

    x y z dx dy dz yaw class
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from sr3d.data.own.labels import (
    FilePlace,
    FileValue,
    Label,
    Skipped,
    Vector,
    VectorOfRadians,
    euler_axes,
    in_radians,
    label_of,
    skip_unless,
)
from sr3d.errors import InputError, Kind
from sr3d.value_types import Foreign, Rule

_TRUTH = "Ground Truth"
_CUBOID = "cuboid_3d"

_ROUNDING = 1e-4  # radians. The order of smaller rotations does not matter
_KITTI = 15  # number of words in a line of KITTI's own labels, which begin with the class


@dataclass(frozen=True)
class _Contour(Foreign):
    center3D: Vector
    size3D: Vector
    rotation3D: VectorOfRadians


@dataclass(frozen=True)
class _XtremeObject(Foreign):
    className: str
    contour: _Contour


@dataclass(frozen=True)
class _XtremeObjects(Foreign):
    objects: tuple[_XtremeObject | Skipped, ...]


@dataclass(frozen=True)
class _XtremeResult(Foreign):
    """The objects are read when the result is chosen, because other results may be invalid."""

    objects: list[Any]
    sourceName: Any = None


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


def read_xtreme1(value: FileValue) -> list[Label]:
    """The labels of one scan.

    Raises:
        InputError: names the field. Or there are several results, none of them the ground truth.
    """
    parts = [value]
    if isinstance(value.value, list):
        parts = [FileValue(x, value.place.at(f"[{i}]")) for i, x in enumerate(value.value)]
    full = []
    for part in parts:
        head = part.read(_XtremeResult, part.value)
        if head.objects:
            full.append((part, head.sourceName))
    if len(full) > 1:
        truth = [(part, source) for part, source in full if source == _TRUTH]
        if len(truth) != 1:
            problem, remedy = f"has {len(full)} results", "Export the one that is the ground truth."
            raise value.place.error(problem, Kind.CONFLICT, remedy)
        full = truth
    return [label for part, _ in full for label in _xtreme1_labels(part)]


def _xtreme1_labels(result: FileValue) -> list[Label]:
    items = skip_unless(lambda x: x.get("type", "3D_BOX") == "3D_BOX", result.value["objects"])
    labels = []
    for i, item in enumerate(result.read(_XtremeObjects, {"objects": items}).objects):
        if not isinstance(item, str):
            place, contour = result.place.at(f"objects[{i}]"), item.contour
            axes = euler_axes(contour.rotation3D.array(), "xyz")
            center, size = contour.center3D.array(), contour.size3D.array()
            named = place.at("className")
            labels.append(label_of(item.className, center, size, axes, place, named))
    return labels


def _about_z(angles: Vector) -> Vector:
    if max(abs(angles.x), abs(angles.y)) > _ROUNDING:
        raise ValueError(
            "expected rotations about z only (the order of rotations about several axes is "
            f"undocumented), got '{angles.x:g}, {angles.y:g}, {angles.z:g}'"
        )
    return angles


@dataclass(frozen=True)
class _Geometry(Foreign):
    position: Vector
    dimensions: Vector
    rotation: Annotated[VectorOfRadians, Rule(_about_z)]


@dataclass(frozen=True)
class _Figure(Foreign):
    objectKey: str
    geometryType: str
    geometry: _Geometry


@dataclass(frozen=True)
class _SuperviselyObject(Foreign):
    key: str
    classTitle: str


@dataclass(frozen=True)
class _SuperviselyFile(Foreign):
    objects: tuple[_SuperviselyObject, ...]
    figures: tuple[_Figure | Skipped, ...]


def is_supervisely(value: object) -> bool:
    """Whether it may be a file of this tool."""
    return isinstance(value, dict) and {"objects", "figures"} <= value.keys()


def read_supervisely(value: FileValue) -> list[Label]:
    """The labels of one scan.

    Raises:
        InputError: names the field.
    """
    whole = value.value
    if isinstance(whole, dict):
        figures = skip_unless(
            lambda x: x.get("geometryType", _CUBOID) == _CUBOID, whole.get("figures")
        )
        whole = {**whole, "figures": figures}
    file = value.read(_SuperviselyFile, whole)
    names = {
        one.key: (one.classTitle, value.place.at(f"objects[{i}].classTitle"))
        for i, one in enumerate(file.objects)
    }
    labels = []
    for i, figure in enumerate(file.figures):
        if isinstance(figure, str):
            continue
        place, geometry = value.place.at(f"figures[{i}]"), figure.geometry
        if figure.objectKey not in names:
            problem = f"no object has the key '{figure.objectKey}'"
            raise place.at("objectKey").error(problem, Kind.VALUE, "Export it again.")
        name, named = names[figure.objectKey]
        axes = euler_axes(geometry.rotation.array(), "xyz")
        center, size = geometry.position.array(), geometry.dimensions.array()
        labels.append(label_of(name, center, size, axes, place, named))
    return labels


@dataclass(frozen=True)
class _Psr(Foreign):
    position: Vector
    scale: Vector
    rotation: VectorOfRadians


@dataclass(frozen=True)
class _SustechObject(Foreign):
    obj_type: str
    psr: _Psr


def is_sustech(value: object) -> bool:
    """Whether it may be a file of this tool."""
    return isinstance(value, list) and all(isinstance(x, dict) and "psr" in x for x in value)


def read_sustech(value: FileValue) -> list[Label]:
    """The labels of one scan.

    Raises:
        InputError: names the field.
    """
    labels = []
    for i, item in enumerate(value.read(tuple[_SustechObject, ...], value.value)):
        place, psr = value.place.at(f"[{i}]"), item.psr
        axes = euler_axes(psr.rotation.array(), "xyz")
        center, size = psr.position.array(), psr.scale.array()
        labels.append(label_of(item.obj_type, center, size, axes, place, place.at("obj_type")))
    return labels


def read_openpcdet(value: FileValue) -> list[Label]:
    """The labels of one scan, from the text of the file.

    Raises:
        InputError: names the line.
    """
    lines = [line.split() for line in value.value.splitlines()]
    return [
        _openpcdet_label(words, value.place.at(f"line {number}"))
        for number, words in enumerate(lines, start=1)
        if words
    ]


def _openpcdet_label(words: list[str], place: FilePlace) -> Label:
    if len(words) >= _KITTI and not _is_number(words[0]):
        raise place.error(
            "is a line of KITTI's labels, which are in camera coordinates",
            Kind.VALUE,
            "Write `x y z dx dy dz yaw class` in the scan's coordinates.",
        )
    if len(words) < 8 or not all(map(_is_number, words[:7])):
        raise place.error(
            f"expected `x y z dx dy dz yaw class`, got '{' '.join(words)[:80]}'",
            Kind.VALUE,
            "Correct the line. docs/own_data.md shows every format.",
        )
    values = np.array([float(word) for word in words[:7]])
    try:
        turn = in_radians(float(values[6]))
    except InputError as error:
        raise place.error(error.problem, Kind.VALUE, error.remedy) from None
    return label_of(" ".join(words[7:]), values[:3], values[3:6], turn, place, place)


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False
