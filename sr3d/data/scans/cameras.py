"""The intrinsics of a depth camera, as cameras, phones and data sets write them.

Formats: JSON, YAML and text of Open3D, RealSense, Azure Kinect, ROS `camera_info`, OpenCV,
nerfstudio and Polycam, Record3D, ARKitScenes' `.pincam`, Matterport3D, ScanNet's matrices and its
`_info.txt`, SUN RGB-D, TUM, and COLMAP's `cameras.txt`. Names match in any case, with or without
underscores.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sr3d.errors import InputError, Kind
from sr3d.runs.files import read_text

_WIDE, _NARROW = 150.0, 3.0  # degrees, the field of view of a lens
_OFF = 0.25  # maximum offset of the principal point from the centre, as a share of the image side
_SKEW = 1e-3  # maximum skew, as a share of the focal length
_SAME_SHAPE = 0.01  # by which the sides of two images may differ in ratio
# Names are compared in lower case and without underscores.
# Parts of a file that hold the intrinsics. Of several cameras, the depth camera comes first.
_DEPTH_PARTS = ("depthintrinsics", "depthcamera", "depth")
_PARTS = ("intrinsics", "intrinsic", "cameraintrinsics", "camera", "parameters", "calibration")
_FOCAL = (
    ("fx", "fy"), ("flx", "fly"), ("focalx", "focaly"), ("focallengthx", "focallengthy"),
    ("fxdepth", "fydepth"),
)  # fmt: skip
_MIDDLE = (
    ("cx", "cy"), ("ppx", "ppy"), ("mxdepth", "mydepth"), ("px", "py"),
    ("principalpointx", "principalpointy"),
)  # fmt: skip
_FOCALS = ("focallength", "focal", "f")  # one value for both axes, or two values
_MIDDLES = ("principalpoint", "opticalcenter", "pp", "c")
_MATRICES = (
    "k", "intrinsicmatrix", "intrinsicsmatrix", "cameramatrix", "intrinsics", "intrinsic", "matrix",
    "mcalibrationdepthintrinsic", "calibrationdepthintrinsic", "depthintrinsic",
)  # fmt: skip
_SIZES = (
    ("width", "height"), ("w", "h"), ("imagewidth", "imageheight"), ("depthwidth", "depthheight"),
    ("mdepthwidth", "mdepthheight"),
)  # fmt: skip
_PAIRS = ("resolution", "imagesize", "size")
_SCALES = ("depthscale", "depthunitscalefactor", "mdepthshift", "depthshift")
_DISTORTIONS = (
    "distortioncoefficients", "distortion", "coeffs", "distcoeffs", "d", "distortionparams",
)  # fmt: skip


@dataclass(frozen=True)
class Camera:
    """A pinhole camera. fx, fy, cx, cy: in pixels of an image of width x height. width and height
    are None if unknown. depth_scale: pixel values per metre, None if unknown. distorted: whether
    the lens has distortion.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: float | None = None
    height: float | None = None
    depth_scale: float | None = None
    distorted: bool = False

    def of_size(self, width: int, height: int, where: str, given: bool) -> Camera:
        """The same camera's intrinsics for an image of another resolution.

        where: the source. given: whether the user gave them for this image.

        Raises:
            InputError: no lens has this focal length, the aspect ratio of the image differs from
                the camera's, or the file has no image size and the principal point is far from
                the centre of this image.
        """
        view = math.degrees(2 * math.atan(0.5 * (self.width or width) / self.fx))
        if not _NARROW <= view <= _WIDE:
            raise InputError(
                f"fx {self.fx:g} of an image {self.width or width:g} pixels wide is a "
                f"field of view of {view:.0f}°, which no lens has",
                file=where,
                kind=Kind.VALUE,
                remedy="Give fx, fy, cx and cy in pixels, for example with "
                "--intrinsics FX FY CX CY.",
            )
        if self.width is None or self.height is None:
            off = max(abs(self.cx / width - 0.5), abs(self.cy / height - 0.5))
            if off < (0.5 if given else _OFF):
                return self
            raise InputError(
                f"the principal point ({self.cx:g}, {self.cy:g}) is far from the "
                f"centre of the depth image of {width} x {height}, so these are probably "
                "the intrinsics of another image",
                field=where,
                kind=Kind.VALUE,
                remedy="Give the intrinsics of the depth image with --intrinsics FX FY CX CY.",
            )
        across, down = width / self.width, height / self.height
        if not math.isclose(across, down, rel_tol=_SAME_SHAPE):
            turned = math.isclose(width / self.height, height / self.width, rel_tol=_SAME_SHAPE)
            raise InputError(
                f"these are the intrinsics of an image of {self.width:g} x "
                f"{self.height:g}, and the depth image has {width} x {height}, "
                f"which {('is rotated by 90°' if turned else 'has another aspect ratio')}",
                field=where,
                kind=Kind.VALUE,
                remedy="Give the intrinsics of the depth image with --intrinsics FX FY CX CY.",
            )
        return replace(
            self, fx=self.fx * across, fy=self.fy * down, cx=self.cx * across, cy=self.cy * down,
            width=width, height=height,
        )  # fmt: skip


def read_camera(path: Path) -> Camera:
    """The depth camera that a file describes.

    Raises:
        InputError: the file has no intrinsics in a known form.
    """
    text = read_text(path)
    try:
        found = _from_values(_parsed(text, path.suffix.lower()))
    except (KeyError, TypeError, ValueError, IndexError, yaml.YAMLError):
        found = None
    if found is None or not np.isfinite([found.fx, found.fy, found.cx, found.cy]).all():
        raise InputError(
            "expected fx, fy, cx, cy or a 3 × 3 matrix of intrinsics",
            file=path,
            kind=Kind.VALUE,
            remedy="Correct the file or give --intrinsics FX FY CX CY.",
        )
    if not (found.fx > 0 and found.fy > 0):
        raise InputError(
            f"fx and fy must be above 0, got {found.fx:g} and {found.fy:g}",
            file=path,
            kind=Kind.VALUE,
        )
    return found


def _parsed(text: str, kind: str) -> Any:
    """The parsed file: a mapping, or a list of numbers."""
    if text.lstrip().startswith("{") or kind == ".json":
        return json.loads(text)
    if kind in (".yaml", ".yml"):
        # OpenCV's YAML has a header and tags of its own.
        plain = re.sub(r"^%YAML[: ].*\n", "", text).replace("!!opencv-matrix", "")
        return yaml.safe_load(plain)
    text = re.sub(r"(?:#|//).*", "", text)
    if colmap := re.search(r"^\s*\d+\s+(SIMPLE_PINHOLE|PINHOLE)\s+(.+)$", text, re.MULTILINE):
        width, height, fx, *rest = map(float, colmap[2].split())
        fy, cx, cy = rest if colmap[1] == "PINHOLE" else (fx, *rest)
        return {"width": width, "height": height, "fx": fx, "fy": fy, "cx": cx, "cy": cy}
    pairs = re.findall(r"^\s*([A-Za-z_]\w*)(?:\s*[=:]|\s)\s*(.+?)\s*$", text, re.MULTILINE)
    if pairs:
        return {name: _number_or_list(value) for name, value in pairs}
    return [float(word) for word in re.sub(r"[\[\](),;]", " ", text).split()]


def _number_or_list(text: str) -> Any:
    words = re.sub(r"[\[\](),;]", " ", text).split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return text
    return numbers[0] if len(numbers) == 1 else numbers


def _from_values(value: Any) -> Camera | None:
    if not isinstance(value, Mapping):
        return _from_numbers(np.asarray(value, dtype=np.float64))
    value = {str(name).replace("_", "").lower(): entry for name, entry in value.items()}
    found = _inside(value, _DEPTH_PARTS) or _named(value) or _matrix(value)
    found = found or _inside(value, _PARTS)
    if found is None:
        return None
    size = _size(value)
    scale = next((value[name] for name in _SCALES if name in value), None)
    bent = next((value[name] for name in _DISTORTIONS if name in value), 0)
    bent = bent.get("data", 0) if isinstance(bent, Mapping) else bent
    return replace(
        found,
        width=found.width or size[0],
        height=found.height or size[1],
        depth_scale=found.depth_scale or _values_of_metre(scale),
        distorted=found.distorted or _is_bent(bent),
    )


def _inside(value: Mapping[str, Any], names: tuple[str, ...]) -> Camera | None:
    parts = (value[name] for name in names if isinstance(value.get(name), Mapping))
    return next((camera for part in parts if (camera := _from_values(part))), None)


def _named(value: Mapping[str, Any]) -> Camera | None:
    focal, middle = _pair(value, _FOCAL, _FOCALS), _pair(value, _MIDDLE, _MIDDLES)
    return None if focal is None or middle is None else Camera(*focal, *middle)


def _pair(
    value: Mapping[str, Any], names: tuple[tuple[str, str], ...], lists: tuple[str, ...]
) -> tuple[float, float] | None:
    """Two values under two names, or under one. A single focal length holds for both axes."""
    if (pair := next((pair for pair in names if set(pair) <= value.keys()), None)) is not None:
        return float(value[pair[0]]), float(value[pair[1]])
    for name in lists:
        if isinstance(value.get(name), list) and len(value[name]) == 2:
            return float(value[name][0]), float(value[name][1])
        if isinstance(value.get(name), int | float) and lists is _FOCALS:
            return float(value[name]), float(value[name])
    return None


def _matrix(value: Mapping[str, Any]) -> Camera | None:
    for name in _MATRICES:
        numbers = value.get(name)
        if isinstance(numbers, Mapping):
            numbers = numbers.get("data")
        if isinstance(numbers, list):
            return _from_numbers(np.asarray(numbers, dtype=np.float64))
    return None


def _from_numbers(numbers: np.ndarray) -> Camera | None:
    """The camera from a list of numbers in one of these forms:

    fx, fy, cx, cy, also after width and height (ARKitScenes, Matterport3D), or a 3 × 3, 3 × 4 or
    4 × 4 matrix by rows, or by columns (Apple, Open3D).
    """
    flat = numbers.ravel()
    match flat.size:
        case 4:
            return Camera(*flat.tolist())
        case 6 | 11:
            width, height, fx, fy, cx, cy = flat[:6].tolist()
            return Camera(fx, fy, cx, cy, width, height, distorted=_is_bent(flat[6:]))
        case 9:
            matrix = flat.reshape(3, 3)
        case 12:
            matrix = flat.reshape(3, 4)[:, :3]
        case 16:
            matrix = flat.reshape(4, 4)[:3, :3]
        case _:
            return None
    if matrix[0, 2] == 0 and matrix[2, 0] != 0:
        matrix = matrix.T
    skewed = abs(matrix[0, 1]) > _SKEW * abs(matrix[0, 0])
    if matrix[2, 2] != 1 or matrix[1, 0] or matrix[2, :2].any() or skewed:
        return None
    return Camera(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])


def _size(value: Mapping[str, Any]) -> tuple[float | None, float | None]:
    if pair := next((pair for pair in _SIZES if set(pair) <= value.keys()), None):
        return float(value[pair[0]]), float(value[pair[1]])
    for name in _PAIRS:
        if isinstance(value.get(name), list) and len(value[name]) == 2:
            return float(value[name][0]), float(value[name][1])
    return None, None


def _values_of_metre(scale: Any) -> float | None:
    """Pixel values per metre. Some tools store metres per value (0.001) instead."""
    if scale is None or not float(scale) > 0 or float(scale) == 1:
        return None
    return float(scale) if float(scale) > 1 else 1 / float(scale)


def _is_bent(coefficients: Any) -> bool:
    try:
        return bool(np.asarray(coefficients, dtype=np.float64).any())
    except (TypeError, ValueError):
        return False
