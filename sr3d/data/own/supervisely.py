"""Supervisely's JSON files of point clouds, one a scan: objects, and figures that are theirs.

    {"objects": [{"key": K, "classTitle": "chair"}, …], "figures": [{"objectKey": K,
      "geometryType": "cuboid_3d", "geometry": {"position": {"x", "y", "z"},
      "rotation": {"x", "y", "z"}, "dimensions": {"x", "y", "z"}}}, …]}

As its documentation and its SDK have it (docs.supervisely.com, "Pointclouds"; `geometry/cuboid_3d`,
`pointcloud_annotation`): the position is the centre, dimensions are full sizes along the box's own
axes, rotations are radians. In which order turns about several axes apply is not documented, so
only turns about z are read. Turns about x and y that are no more than rounding count as none.
Figures of other kinds are passed over.
"""

from __future__ import annotations

import numpy as np

from sr3d.checked import Checked
from sr3d.data.own.labels import Label, euler_axes, label_of, named_numbers, radians
from sr3d.errors import InputError

_ROUNDING = 1e-4  # radians; turns as small may be applied in any order


def is_supervisely(value: object) -> bool:
    """Whether it may be such a file."""
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
    return [_label(f, names) for f in figures if f.get("geometryType").value == "cuboid_3d"]


def _label(figure: Checked, names: dict[str, Checked]) -> Label:
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
