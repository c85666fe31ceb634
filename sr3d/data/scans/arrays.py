"""NumPy's files: NPY and NPZ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from sr3d.data.scans.companions import POINT_WORDS, colors_beside
from sr3d.data.scans.content import Array, Cloud, Content, Fact, range_of_type
from sr3d.data.scans.listing import check_signature
from sr3d.data.scans.naming import read_named
from sr3d.data.scans.table import read_table
from sr3d.errors import InputError, Kind

_COLORS = ("colors", "colours", "color", "colour", "rgb", "rgbs", "point_colors")
_TRANSPOSED = 16  # maximum number of rows that may be columns


def read_numpy(path: Path, columns: str | None = None) -> Content:
    """Points (N, 3), or (N, C) with more columns.

    The array may have named fields. An NPZ holds `points` and `colors`. Colours may also be in a
    file beside it, see `colors_beside`.

    Raises:
        InputError: the file has no points, or the columns are ambiguous.
    """
    value = load_arrays(path)
    if isinstance(value, Mapping):
        return _named_arrays(value, path, columns)
    if value.dtype.names:
        return _structured(value, path)
    content = _array(value, path, columns)
    beside = colors_beside(path)
    if beside is None:
        return content
    check_signature(beside)
    return _with_colors(content, load_arrays(beside), f"in {beside.name} beside it", beside)


def load_arrays(path: Path) -> Array | dict[str, Array]:
    """An array, or the arrays of an NPZ by name. Nothing in the file is executed."""
    try:
        value = np.load(path, allow_pickle=False, mmap_mode="r" if path.suffix == ".npy" else None)
        if isinstance(value, np.ndarray):
            return value
        with value:
            return {name: value[name] for name in value.files}
    except ValueError as error:
        kind = path.suffix[1:].upper()
        with path.open("rb") as file:
            head = file.read(8)
        pickled = "allow_pickle" in str(error) or "Python objects" in str(error)
        if head.startswith((b"\x93NUMPY", b"PK", b"\x80")) and pickled:
            raise InputError(
                f"not a readable {kind} file, because it holds Python objects (a pickle)",
                file=path,
                kind=Kind.UNREADABLE,
                remedy="Save the points alone, as an array of float32.",
            ) from None
        if "allow_pickle" in str(error):
            raise InputError(
                f"not a readable {kind} file, because it does not begin as numpy's files do",
                file=path,
                kind=Kind.UNREADABLE,
                remedy="Save it with numpy.save, or give it the suffix of its format.",
            ) from None
        raise


def _named_arrays(arrays: Mapping[str, Array], path: Path, columns: str | None) -> Content:
    have = ", ".join(f"{name} {value.shape}" for name, value in arrays.items()) or "nothing"
    lower = {key.lower(): key for key in reversed(list(arrays))}
    name = next((lower[word] for word in POINT_WORDS if word in lower), None)
    if name is None and len(arrays) == 1:
        name = next(iter(arrays))
    if name is None:
        if {"x", "y", "z"} <= lower.keys():
            return read_named(arrays, path, "arrays")
        raise InputError(
            f"has no array `points` (it has {have})",
            file=path,
            field="points",
            kind=Kind.MISSING,
            remedy="Name the array of points `points`.",
        )
    points = arrays[name]
    content = _structured(points, path) if points.dtype.names else _array(points, path, columns)
    color = next((lower[word] for word in _COLORS if word in lower), None)
    if color is None:
        unread = [
            f"{other} {value.shape}"
            for other, value in arrays.items()
            if other != name and value.shape[:1] == points.shape[:1]
        ]
        if unread and not content.colored():
            source = f"{content.color_source}. These arrays are ignored: {', '.join(unread)}"
            return replace(content, color_source=f"{source}. Colours are read from `colors`")
        return content
    return _with_colors(content, arrays[color], f"array {color}", path)


def _with_colors(
    content: Content, colors: Array | dict[str, Array], source: str, path: Path
) -> Content:
    """The content with colours from another array, unless it has colours."""
    (part,) = content.parts
    if not isinstance(part, Cloud) or part.colors is not None:
        return content
    shape = colors.shape if isinstance(colors, np.ndarray) else None
    fitting = [(len(part.points), count) for count in (3, 4)]
    if not isinstance(colors, np.ndarray) or shape not in fitting:
        raise InputError(
            f"points {part.points.shape} and colours {shape} do not match, since both need (N, 3)",
            file=path,
            kind=Kind.CONFLICT,
        )
    return replace(
        content,
        parts=[Cloud(part.points, colors[:, :3])],
        color_range=range_of_type(colors.dtype),
        color_source=source,
    )


def _structured(rows: Array, path: Path) -> Content:
    flat = rows.reshape(-1)
    return read_named({name: flat[name] for name in rows.dtype.names or ()}, path, "fields")


def _array(rows: Array, path: Path, columns: str | None) -> Content:
    """A table. If its points are columns, it is transposed first."""
    facts = []
    if rows.ndim == 3 and rows.shape[0] == 1:
        rows = rows[0]
    if rows.ndim == 2 and 3 <= rows.shape[0] <= _TRANSPOSED and rows.shape[1] > 2 * _TRANSPOSED:
        facts.append(Fact("shape", f"{rows.shape}", "transposed, so that each row is a point"))
        rows = np.ascontiguousarray(rows.T)
    if rows.ndim == 3 and rows.shape[2] >= 3:
        raise InputError(
            f"the shape is {rows.shape}",
            file=path,
            kind=Kind.VALUE,
            remedy=f"Save one cloud per file, (N, {rows.shape[2]}) each, or reshape the "
            "rows of an organised cloud into one list.",
        )
    content = read_table(rows, path, columns)
    content.facts[:0] = facts
    return content
