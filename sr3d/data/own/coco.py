"""COCO-like lists: one JSON file with `images`, `categories` and `annotations` with 3D boxes.

An annotation has `image_id`, `category_id` and a box of one of two forms.

`bbox_3d` (or `bbox3D`, `bbox3d`): centre and full size along the scan's axes, six numbers. A
seventh number is a yaw in radians, counter-clockwise about the up-axis. The last size is then the
height.

Omni3D's fields (facebookresearch/omni3d, DATA.md and `cubercnn/util/math_util.py`): `bbox3D_cam`,
the eight corners in camera coordinates. Without it, `center_cam`, `dimensions` (width, height,
length) and `R_cam`. Annotations with `valid3D: false` are skipped.

`images` may be called `scans`, and `file_name` may be called `file_path`, as in Omni3D.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np

from sr3d.data.own.labels import (
    Corners,
    FilePlace,
    FileValue,
    Label,
    Rotation,
    Triple,
    given,
    in_radians,
    label_of,
    label_of_corners,
)
from sr3d.errors import Kind
from sr3d.value_types import Foreign, LeftOut, Rule

T = TypeVar("T")

_BOXES = ("bbox_3d", "bbox3D", "bbox3d")
# Corners in Omni3D's drawing: v0, and its neighbours along length, height and depth.
_OMNI3D_CORNERS = (0, 1, 3, 4)


def _six_or_seven(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) not in (6, 7):
        raise ValueError(
            "expected centre, size and optionally a yaw, 6 or 7 numbers (the order of more angles "
            f"differs between tools), got '{list(values)}'"
        )
    for yaw in values[6:]:
        in_radians(yaw)
    return values


_Id = int | str
_Numbers = Annotated[tuple[float, ...], Rule(_six_or_seven)]


@dataclass(frozen=True)
class _Category(Foreign):
    id: _Id
    name: str


@dataclass(frozen=True)
class _Image(Foreign):
    id: _Id
    file_name: LeftOut[str] = None
    file_path: LeftOut[str] = None


@dataclass(frozen=True)
class _Annotation(Foreign):
    image_id: _Id
    category_id: _Id
    bbox_3d: LeftOut[_Numbers] = None
    bbox3D: LeftOut[_Numbers] = None
    bbox3d: LeftOut[_Numbers] = None
    bbox3D_cam: LeftOut[Corners] = None
    center_cam: LeftOut[Triple] = None
    dimensions: LeftOut[Triple] = None
    R_cam: LeftOut[Rotation] = None


@dataclass(frozen=True)
class _List(Foreign):
    """It has `images` or `scans`."""

    categories: tuple[_Category, ...]
    annotations: tuple[_Annotation, ...]
    images: LeftOut[tuple[_Image, ...]] = None
    scans: LeftOut[tuple[_Image, ...]] = None


def is_coco(value: object) -> bool:
    """Whether it may be such a file."""
    return isinstance(value, dict) and {"annotations", "categories"} <= value.keys()


def read_coco(value: FileValue) -> dict[str, list[Label]]:
    """The labels of each named file. A file without annotations has an empty list.

    Raises:
        InputError: names the field.
    """
    whole = value.value
    field = "images"
    if isinstance(whole, dict):
        field = "images" if "images" in whole else "scans"
        whole = {key: whole[key] for key in ("categories", field, "annotations") if key in whole}
        if isinstance(items := whole.get("annotations"), list):
            whole["annotations"] = [_needed(item) for item in items]
    read = value.read(_List, whole)
    names = {one.id: (one.name, f"categories[{i}].name") for i, one in enumerate(read.categories)}
    files = {
        one.id: _file_name(one, value.place.at(f"{field}[{i}]"))
        for i, one in enumerate(given(read.scans if read.images is None else read.images,
                                      value.place.at(field)))
    }  # fmt: skip
    found: dict[str, list[Label]] = {file: [] for file in files.values()}
    for i, item in enumerate(read.annotations):
        place = value.place.at(f"annotations[{i}]")
        file = _known(files, item.image_id, place.at("image_id"))
        name, named = _known(names, item.category_id, place.at("category_id"))
        if value.value["annotations"][i].get("valid3D") is not False:
            found[file].append(_label(item, name, place, value.place.at(named)))
    return found


def _needed(item: Any) -> Any:
    """An annotation with only the fields that are read. Other fields may be invalid, as they are in
    Omni3D's invalid boxes.
    """
    if not isinstance(item, dict):
        return item
    fields: tuple[str, ...] = ()
    if item.get("valid3D") is False:
        pass
    elif boxes := [field for field in _BOXES if field in item]:
        fields = (boxes[0],)
    elif isinstance(item.get("bbox3D_cam"), list):
        fields = ("bbox3D_cam",)
    elif "center_cam" in item:
        fields = ("center_cam", "dimensions", "R_cam")
    return {key: item[key] for key in ("image_id", "category_id", *fields) if key in item}


def _file_name(image: _Image, place: FilePlace) -> str:
    name = image.file_path if image.file_name is None else image.file_name
    return " ".join(given(name, place.at("file_name")).split())


def _known(items: Mapping[_Id, T], key: _Id, place: FilePlace) -> T:
    if key not in items:
        problem = f"no entry has the id '{key}'"
        raise place.error(problem, Kind.VALUE, "Add the entry, or correct this id.")
    return items[key]


def _label(item: _Annotation, name: str, place: FilePlace, named: FilePlace) -> Label:
    for field in _BOXES:
        if (box := getattr(item, field)) is not None:
            values = np.array(box)
            turn = box[6] if len(box) == 7 else np.eye(3)
            return label_of(name, values[:3], values[3:6], turn, place.at(field), named)
    if item.bbox3D_cam is not None:
        corners = np.array(item.bbox3D_cam)
        return label_of_corners(name, corners, _OMNI3D_CORNERS, place.at("bbox3D_cam"), named)
    if item.center_cam is not None:
        # Omni3D's own axes are length, height, width. Its `dimensions` begin with the width.
        width, height, length = given(item.dimensions, place.at("dimensions"))
        axes = np.array(given(item.R_cam, place.at("R_cam")))
        size = np.array([length, height, width])
        return label_of(name, np.array(item.center_cam), size, axes, place, named)
    raise place.error("'bbox_3d' is missing", Kind.MISSING, "Give centre, size and yaw.")
