"""A depth image, with the camera's intrinsics, as points in front of that camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sr3d.data.scans.content import Array, Cloud, Content, Fact
from sr3d.data.scans.listing import is_depth_image
from sr3d.errors import InputError
from sr3d.files import read_json

_REMEDY = "give --intrinsics FX FY CX CY, or write them beside it as .json or .txt"
_COLOR_FOLDERS = ("image", "color", "colour", "rgb")
_COLOR_KINDS = (".jpg", ".jpeg", ".png")


def read_depth_image(
    path: Path, intrinsics: tuple[float, float, float, float] | None, depth_scale: float
) -> Content:
    """Camera coordinates in metres: x right, y down, z forward; so up is -y for a level camera.

    intrinsics: fx, fy, cx, cy in pixels; None to look beside the file. depth_scale: pixel values
    of one metre. A colour image of the same size is used where it has the same name, beside it or
    in a folder `image`, `color` or `rgb` beside its own, or is the only one in such a folder.

    Raises:
        InputError: not 16 bits a pixel, no intrinsics, or nothing measured.
    """
    if not is_depth_image(path):
        raise InputError(f"{path}: a depth image has 16 bits a pixel, this has not; pass another")
    if not depth_scale > 0:
        raise InputError(f"--depth-scale {depth_scale:g}: give the pixel values of a metre")
    with Image.open(path) as image:
        depth = np.asarray(image).astype(np.float64) / depth_scale
    source = "as told"
    if intrinsics is None:
        intrinsics, source = _beside(path)
    fx, fy, cx, cy = intrinsics
    if not (np.isfinite(intrinsics).all() and fx > 0 and fy > 0):
        raise InputError(f"{path}: intrinsics {intrinsics}: fx and fy must be above 0; {_REMEDY}")
    row, column = np.nonzero(depth > 0)
    if len(row) == 0:
        raise InputError(f"{path}: every pixel is 0, nothing was measured; pass another")
    z = depth[row, column]
    points = np.stack([(column - cx) * z / fx, (row - cy) * z / fy, z], axis=1)
    facts = [
        Fact("intrinsics", ", ".join(f"{value:g}" for value in intrinsics), source),
        Fact("depth", f"{depth_scale:g} a metre", "--depth-scale overrules"),
    ]
    colors = _colors(path, depth.shape)
    if colors is None:
        return Content([Cloud(points)], up="-y", sure=True, unit="m", facts=facts)
    painted = Cloud(points, colors[row, column])
    return Content([painted], up="-y", sure=True, unit="m", color_range="0-255", facts=facts)


def _beside(path: Path) -> tuple[tuple[float, float, float, float], str]:
    folders = (path.parent, path.parent.parent)
    places = [path.with_suffix(kind) for kind in (".json", ".txt")]
    places += [folder / f"intrinsics{kind}" for folder in folders for kind in (".json", ".txt")]
    for place in places:
        if place.is_file():
            return read_intrinsics(place), f"from {place.name}"
    raise InputError(f"{path}: a depth image needs the camera's intrinsics; {_REMEDY}")


def read_intrinsics(path: Path) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy from JSON with these names, or with a 3 × 3 matrix as `intrinsics`,
    `intrinsic_matrix`, `camera_matrix` or `K`; or from a text of 4 or 9 numbers.

    Raises:
        InputError: anything else.
    """
    try:
        if path.suffix == ".json":
            return _from_json(read_json(path))
        return _from_numbers([float(word) for word in path.read_text().replace(",", " ").split()])
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{path}: expected fx, fy, cx, cy or a 3 × 3 matrix of intrinsics; mend it or give "
            "--intrinsics FX FY CX CY"
        ) from None


def _from_json(value: Any) -> tuple[float, float, float, float]:
    if isinstance(value, dict):
        if {"fx", "fy", "cx", "cy"} <= value.keys():
            return _from_numbers([float(value[name]) for name in ("fx", "fy", "cx", "cy")])
        names = ("intrinsics", "intrinsic_matrix", "camera_matrix", "K")
        value = next((value[name] for name in names if name in value), [])
    matrix = np.asarray(value, dtype=np.float64)
    # Open3D writes the columns one after the other.
    by_columns = matrix.shape == (9,) and matrix[2] == 0 and matrix[6] != 0
    return _from_numbers((matrix.reshape(3, 3).T if by_columns else matrix).ravel().tolist())


def _from_numbers(numbers: list[float]) -> tuple[float, float, float, float]:
    if len(numbers) == 4:
        fx, fy, cx, cy = numbers
    elif len(numbers) == 9:
        fx, _, cx, _, fy, cy = numbers[:6]
    else:
        raise ValueError
    return fx, fy, cx, cy


def _colors(path: Path, shape: tuple[int, ...]) -> Array | None:
    folders = [path.parent, *(path.parent.parent / name for name in _COLOR_FOLDERS)]
    places = [folder / (path.stem + kind) for folder in folders for kind in _COLOR_KINDS]
    for folder in folders[1:]:  # one frame a folder, as SUN RGB-D has them
        inside = [place for place in folder.glob("*") if place.suffix.lower() in _COLOR_KINDS]
        places += inside if len(inside) == 1 else []
    for place in places:
        if place.is_file() and place.resolve() != path.resolve() and not is_depth_image(place):
            with Image.open(place) as image:
                pixels = np.asarray(image.convert("RGB"))
            if pixels.shape[:2] == shape:
                return pixels
    return None
