"""Bare numbers: NPY and NPZ, and BIN, which has float32 values and nothing that says how many make
a point.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sr3d.data.scans.content import Array, Cloud, Content, Fact, range_of_type
from sr3d.errors import InputError

_COLORS = ("colors", "colours", "rgb")
_WIDTHS = (3, 4, 6)
_BETTER = 0.97  # of the spread of fewer columns, where more columns are believed
_ROWS = 120_000  # values judged; divisible by all widths


def read_numpy(path: Path) -> Content:
    """(N, 3) points, or (N, 6) with colours; of an NPZ, `points` and, apart, `colors`.

    Raises:
        InputError: no array `points`, or another shape.
    """
    value = np.load(path, allow_pickle=False)
    if isinstance(value, np.ndarray):
        return _table(value, path)
    with value:
        names = value.files
        if "points" not in names:
            have = ", ".join(names) or "nothing"
            raise InputError(f"{path}: has no array `points` (it has {have}); name it so")
        points = value["points"]
        named = next((name for name in _COLORS if name in names), None)
        colors = None if named is None else value[named]
    if colors is None:
        return _table(points, path)
    if points.ndim != 2 or points.shape[1] < 3 or colors.shape != (len(points), 3):
        raise InputError(
            f"{path}: points {points.shape} and {named} {colors.shape} do not fit; both need (N, 3)"
        )
    return Content([Cloud(points[:, :3], colors)], color_range=range_of_type(colors.dtype))


def read_bin(path: Path, columns: int | None) -> Content:
    """float32 rows of x, y, z; with an intensity; or with r, g, b.

    columns: how many values make a point; None to find out.

    Raises:
        InputError: the values are no whole number of such points.
    """
    size = path.stat().st_size
    values = np.fromfile(path, dtype="<f4")
    fitting = [width for width in _WIDTHS if size and size % (4 * width) == 0]
    if columns is not None:
        if columns < 3 or size == 0 or size % (4 * columns):
            raise InputError(
                f"{path}: {size} bytes are no whole number of points of {columns} float32 values; "
                "give another --columns"
            )
        width, why = columns, "as told"
    elif not fitting:
        raise InputError(
            f"{path}: {size} bytes are no whole number of points of 3, 4 or 6 float32 values; "
            "give --columns"
        )
    else:
        width, why = _likely_width(values, fitting)
    content = _table(values.reshape(-1, width), path)
    content.facts[:] = [Fact("columns", str(width), why)]
    return content


def _table(rows: Array, path: Path) -> Content:
    if rows.dtype.kind not in "fiu":
        raise InputError(f"{path}: holds {rows.dtype}, not numbers; save it as float32")
    if rows.ndim != 2 or rows.shape[1] < 3:
        raise InputError(f"{path}: the shape is {rows.shape}; make it (N, 3) or (N, 6)")
    facts, columns = [], rows.shape[1]
    if columns not in (3, 6):
        used = 3 if columns < 6 else 6
        facts.append(Fact("columns", f"{used} of {columns}", "x, y, z, then perhaps r, g, b"))
    colors = rows[:, 3:6] if columns >= 6 else None
    told = None if colors is None else range_of_type(colors.dtype)
    return Content([Cloud(rows[:, :3], colors)], color_range=told, facts=facts)


def _likely_width(values: Array, fitting: list[int]) -> tuple[int, str]:
    """Rows cut rightly have columns of one kind each, which spread less than mixed ones."""
    if len(fitting) == 1:
        return fitting[0], f"no other of {_WIDTHS} divides the file"
    # A logarithmic scale, so that a bright colour does not outweigh everything.
    some = np.arcsinh(np.nan_to_num(values[:_ROWS]).astype(np.float64))
    spreads = {w: float(some[: len(some) // w * w].reshape(-1, w).var(0).mean()) for w in fitting}
    best = fitting[0]
    for width in fitting[1:]:
        if spreads[width] < _BETTER * spreads[best]:
            best = width
    told = ", ".join(f"{width}: {spread:.3g}" for width, spread in spreads.items())
    return best, f"columns are most alike within (spread of {told}); --columns overrules"
