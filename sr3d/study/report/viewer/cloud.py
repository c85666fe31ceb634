"""Reduce a point cloud to the size of a page: thinned, shuffled and packed into 8 bytes a point."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MOST_POINTS = 1_200_000  # 12.8 MB as base64
_ROUNDS = 16  # of the search for the voxel size, at most. Usually four are enough.
_STRAY = 0.2  # percent of points at either end that the camera's frame ignores
_FAR = 10  # frame sizes. A point farther away would cost the others their precision.


@dataclass(frozen=True, eq=False)
class PackedCloud:
    """packed: (N, 4) uint16: x, y, z in steps from `low`, then RGB565. low, step: (3,) metres.

    frame: (2, 3) corners of the camera's target. voxel: metres, if the cloud was thinned. given:
    number of original points. strays: number of points omitted as not finite or far away.
    """

    packed: Array
    low: Array
    step: Array
    frame: Array
    colored: bool
    voxel: float | None
    given: int
    strays: int

    def base64(self) -> str:
        """The points as text, little-endian."""
        return base64.b64encode(self.packed.astype("<u2").tobytes()).decode("ascii")


def pack_cloud(points: Array, colors: Array | None, most: int = MOST_POINTS) -> PackedCloud:
    """The cloud in a fixed random order, in which every prefix is an even sample.

    points: (N, 3) metres. colors: (N, 3) in [0, 1] or None. most: the maximum number of points. A
    larger cloud keeps one point per voxel, with the smallest voxel that is large enough.
    """
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    generator = np.random.default_rng(0)
    rows = np.flatnonzero(np.isfinite(points).all(axis=1))
    frame = _frame(points[rows])
    reach = _FAR * float((frame[1] - frame[0]).max())
    rows = rows[((points[rows] > frame[0] - reach) & (points[rows] < frame[1] + reach)).all(axis=1)]
    strays = len(points) - len(rows)
    rows = generator.permutation(rows)
    voxel = None
    if len(rows) > most:
        kept, voxel = thin(points[rows], most)
        rows = rows[kept]
    chosen = points[rows]
    low, high = (chosen.min(axis=0), chosen.max(axis=0)) if len(rows) else frame
    step = np.maximum(high - low, 1e-6) / 65535
    packed = np.empty((len(rows), 4), np.uint16)
    packed[:, :3] = np.round((chosen - low) / step)
    packed[:, 3] = 0 if colors is None else rgb565(np.asarray(colors)[rows], generator)
    return PackedCloud(
        packed, low, step, frame, colors is not None, voxel, len(points), strays
    )  # fmt: skip


def thin(points: Array, most: int) -> tuple[Array, float]:
    """The first point in each voxel, at most `most`, as rows in their order, and the voxel's edge.

    points: (N, 3), more than `most`, in random order.
    """
    low = points.min(axis=0)
    extent = np.maximum(points.max(axis=0) - low, 1e-6)
    largest = float(extent.max())
    smallest = largest / (1 << 20)  # so that a key has 3 × 21 bits
    # Points lie on surfaces. So the first guess covers the sides of their bounding box by squares.
    voxel = max(smallest, float(np.sqrt(2 * (extent * np.roll(extent, 1)).sum() / most)))
    best = np.zeros(1, np.int64), largest
    for _ in range(_ROUNDS):
        x, y, z = np.floor((points - low) / voxel).astype(np.int64).T
        rows = np.unique(x << 42 | y << 21 | z, return_index=True)[1]
        if len(rows) > most:
            smallest = voxel
        else:
            largest = voxel
            if len(rows) > len(best[0]):
                best = np.sort(rows), voxel
            if len(rows) > 0.9 * most:
                break
        voxel = float(np.sqrt(max(smallest, voxel / 4) * min(largest, voxel * 4)))
    return best


def rgb565(colors: Array, generator: np.random.Generator) -> Array:
    """(N,) uint16 of colours (N, 3) in [0, 1], dithered so that surfaces show no colour steps."""
    colors = np.nan_to_num(colors).clip(0, 1)
    dither = generator.random((len(colors), 1), dtype=np.float32) - 0.5
    steps = np.array([31, 63, 31])
    red, green, blue = np.round(colors * steps + dither).clip(0, steps).astype(np.uint16).T
    return np.asarray(red << 11 | green << 5 | blue)


def _frame(points: Array) -> Array:
    """(2, 3) corners without strays. For an empty cloud, a cubic metre."""
    if not len(points):
        return np.array([[0.0, 0, 0], [1, 1, 1]])
    if len(points) > MOST_POINTS:  # a sample is enough for a percentile
        points = points[:: len(points) // 100_000]
    low, high = np.percentile(points, [_STRAY, 100 - _STRAY], axis=0)
    return np.stack([low, np.maximum(high, low + 1e-3)])
