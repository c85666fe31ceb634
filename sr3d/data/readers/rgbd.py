"""Converts a depth image and its colour image to points, as SUN RGB-D's Matlab toolbox does."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sr3d.errors import InputError, Kind

Array = npt.NDArray[Any]

FARTHEST = 8.0  # metres, maximum depth. Larger values are set to it
# Maps upright coordinates (z up, y forward) to camera coordinates (y down, z forward).
_UPRIGHT = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
_AGAIN = "Download the frame again."


def read_depth(path: Path) -> Array:
    """(H, W) float32 metres, 0 for unmeasured pixels.

    The 16 bits of a pixel are millimetres, rotated by three bits to the right.
    """
    pixels = _pixels(path)
    if pixels.ndim != 2 or pixels.dtype not in (np.uint16, np.int32):
        kind = f"{pixels.dtype} {pixels.shape}"
        raise InputError(
            f"a depth image has 16 bits per pixel, but this image is {kind}",
            file=path,
            kind=Kind.VALUE,
            remedy=_AGAIN,
        )
    raw = pixels.astype(np.uint16)
    metres = (raw >> 3 | raw << 13).astype(np.float32) / np.float32(1000)
    return np.minimum(metres, np.float32(FARTHEST))


def read_color(path: Path) -> Array:
    """(H, W, 3) uint8."""
    pixels = _pixels(path)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        kind = f"{pixels.dtype} {pixels.shape}"
        raise InputError(
            f"a colour image has three bytes per pixel, but this image is {kind}",
            file=path,
            kind=Kind.VALUE,
            remedy=_AGAIN,
        )
    return pixels


def read_intrinsics(folder: Path) -> Array:
    """(3, 3) float64 from the frame's `intrinsics.txt`."""
    return _matrix(folder / "intrinsics.txt", 3)


def read_tilt(folder: Path) -> Array:
    """(3, 3) float64, the rotation that levels the camera, from the last `extrinsics/*.txt`.

    The file is for a camera that looks along z with y down. Here z is up.
    """
    files = sorted((folder / "extrinsics").glob("*.txt"))
    if not files:
        raise InputError(
            "contains no file", file=folder / "extrinsics", kind=Kind.MISSING, remedy=_AGAIN
        )
    turn = _matrix(files[-1], 4)[:, :3]
    try:
        return check_rotation(_UPRIGHT.T @ turn @ _UPRIGHT)
    except ValueError as error:
        raise InputError(str(error), file=files[-1], kind=Kind.VALUE, remedy=_AGAIN) from None


def check_rotation(matrix: Array) -> Array:
    """The (3, 3) matrix itself.

    Raises:
        ValueError: the matrix is not a rotation.
    """
    if not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-2) or np.linalg.det(matrix) < 0:
        raise ValueError(f"the camera's tilt is not a rotation: {matrix.tolist()}")
    return matrix


def _matrix(path: Path, columns: int) -> Array:
    try:
        values = np.loadtxt(path, dtype=np.float64)
    except FileNotFoundError:
        raise InputError("no such file", file=path, kind=Kind.MISSING, remedy=_AGAIN) from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"not a table of numbers ({error})", file=path, kind=Kind.UNREADABLE, remedy=_AGAIN
        ) from None
    if values.size != 3 * columns or not np.isfinite(values).all():
        raise InputError(
            f"must be {3 * columns} numbers", file=path, kind=Kind.VALUE, remedy=_AGAIN
        )
    return values.reshape(3, columns)


def unproject(
    depth: Array, color: Array, intrinsics: Array, tilt: Array, count: int, seed: int
) -> tuple[Array, Array]:
    """Points (N, 3) float32 in metres, z up and y forward, and colours (N, 3) float32 in [0, 1].

    depth (H, W), color (H, W, 3), intrinsics (3, 3). tilt (3, 3) levels the camera. Pixels without
    depth are skipped. The others go column by column, and the first pixel is (1, 1). count: number
    of points drawn at random from `seed`, in random order. They are distinct, or drawn with
    replacement if there are fewer. 0 keeps all points in their order.
    """
    by_column = depth.T.ravel()
    chosen = np.flatnonzero(by_column)
    if count and len(chosen):
        rng = np.random.default_rng(seed)
        chosen = rng.choice(chosen, count, replace=len(chosen) < count)
    column, row = np.divmod(chosen, depth.shape[0])
    distance = by_column[chosen].astype(np.float64)
    x = (column + 1 - intrinsics[0, 2]) * distance / intrinsics[0, 0]
    y = (row + 1 - intrinsics[1, 2]) * distance / intrinsics[1, 1]
    # The camera looks along z with y down. After levelling it looks along y with z up.
    points = np.stack([x, distance, -y], axis=1) @ tilt.T
    return points.astype(np.float32), color[row, column].astype(np.float32) / np.float32(255)


def _pixels(path: Path) -> Array:
    try:
        with Image.open(path) as image:
            return np.asarray(image)
    except FileNotFoundError:
        raise InputError("no such file", file=path, kind=Kind.MISSING, remedy=_AGAIN) from None
    except (OSError, SyntaxError, ValueError, zlib.error, Image.DecompressionBombError) as error:
        raise InputError(
            f"not a readable image ({error})", file=path, kind=Kind.UNREADABLE, remedy=_AGAIN
        ) from None
