"""A depth image and the camera's intrinsics become points in front of the camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from sr3d.data.scans.cameras import Camera, read_camera
from sr3d.data.scans.content import Array, Cloud, Content, Fact, Mark
from sr3d.data.scans.listing import is_depth_image
from sr3d.errors import InputError, Kind

_REMEDY = "Give --intrinsics FX FY CX CY, or write them beside it as .json or .txt."
_COLOR_FOLDERS = ("image", "color", "colour", "rgb")
_COLOR_KINDS = (".jpg", ".jpeg", ".png")
# Where to look for cameras: files with the image's name, these names, these folders, in this order.
_CAMERA_KINDS = (".json", ".txt", ".yaml", ".yml", ".pincam")
_CAMERA_NAMES = (
    "intrinsics.json", "intrinsics.txt", "intrinsics.yaml", "intrinsic_depth.txt",
    "depth_intrinsics.json", "depth_intrinsics.txt", "camera_intrinsic.json",
    "camera_intrinsics.json", "camera_info.json", "camera_info.yaml", "_info.txt", "metadata.json",
    "metadata", "camera.json", "camera.txt", "camera.yaml", "cameras.txt", "K.txt", "cam_K.txt",
    "transforms.json",
)  # fmt: skip
_CAMERA_FOLDERS = (
    "intrinsic", "intrinsics", "camera", "cameras", "camera_info", "lowres_wide_intrinsics",
)  # fmt: skip
_SCALE = 1000.0  # pixel values per metre, unless the user or the camera's file gives another
_INVALID = 65535  # written for a pixel without depth, as 0 is
_NEAR, _FAR = 0.2, 6.0  # metres, plausible range of the median distance in a room
_REPEATED, _BEYOND = 0.01, 20.0  # minimum share of pixels, and metres, of another such marker


def read_depth_image(
    path: Path,
    intrinsics: tuple[float, float, float, float] | None,
    depth_scale: float | None = None,
) -> Content:
    """Camera coordinates in metres: x right, y down, z forward, so up is -y for a level camera.

    intrinsics: fx, fy, cx, cy in pixels of this image. None reads them from a file beside the
    image, and scales them to this image if that file gives an image size. depth_scale: pixel values
    per metre. None takes it from the camera's file, else 1000. A colour image of the same size is
    used if it has the same name, beside the depth image or in a folder `image`, `color` or `rgb`
    beside its folder, or if it is the only one in such a folder.

    Raises:
        InputError: not 16 bits per pixel, no intrinsics, intrinsics of another image, no depth, or
            implausible distances without a given scale.
    """
    if not is_depth_image(path):
        raise InputError(
            "does not have 16 bits per pixel, so it is not a depth image",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Pass another.",
        )
    if depth_scale is not None and not depth_scale > 0:
        raise InputError(
            "give the pixel values per metre",
            field=f"--depth-scale {depth_scale:g}",
            kind=Kind.VALUE,
        )
    with Image.open(path) as image:
        values = np.asarray(image)
    known = (values > 0) & (values != _INVALID)
    if not known.any():
        raise InputError(
            f"every pixel is 0 or {_INVALID}, so nothing was measured",
            file=path,
            kind=Kind.EMPTY,
            remedy="Pass another.",
        )
    camera, source = _camera(path, intrinsics)
    height, width = values.shape
    fitted = camera.of_size(width, height, source, intrinsics is not None)
    scale, why = _scale(camera, depth_scale)
    most = int(values[known].max())
    full = known & (values == most)
    # Some cameras write their maximum instead, such as 32767.
    ends = most / scale > _BEYOND and _REPEATED * known.sum() < full.sum() < known.sum()
    row, column = np.nonzero(known & ~full if ends else known)
    z = values[row, column].astype(np.float64) / scale
    middle = float(np.median(z))
    if depth_scale is None and not _NEAR <= middle <= _FAR:
        raise InputError(
            f"with {scale:g} values per metre ({why}) the median distance is "
            f"{middle:.3g} m, which is implausible for a room",
            file=path,
            kind=Kind.VALUE,
            remedy="Give --depth-scale, the pixel values per metre (1000, 4000 in "
            "Matterport3D, 5000 in TUM, 6553.5 in Replica, 8000 in SUN RGB-D).",
        )
    points = np.stack(
        [(column - fitted.cx) * z / fitted.fx, (row - fitted.cy) * z / fitted.fy, z], axis=1
    )
    numbers = (fitted.fx, fitted.fy, fitted.cx, fitted.cy)
    facts = [
        Fact(
            "intrinsics",
            ", ".join(f"{value:g}" for value in numbers),
            _about(camera, source),
            (Mark.DISTORTED,) if camera.distorted else (),
        ),
        Fact("depth", f"{scale:g} a metre", why),
    ]
    for value, unknown in ((_INVALID, int((values == _INVALID).sum())), (most, ends * full.sum())):
        if unknown:
            facts.append(Fact("left out", f"{unknown} pixels", f"{value} marks missing depth"))
    colors, reason = _colors(path, values.shape)
    if colors is None:
        if reason:
            facts.append(Fact("colours", "none", f"{reason}. Grey is used instead"))
        return Content([Cloud(points)], up="-y", sure=True, unit="m", facts=facts)
    painted = Cloud(points, colors[row, column])
    return Content([painted], up="-y", sure=True, unit="m", color_range="0-255", facts=facts)


def _camera(path: Path, intrinsics: tuple[float, float, float, float] | None) -> tuple[Camera, str]:
    """The camera and its source."""
    if intrinsics is None:
        place = next((place for place in camera_files(path) if place.is_file()), None)
        if place is None:
            raise InputError(
                "a depth image needs the camera's intrinsics",
                file=path,
                kind=Kind.MISSING,
                remedy=_REMEDY,
            )
        return read_camera(place), str(place)
    if not (np.isfinite(intrinsics).all() and min(intrinsics[:2]) > 0):
        raise InputError(
            f"intrinsics {intrinsics}: fx and fy must be above 0",
            file=path,
            kind=Kind.VALUE,
            remedy=_REMEDY,
        )
    return Camera(*intrinsics), "--intrinsics"


def camera_files(path: Path) -> Iterator[Path]:
    """Files that may describe the camera of a depth image, the most likely first."""
    around = (path.parent, path.parent.parent)
    for folder in (path.parent, *(around[1] / name for name in _CAMERA_FOLDERS)):
        yield from (folder / (path.stem + kind) for kind in _CAMERA_KINDS)
    for folder in around:
        yield from (folder / name for name in _CAMERA_NAMES)
        yield from (folder / part / name for part in _CAMERA_FOLDERS for name in _CAMERA_NAMES)


def _about(camera: Camera, source: str) -> str:
    words = ["given" if source == "--intrinsics" else f"from {Path(source).name}"]
    if camera.width is not None:
        words.append(f"which gives them for {camera.width:g} x {camera.height:g} pixels")
    if camera.distorted:
        words.append("the lens distortion is not corrected")
    return ", ".join(words)


def _scale(camera: Camera, given: float | None) -> tuple[float, str]:
    if given is not None:
        return given, "given"
    if camera.depth_scale is not None:
        return camera.depth_scale, "from the camera's file, see --depth-scale"
    return _SCALE, "the default, see --depth-scale"


def _colors(path: Path, shape: tuple[int, ...]) -> tuple[Array | None, str]:
    """(H, W, 3), or None and the reason why an image was not used."""
    folders = [path.parent, *(path.parent.parent / name for name in _COLOR_FOLDERS)]
    places = [folder / (path.stem + kind) for folder in folders for kind in _COLOR_KINDS]
    for folder in folders[1:]:  # a folder with one frame, as in SUN RGB-D
        inside = [place for place in folder.glob("*") if place.suffix.lower() in _COLOR_KINDS]
        places += inside if len(inside) == 1 else []
    reason = ""
    for place in places:
        if place.is_file() and place.resolve() != path.resolve() and not is_depth_image(place):
            with Image.open(place) as image:
                pixels = np.asarray(image.convert("RGB"))
            if pixels.shape[:2] == shape:
                return pixels, ""
            sizes = [f"{width} x {height}" for height, width in (pixels.shape[:2], shape)]
            reason = f"the colour image {place.name} has {sizes[0]} pixels, not {sizes[1]}"
    return None, reason
