"""BIN: rows of numbers without a header. Data type and number of columns must be inferred."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sr3d.data.scans.content import Array, Content, Fact
from sr3d.data.scans.table import read_table
from sr3d.errors import InputError, Kind

TYPES = {"float32": "<f4", "float64": "<f8"}

_WIDEST = 16  # maximum number of values per point
_JUDGED = 240_000  # number of values that are examined, from a few parts of the file
_RUNS = 8
_SANE = (1e-20, 1e8)  # magnitudes of coordinates, colours and times, except zero
_PLACEHOLDERS = (float(np.finfo(np.float32).max), 1e10)
_MOSTLY, _NEARLY_ALL = 0.99, 0.999  # shares of plausible values
_BINS = 64
_FEWEST = 30  # minimum number of values per bin, on average
_SAME = 0.95  # fewer columns are chosen if they have this share of the information of more
_CLEAR = 0.85  # every other width must have less than this share of the best information
_LEAST = 0.05  # minimum information, in bits, that a column gives about a value


def read_bin(path: Path, columns: str | None, dtype: str | None) -> Content:
    """Points, and colours if available, from a file without a header.

    columns: see `ScanOptions`. dtype: a key of `TYPES`. None infers it.

    Raises:
        InputError: the data type or the number of columns is ambiguous, or the file holds no
            points.
    """
    size = path.stat().st_size
    if size == 0:
        raise InputError("is empty", file=path, kind=Kind.EMPTY, remedy="Copy or export it again.")
    name, why = (dtype, "given by --dtype") if dtype else _find_type(path, size)
    step = np.dtype(TYPES[name]).itemsize
    given = None if columns is None else int(columns) if columns.isdecimal() else len(columns)
    if size % (step * (given or 1)):
        raise InputError(
            f"{size} bytes are no whole number of {f'points of {given} {name}' if given else name} "
            "values",
            file=path,
            kind=Kind.VALUE,
            remedy=f"{'Give other --columns. ' if given else ''}If the file is cut off, copy it "
            "again.",
        )
    values = np.memmap(path, dtype=TYPES[name], mode="r")
    width, reason = (given, "given by --columns") if given else _find_width(values, path)
    content = read_table(values.reshape(-1, width), path, columns)
    content.facts[:0] = [Fact("width", f"{width} {name} values a point", f"{why}, {reason}")]
    return content


def _find_type(path: Path, size: int) -> tuple[str, str]:
    """float32 or float64: the type that gives plausible numbers."""
    if size % 4:
        raise InputError(
            f"{size} bytes are no whole number of float32 values, so the file is cut off, or "
            "holds bytes such as labels",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Pass the file with the points.",
        )
    words = _some(np.memmap(path, dtype="<u4", mode="r"))
    if _whole_numbers(words):
        raise InputError(
            "holds whole numbers (int32 or int64), as label and mask files do, not points",
            file=path,
            kind=Kind.VALUE,
            remedy="Pass the file with the points.",
        )
    singles = _sanity(words.view("<f4"))
    if size % 8 == 0:
        halves = words[: len(words) // 2 * 2].reshape(-1, 2)
        doubles = _sanity(halves.view("<f8"))
        # A double that was converted from a float has 29 zero bits at its end.
        widened = bool(halves.any() and (halves[:, 0] & 0x1FFFFFFF == 0).all())
        if doubles > _NEARLY_ALL and (widened or singles < _MOSTLY):
            return "float64", f"{singles:.0%} of the values are plausible float32, all are float64"
    if singles < _MOSTLY:
        raise InputError(
            f"only {singles:.0%} of the values are plausible float32",
            file=path,
            kind=Kind.VALUE,
            remedy="Give --dtype float64 if they are doubles, or save the points as float32.",
        )
    return "float32", f"{singles:.0%} of the values are plausible"


def _whole_numbers(words: Array) -> bool:
    """Whether 32-bit words are small integers, or halves of small 64-bit integers."""
    signed = words.view("<i4")
    small = (signed >= -1_000_000) & (signed < 10_000_000)
    return bool(small.mean() > _MOSTLY and (signed > 0).any())


def _sanity(values: Array) -> float:
    """The share of numbers of plausible size, including markers of unmeasured values."""
    with np.errstate(invalid="ignore"):
        size = np.abs(values)
        marks = (size == 0) | ~np.isfinite(size) | np.isin(size, _PLACEHOLDERS)
        sane = marks | ((size > _SANE[0]) & (size < _SANE[1]))
    return float(sane.mean())


def _some(words: Array) -> Array:
    """Values from a few parts of the file. Each part begins at a multiple of every width."""
    length = _JUDGED // _RUNS
    if len(words) <= _JUDGED:
        return np.array(words)
    starts = [i * (len(words) - length) // (_RUNS - 1) // 720_720 * 720_720 for i in range(_RUNS)]
    return np.concatenate([words[start : start + length] for start in dict.fromkeys(starts)])


def _find_width(values: Array, path: Path) -> tuple[int, str]:
    """The number of values per point: with the right width, each column has one kind of value.

    The measure is the mutual information of a value and its column, in bits. Multiples of the right
    width have as much information. All other widths have less.

    Raises:
        InputError: the width does not divide the file, or none is clearly the right one.
    """
    ranks = _ranks(np.nan_to_num(_some(values)))
    bits = {width: _information(ranks, width) for width in range(1, _WIDEST + 1)}
    most = max(bits.values())
    best = next(width for width, value in bits.items() if value >= _SAME * most)
    rivals = {w: value for w, value in bits.items() if w % best}
    second = max(rivals, key=lambda width: rivals[width], default=best)
    if best < 3 or most < _LEAST or (rivals and rivals[second] >= _CLEAR * most):
        raise InputError(
            "the number of values per point is ambiguous",
            file=path,
            kind=Kind.VALUE,
            remedy="Give --columns, as a number or as one letter per column, such as xyzrgb.",
        )
    if len(values) % best:
        raise InputError(
            f"{best} values seem to make a point, but {len(values)} values are not a whole number "
            "of points",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Copy the file again if it is cut off, or give --columns.",
        )
    return best, f"{most:.2f} bits separate its columns, {rivals[second]:.2f} at any other width"


def _ranks(values: Array) -> Array:
    """The bin of each value. The bins hold equally many values if all values differ."""
    bins = int(min(_BINS, max(4, len(values) // (_FEWEST * _WIDEST))))
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right")


def _information(ranks: Array, width: int) -> float:
    """Bits of information that the column gives about a value, without small-sample bias."""
    ranks = ranks[: len(ranks) // width * width]
    bins = int(ranks.max()) + 1
    column = np.arange(len(ranks)) % width
    table = np.bincount(column * bins + ranks, minlength=width * bins)
    joint = table.reshape(width, bins) / len(ranks)
    expected = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    bits = float((joint[seen] * np.log2(joint[seen] / expected[seen])).sum())
    used = int((joint.sum(axis=0) > 0).sum())
    return bits - (width - 1) * (used - 1) / (2 * len(ranks) * np.log(2))
