"""Points and colours among named fields, under the names of every known writer.

PLY properties, PCD fields, structured arrays and the header lines of text files all name their
columns, each in its own way: `red`, `Red`, `scalar_red`, `diffuse_red`, `R`, packed `rgba`, or the
spherical harmonics `f_dc_*` of Gaussian splats.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sr3d.data.scans.content import Array, Cloud, Content, Fact, bounds, range_of_type
from sr3d.errors import InputError, Kind

_PLACES = (
    *((f"{before}x", f"{before}y", f"{before}z") for before in (
        "", "p", "pos", "position", "point", "points", "vertex", "coord", "coordinate",
    )),
    *((f"{before}0", f"{before}1", f"{before}2") for before in (
        "xyz", "points", "point", "pos", "position", "coord", "coords", "vertices",
    )),
    ("xcoord", "ycoord", "zcoord"),
    ("xcoordinate", "ycoordinate", "zcoordinate"),
    ("easting", "northing", "elevation"),
    ("easting", "northing", "height"),
)  # fmt: skip
_COLOR_WORDS = ("rgb", "rgba", "color", "colors", "colour", "colours")
_TRIPLES = (
    *((f"{before}red", f"{before}green", f"{before}blue") for before in (
        "", "diffuse", "vertex", "point", *_COLOR_WORDS, "ambient",
    )),
    *((f"{before}r", f"{before}g", f"{before}b") for before in (
        "", "diffuse", "col", "vertex", *_COLOR_WORDS, "ambient",
    )),
    *((f"{before}0", f"{before}1", f"{before}2") for before in _COLOR_WORDS),
)  # fmt: skip
_HARMONICS = (("fdc0", "fdc1", "fdc2"),)
_PACKED = (*_COLOR_WORDS, "packedcolor", "packedrgb", "rgbpacked")

_Y00 = 0.28209479177387814  # 1 / (2 √π), the constant spherical harmonic
_MOST_PACKED = 2**32
_SOME = 10_000  # number of values that are examined


def read_named(
    fields: Mapping[str, Array],
    path: Path,
    holder: str,
    text: bool = False,
    facts: Sequence[Fact] = (),
) -> Content:
    """Points and colours of named fields.

    fields: values (N,) or (N, k) by name, in the order of the file. holder: what the file calls
    the fields, for messages. text: whether the numbers were written as text, which loses the
    payload of a NaN. facts: what else was found in the file.

    Raises:
        InputError: no field has the coordinates.
    """

    def found(points: Array, colors: Array | None, span: str | None, source: str) -> Content:
        cloud = Cloud(points, colors)
        return Content([cloud], color_range=span, color_source=source, facts=list(facts))

    columns = _flat(fields)
    have = ", ".join(fields)
    known = {_normal(name): name for name in reversed(columns)}  # the first of equal names wins
    places = _find(_PLACES, known)
    if places is None:
        remedy = "Export the points with coordinates x, y and z."
        if "packedposition" in known:
            remedy = "These are compressed Gaussian splats. Export them uncompressed."
        raise InputError(
            f"{holder} {have} have no x, y and z", file=path, kind=Kind.VALUE, remedy=remedy
        )
    points = np.stack([columns[name] for name in places], axis=1)
    if points.dtype.kind not in "fiu":
        raise InputError(
            f"{holder} {', '.join(places)} hold {points.dtype}, not numbers",
            file=path,
            kind=Kind.VALUE,
            remedy="Export them as numbers.",
        )
    for triple, harmonics in ((_find(_TRIPLES, known), False), (_find(_HARMONICS, known), True)):
        if triple is None:
            continue
        source = f"{holder} {', '.join(triple)}"
        colors = np.stack([columns[name] for name in triple], axis=1)
        if harmonics:
            bright = (0.5 + _Y00 * colors.astype(np.float64)).clip(0, 1)
            return found(points, bright, "0-1", f"{source}, colours of Gaussian splats")
        return found(points, colors, range_of_type(colors.dtype), source)
    packed = next((known[name] for name in _PACKED if name in known), None)
    if packed is None:
        return found(points, None, None, f"the file has {have}")
    unpacked = unpack(columns[packed], text)
    if unpacked is None:
        return found(points, None, None, f"the file has {have}, and {packed} is not a colour")
    return found(points, unpacked, "0-255", f"{holder} {packed}, packed")


def unpack(values: Array, text: bool = False) -> Array | None:
    """Colours (N, 3) from (N,) packed as 0xAARRGGBB. None if the values are not packed colours.

    Floats hold the colour in their bits, as the Point Cloud Library writes them, or as a whole
    number, as many scripts do. A NaN that marks a missing colour gives a colour of NaN. text: every
    NaN marks a missing colour, because text keeps no payload of a NaN.
    """
    bits, lost = values, np.zeros(0, dtype=np.intp)
    if values.dtype.kind == "f" and _whole(values):
        lost = np.flatnonzero(~np.isfinite(values))
        bits = np.where(np.isfinite(values), values, 0)
    elif values.dtype.kind == "f":
        bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
        # Every colour with alpha 255 and red of at least 128 is a NaN.
        lost = np.flatnonzero(np.isnan(values) if text else _no_colors(bits))
    elif values.dtype.kind not in "iu":
        return None
    parts = bits.astype("<u4").view(np.uint8).reshape(-1, 4)  # blue, green, red, alpha
    colored = np.delete(parts, lost, axis=0) if len(lost) else parts
    if len(colored):
        low, high = bounds(colored)
        if low[0] == high[0] == 255 and low[3] < high[3]:  # 0xRRGGBBAA
            parts = parts[:, [1, 2, 3, 0]]
        elif (high[0] and not high[1:].any()) or not _has_alpha(colored[:, 3]):
            return None
    colors = parts[:, 2::-1]
    if len(lost) == 0:
        return colors
    known = colors.astype(np.float64)
    known[lost] = np.nan
    return known


def different(names: Sequence[str]) -> list[str]:
    """The names, with a number after repeated ones: `label`, `label 2`."""
    return [
        f"{name} {names[: i + 1].count(name)}" if name in names[:i] else name
        for i, name in enumerate(names)
    ]


def _no_colors(bits: Array) -> Array:
    """(N,) mask: NaN as numpy or C write it for unmeasured values, or infinity."""
    plain = (bits == 0x7FC00000) | (bits == 0x7F800000)
    # The NaN of x86 is also dark red with an alpha of 255, if all colours have that alpha.
    other = bits == 0xFFC00000
    opaque = (bits >> 24 == 255) & ~other
    return plain if 2 * opaque.sum() > len(bits) - other.sum() else plain | other


def _has_alpha(values: Array) -> bool:
    """Whether the fourth byte is 0 or 255 in nearly all values, as an alpha is."""
    some = values[:: max(1, len(values) // _SOME)]
    return float(((some == 0) | (some == 255)).mean()) > 0.95


def _whole(values: Array) -> bool:
    """Whether floats hold packed colours as whole numbers, not in their bits."""
    some = values[:: max(1, len(values) // _SOME)]
    some = some[np.isfinite(some)].astype(np.float64)
    return bool(
        some.size
        and some.max() >= 1
        and some.min() >= 0
        and some.max() < _MOST_PACKED
        and np.array_equal(some, np.floor(some))
    )


def _flat(fields: Mapping[str, Array]) -> dict[str, Array]:
    """Columns (N,) by name. A field of several values gives `name0`, `name1`, …"""
    columns: dict[str, Array] = {}
    for name, values in fields.items():
        if values.ndim == 1:
            columns[name] = values
        elif values.ndim == 2 and values.shape[1] == 1:
            columns[name] = values[:, 0]
        elif values.ndim == 2:
            columns.update({f"{name}{i}": column for i, column in enumerate(values.T)})
    return columns


def _normal(name: str) -> str:
    """`scalar_Red [8 bit]` is `red`, `Points:0` is `points0`."""
    bare = re.sub(r"[(\[].*", "", name.lower())
    return re.sub(r"[^a-z0-9]", "", bare).removeprefix("scalar")


def _find(
    candidates: Sequence[tuple[str, ...]], known: Mapping[str, str]
) -> tuple[str, ...] | None:
    return next(
        (tuple(known[name] for name in some) for some in candidates if set(some) <= known.keys()),
        None,
    )
