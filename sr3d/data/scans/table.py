"""Tables of numbers without names. Infers the content of each column, or asks the user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sr3d.data.scans.companions import label_role, named_role
from sr3d.data.scans.content import Array, Cloud, Content, Fact, range_of_type
from sr3d.data.scans.naming import unpack
from sr3d.errors import InputError, Kind

_SOME = 100_000  # number of rows that are examined
_UNIT = 0.02  # maximum deviation of the length of a unit vector
_MOSTLY = 0.95
# Minimum ratio of a colour's maximum to the brightest colour's: of any, and of several candidates.
_DIMMEST, _ALIKE = 0.05, 0.2
_WIDEST = 24  # maximum number of columns
_FEW_ROWS = 1000  # scans have more rows, lists of boxes fewer
_SAME = 0.999  # correlation of a column with a coordinate that it repeats


class Column(NamedTuple):
    """low and high: its finite values. whole: whether all values are integers."""

    low: float
    high: float
    whole: bool

    @property
    def kind(self) -> str | None:
        """The range of colours that the column may have."""
        if self.low < 0 or self.high > 65535:
            return None
        if self.whole and self.high > 1:
            return "0-255" if self.high <= 255 else "0-65535"
        return "0-1" if self.high <= 1 else None


@dataclass(frozen=True)
class Layout:
    """places: columns of x, y, z. colors: columns of red, green, blue, or of packed colours."""

    places: tuple[int, ...]
    colors: tuple[int, ...]
    why: str

    def letters(self, width: int) -> str:
        """One letter per column: `c` for packed colours, `_` for an ignored column."""
        colors = "rgb" if len(self.colors) == 3 else "c"
        names = dict(zip((*self.places, *self.colors), f"xyz{colors}", strict=False))
        return "".join(names.get(i, "_") for i in range(width))


def told_layout(columns: str, width: int, path: Path) -> Layout | None:
    """The layout that `--columns` gives letter by letter. None if it gives only a number.

    Raises:
        InputError: another number of columns than the file has.
    """
    if columns.isdecimal():
        return None
    if len(columns) != width:
        raise InputError(
            f"--columns {columns} gives {len(columns)} columns, but the file has {width}",
            file=path,
            kind=Kind.VALUE,
            remedy="Give one letter for each column.",
        )
    places = tuple(columns.index(name) for name in "xyz")
    colors = tuple(columns.index(name) for name in "rgb" if name in columns)
    return Layout(places, colors, "given by --columns")


def read_table(rows: Array, path: Path, columns: str | None = None) -> Content:
    """Points, and colours if available, from (N, C) numbers.

    columns: see `ScanOptions`. None infers them.

    Raises:
        InputError: no points, or ambiguous columns. `--columns` resolves the ambiguity.
    """
    if rows.dtype.kind not in "fiu":
        raise InputError(
            f"holds {rows.dtype}, not numbers",
            file=path,
            kind=Kind.VALUE,
            remedy="Save the points as float32.",
        )
    if rows.ndim != 2 or rows.shape[1] < 3:
        raise InputError(
            f"the shape is {rows.shape}, but points need at least three columns. "
            "It may hold labels or masks",
            file=path,
            kind=Kind.VALUE,
            remedy="Pass the file with the points.",
        )
    if len(rows) == 0:
        raise InputError("has no points", file=path, kind=Kind.EMPTY, remedy="Export it again.")
    width = rows.shape[1]
    if columns is None and width > _WIDEST:
        raise InputError(
            f"has {width} columns, as features of points or images have",
            file=path,
            kind=Kind.VALUE,
            remedy="Pass the file with the points.",
        )
    if columns is None and len(rows) < _FEW_ROWS and (role := label_role(path)):
        raise InputError(
            f"is named as a file of {role} and has only {len(rows)} rows",
            file=path,
            kind=Kind.VALUE,
            remedy="Pass the file with the points, or give --columns if these are points.",
        )
    layout = told_layout(columns, width, path) if columns else None
    if layout is None:
        layout = find_layout(rows, path)
    points = _pick(rows, layout.places)
    letters = " ".join(layout.letters(width))
    facts = [Fact("columns", letters, layout.why)]
    if not layout.colors:
        source = f"none of the {width} columns holds them" if width > 3 else "it has x, y and z"
        return Content([Cloud(points)], color_source=source, facts=facts)
    if len(layout.colors) == 1:
        packed = unpack(rows[:, layout.colors[0]])
        source = f"column {layout.colors[0] + 1}, packed"
        return Content(
            [Cloud(points, packed)], color_range="0-255", color_source=source, facts=facts
        )
    source = f"columns {_listed(layout.colors)}"
    colors = _pick(rows, layout.colors)
    span = range_of_type(colors.dtype)
    return Content([Cloud(points, colors)], color_range=span, color_source=source, facts=facts)


def find_layout(rows: Array, path: Path) -> Layout:
    """The layout of (N, C ≥ 3) numbers, with x, y and z first.

    Raises:
        InputError: the first columns are no coordinates, or several columns may be colours.
    """
    some = rows[:: max(1, len(rows) // _SOME)].astype(np.float64)
    some = some[np.isfinite(some).all(axis=1)]
    width = rows.shape[1]
    places = (0, 1, 2)
    if len(some) < 2:
        return Layout(places, (3, 4, 5) if width == 6 else (), "the usual order")
    columns = [
        Column(float(values.min()), float(values.max()), bool((values == np.floor(values)).all()))
        for values in some.T
    ]
    _check_places(some[:, :3], columns, rows.dtype, path)
    if width == 3:
        return Layout(places, (), "three columns")
    normals = [i for i in range(3, width - 2) if _are_normals(some[:, i : i + 3])]
    candidates = [
        (i, i + 1, i + 2)
        for i in range(3, width - 2)
        if not set(range(i, i + 3)) & {k + n for k in normals for n in range(3)}
        and _are_colors(some, columns, i)
    ]
    # An alpha is the same at all points, and labels have lower values than colours.
    varying = [each for each in candidates if all(_varies(columns[i]) for i in each)]
    if len(candidates) > 1 and varying:
        candidates = varying
    alike = [each for each in candidates if _are_alike([columns[i] for i in each], _ALIKE)]
    if len(candidates) > 1 and len(alike) == 1:
        candidates = alike
    if len(candidates) == 1:
        kind = columns[candidates[0][0]]
        return Layout(places, candidates[0], _reason(columns, candidates[0], normals, kind))
    if candidates:
        options = [Layout(places, each, "").letters(width) for each in candidates]
        raise InputError(
            f"has {width} columns, and the colours may be columns "
            f"{' or '.join(_listed(each) for each in candidates)}",
            file=path,
            kind=Kind.VALUE,
            remedy=f"Give --columns {' or '.join(options)}.",
        )
    if width == 4 and (packed := unpack(rows[:, 3])) is not None and packed[:, 0].any():
        return Layout(places, (3,), "column 4 holds packed colours")
    if width == 6 and all(column.low == column.high for column in columns[3:]):
        return Layout(places, (3, 4, 5), "the usual order")  # a writer left the colours at 0
    odd = _unexplained(columns, normals)
    if odd:
        low, high = (pick(columns[i][k] for i in odd) for k, pick in ((0, min), (1, max)))
        left_out = Layout(places, (), "").letters(width)
        asked = Layout(places, odd, "").letters(width)
        raise InputError(
            f"columns {_listed(odd)} span {low:.3g} to {high:.3g}, so they may be "
            "normals or colours of another range",
            file=path,
            kind=Kind.VALUE,
            remedy=f"Give --columns {left_out} to leave them out, or {asked}.",
        )
    return Layout(places, (), _reason(columns, (), normals, None))


def _pick(rows: Array, columns: tuple[int, ...]) -> Array:
    """(N, 3), without a copy if the columns are adjacent."""
    first = columns[0]
    if columns == (first, first + 1, first + 2):
        return rows[:, first : first + 3]
    return rows[:, list(columns)]


def _listed(columns: tuple[int, ...]) -> str:
    """`4 to 6`, counted from 1."""
    if len(columns) == 1:
        return str(columns[0] + 1)
    return f"{columns[0] + 1} to {columns[-1] + 1}"


def _check_places(points: Array, columns: list[Column], dtype: np.dtype, path: Path) -> None:
    """Refuse a table whose first columns are no coordinates."""
    width = len(columns)
    shifted = f"_{Layout((0, 1, 2), (3, 4, 5) if width == 7 else (), '').letters(width - 1)}"
    if all(one.low == one.high for one in columns[:3]):
        raise InputError(
            "all points lie in one place",
            file=path,
            kind=Kind.VALUE,
            remedy="Export the scan again.",
        )
    if width > 3 and columns[0].whole and (np.diff(points[: min(len(points), 1000), 0]) == 1).all():
        raise InputError(
            "column 1 counts the rows, so it is not a coordinate",
            file=path,
            kind=Kind.VALUE,
            remedy=f"Give --columns {shifted}.",
        )
    if width == 6 and _colors_first(columns):
        raise InputError(
            f"columns 1 to 3 span {columns[0].low:g} to {columns[0].high:g}, as colours do",
            file=path,
            kind=Kind.VALUE,
            remedy="Give --columns rgbxyz, or xyz___ if these are the coordinates.",
        )
    if width > 3 and columns[0].whole and not any(one.whole for one in columns[1:3]):
        raise InputError(
            "column 1 has only whole numbers, but columns 2 and 3 do not, so it is not a "
            "coordinate",
            file=path,
            kind=Kind.VALUE,
            remedy=f"Give --columns {shifted}, or xyz and one letter for each other column.",
        )
    if width > 3 and columns[0].low == columns[0].high and columns[0].whole:
        raise InputError(
            f"column 1 is {columns[0].low:g} in every row, so it is not a coordinate",
            file=path,
            kind=Kind.VALUE,
            remedy=f"Give --columns {shifted}, or xyz and one letter for each other column.",
        )
    if width == 3 and (named := named_role(path)):
        raise InputError(
            f"has three columns and is named as a file of {named}",
            file=path,
            kind=Kind.VALUE,
            remedy="Pass the file with the points, or give --columns xyz if these are points.",
        )
    if width == 3 and _are_normals(points):
        raise InputError(
            "all rows have the length 1, as normals do",
            file=path,
            kind=Kind.VALUE,
            remedy="Pass the file with the points.",
        )
    if dtype == np.uint8 or (width == 3 and all(one.kind == "0-255" for one in columns[:3])):
        raise InputError(
            "x, y and z are whole numbers from 0 to 255, as colours or labels are",
            file=path,
            kind=Kind.VALUE,
            remedy="Pass the file with the points, as float32.",
        )


def _colors_first(columns: list[Column]) -> bool:
    """Whether whole numbers from 0 to 255 precede numbers that are not colours."""
    bytes_first = all(one.kind == "0-255" and one.high > 20 for one in columns[:3])
    return bytes_first and not any(one.whole or one.kind == "0-255" for one in columns[3:])


def _are_normals(vectors: Array) -> bool:
    """Whether most of (N, 3) have length 1. Rows of length 0 are unknown normals."""
    lengths = np.linalg.norm(vectors, axis=1)
    known = lengths[lengths > 0]
    return len(known) > 0.5 * len(lengths) and float((np.abs(known - 1) < _UNIT).mean()) > _MOSTLY


def _are_colors(rows: Array, columns: list[Column], first: int) -> bool:
    """Whether three columns from `first` have one range, vary, and repeat no coordinate."""
    three = columns[first : first + 3]
    kinds = {column.kind for column in three}
    if None in kinds or not kinds <= ({"0-1"} if "0-1" in kinds else {"0-255", "0-65535"}):
        return False
    if "0-1" in kinds and all(column.whole for column in three):
        return False
    if not _are_alike(three, _DIMMEST):
        return False
    varying = [i for i in range(first, first + 3) if _varies(columns[i])]
    if len(varying) < 2:
        return False
    return not any(_repeats(rows[:, k], rows[:, i]) for i in varying for k in range(3))


def _varies(column: Column) -> bool:
    return column.low < column.high


def _are_alike(columns: list[Column], least: float) -> bool:
    highs = [column.high for column in columns]
    return min(highs) >= least * max(highs)


def _repeats(a: Array, b: Array) -> bool:
    spread = a.std() * b.std()
    return bool(spread > 0 and abs(((a - a.mean()) * (b - b.mean())).mean() / spread) > _SAME)


def _unexplained(columns: list[Column], normals: list[int]) -> tuple[int, ...]:
    """The first three adjacent columns that are neither normals, nor constant, nor labels."""
    known = {i + n for i in normals for n in range(3)}
    known |= {i for i, one in enumerate(columns) if one.whole or one.low == one.high}
    for i in range(3, len(columns) - 2):
        if not known & {i, i + 1, i + 2}:
            return (i, i + 1, i + 2)
    return ()


def _reason(
    columns: list[Column], colors: tuple[int, ...], normals: list[int], kind: Column | None
) -> str:
    parts = []
    if kind is not None:
        low = min(columns[i].low for i in colors)
        high = max(columns[i].high for i in colors)
        parts.append(f"columns {_listed(colors)} span {low:.3g} to {high:.3g}, as colours do")
    parts += [f"columns {_listed((i, i + 1, i + 2))} are normals of length 1" for i in normals]
    used = {*range(3), *colors, *(i + n for i in normals for n in range(3))}
    rest = [
        f"column {i + 1} ({one.low:.3g} to {one.high:.3g}) is not used"
        for i, one in enumerate(columns)
        if i not in used
    ]
    return "; ".join([*parts, *rest, "see --columns"])
