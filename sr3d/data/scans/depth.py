"""A depth image, with the camera's intrinsics, as points in front of that camera."""

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
# Where cameras are looked for: files of the image's name, then these, then in these folders.
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
_SCALE = 1000.0  # pixel values of a metre where nobody says another
_INVALID = 65535  # what cameras write for a pixel without depth, if not 0
_NEAR, _FAR = 0.2, 6.0  # metres, of the middle distance in a room
_REPEATED, _BEYOND = 0.01, 20.0  # share of the pixels, and metres, of another such value


def read_depth_image(
    path: Path,
    intrinsics: tuple[float, float, float, float] | None,
    depth_scale: float | None = None,
) -> Content:
    """Camera coordinates in metres: x right, y down, z forward; so up is -y for a level camera.

    intrinsics: fx, fy, cx, cy in pixels of this image; None to look beside the file, where they are
    scaled to this image if they say the size of theirs. depth_scale: pixel values of one metre;
    None for what the camera's file says, else 1000. A colour image of the same size is used where
    it has the same name, beside it or in a folder `image`, `color` or `rgb` beside its own, or is
    the only one in such a folder.

    Raises:
        InputError: not 16 bits a pixel, no intrinsics or those of another image, nothing measured,
            or distances of no room where nobody told the scale.
    """
    if not is_depth_image(path):
        raise InputError(
            "has not 16 bits a pixel, so it is no depth image",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Pass another.",
        )
    if depth_scale is not None and not depth_scale > 0:
        raise InputError(
            "give the pixel values of a metre",
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
    # Some cameras write the greatest value of theirs, such as 32767.
    ends = most / scale > _BEYOND and _REPEATED * known.sum() < full.sum() < known.sum()
    row, column = np.nonzero(known & ~full if ends else known)
    z = values[row, column].astype(np.float64) / scale
    middle = float(np.median(z))
    if depth_scale is None and not _NEAR <= middle <= _FAR:
        raise InputError(
            f"with {scale:g} values a metre ({why}) the median distance is "
            f"{middle:.3g} m, as in no room",
            file=path,
            kind=Kind.VALUE,
            remedy="Give --depth-scale, the values of a metre (1000, 4000 in "
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
            facts.append(Fact("left out", f"{unknown} pixels", f"{value} marks what has no depth"))
    colors, reason = _colors(path, values.shape)
    if colors is None:
        if reason:
            facts.append(Fact("colours", "none", f"{reason}; grey is taken for them"))
        return Content([Cloud(points)], up="-y", sure=True, unit="m", facts=facts)
    painted = Cloud(points, colors[row, column])
    return Content([painted], up="-y", sure=True, unit="m", color_range="0-255", facts=facts)


def _camera(path: Path, intrinsics: tuple[float, float, float, float] | None) -> tuple[Camera, str]:
    """The camera, and where it is from."""
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
    """Where the camera of a depth image may be described, the likeliest place first."""
    around = (path.parent, path.parent.parent)
    for folder in (path.parent, *(around[1] / name for name in _CAMERA_FOLDERS)):
        yield from (folder / (path.stem + kind) for kind in _CAMERA_KINDS)
    for folder in around:
        yield from (folder / name for name in _CAMERA_NAMES)
        yield from (folder / part / name for part in _CAMERA_FOLDERS for name in _CAMERA_NAMES)


def _about(camera: Camera, source: str) -> str:
    words = ["as told" if source == "--intrinsics" else f"from {Path(source).name}"]
    if camera.width is not None:
        words.append(f"which has those of {camera.width:g} x {camera.height:g} pixels")
    if camera.distorted:
        words.append("the lens has a distortion, which is not undone")
    return ", ".join(words)


def _scale(camera: Camera, told: float | None) -> tuple[float, str]:
    if told is not None:
        return told, "as told"
    if camera.depth_scale is not None:
        return camera.depth_scale, "as the camera's file says; --depth-scale overrules"
    return _SCALE, "usual; --depth-scale overrules"


def _colors(path: Path, shape: tuple[int, ...]) -> tuple[Array | None, str]:
    """(H, W, 3), or None and which image was not taken for its size."""
    folders = [path.parent, *(path.parent.parent / name for name in _COLOR_FOLDERS)]
    places = [folder / (path.stem + kind) for folder in folders for kind in _COLOR_KINDS]
    for folder in folders[1:]:  # one frame a folder, as SUN RGB-D has them
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
