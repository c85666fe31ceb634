"""Drops and counts points that are not measurements. Refuses impossible scans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from sr3d.data.scans.content import Array, Cloud, Content, Fact, Mark, Mesh, Paint, bounds
from sr3d.errors import InputError, Kind

FEWEST = 100  # minimum number of points of a scan
SMALLEST, LARGEST = 0.1, 200.0  # metres, limits of the longest side of a scan

_PLACEHOLDER = 1e10  # no coordinate on Earth reaches it, not even in millimetres
_KEPT = 0.05  # minimum share of the points that remains
_FEW = 0.05  # maximum share of the points that are far outside
_FEW_VALUES = 3  # maximum number of different placeholders
_FAR = 25.0  # far outside, as a multiple of the length of the middle half of the points
_ZEROS = 10  # this many points at exactly 0, 0, 0 are no coincidence
_LINE = 1e-4  # maximum ratio of the second width to the first, for points on a line
_UNCOLORED = 0.05  # maximum share of the points without a colour
_COARSE, _TOO_COARSE = 0.02, 0.1  # metres, step of a grid on which all points lie
_STEPS = 4  # minimum number of different values of a grid
_AGAIN = "Scan or export it again."
_MANY, _SOME = 1000, 100_000  # minimum number of points for the grid check, and number examined


def drop_unmeasured(
    content: Content, path: Path, *, colored: bool = True
) -> tuple[Content, list[Fact]]:
    """The content without points that are NaN, infinite, a placeholder, or far from all others, and
    facts about the dropped points.

    colored: whether the colours will be used. If so, points without a colour are dropped too. If
    many points lack a colour, all colours are dropped instead.

    Raises:
        InputError: the scan has no points, or hardly any point remains.
    """
    parts, facts = list(content.parts), list[Fact]()
    total = sum(len(_places(part)) for part in parts)
    if total == 0:
        raise InputError("has no points", file=path, kind=Kind.EMPTY, remedy=_AGAIN)

    def drop(bad: Callable[[Cloud | Mesh], Array | None], why: str) -> None:
        count = 0
        for i, part in enumerate(parts):
            out = bad(part)
            if out is not None and out.any():
                count += int(out.sum())
                parts[i] = _without(part, out)
        if count:
            facts.append(Fact("left out", f"{count:,} of {total:,} points", why))
        left = sum(len(_places(part)) for part in parts)
        if count and left < max(_KEPT * total, 1):
            raise InputError(
                f"{total - left:,} of {total:,} points are not measurements ({why})",
                file=path,
                kind=Kind.VALUE,
                remedy=_AGAIN,
            )

    drop(_unmeasured, "NaN, infinity or a placeholder beyond 1e10")
    drop(_zeros, "at exactly 0, 0, 0, as if nothing was measured")
    if (outside := _far_outside(parts)) is not None:
        low, high = outside
        drop(lambda part: _beyond(part, low, high), "far from all others")
    if colored:
        missing = [_uncolored(part) for part in parts]
        count = sum(int(out.sum()) for out in missing if out is not None)
        if count > _UNCOLORED * total:
            parts = [_bare(part) for part in parts]
            why = f"{count:,} of {total:,} points have NaN ({content.color_source})"
            facts.append(Fact("colours", "none", f"{why}, so the colours are lost"))
        elif count:
            drop(_uncolored, "NaN for a colour")
    return replace(content, parts=parts), facts


def check_extent(points: Array, unit: str, scale: float, given: bool, path: Path) -> Fact | None:
    """Refuse a scan with implausible size in its unit. Return a fact if the user gave the unit, or
    if the scan has no height.

    points: (N, 3), a sample of the scan. scale: metres per unit. given: whether the user gave it.

    Raises:
        InputError: shorter than 10 cm, longer than 200 m, or all on one line.
    """
    low, high = np.percentile(points, 0.5, axis=0), np.percentile(points, 99.5, axis=0)
    longest = float((high - low).max()) * scale
    widths = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(points.T)), 0)) * scale
    if widths[1] < _LINE * widths[2]:
        raise InputError(
            "all points lie on a line or in one place",
            file=path,
            kind=Kind.VALUE,
            remedy="Export it again.",
        )
    if SMALLEST <= longest <= LARGEST:
        flat = widths[0] < _LINE * widths[2]
        plane = Fact("size", f"{longest:.3g} m", "all points lie in one plane", (Mark.FLAT,))
        return plane if flat else None
    size = f"{longest:.3g} m long in {unit}"
    if given:
        return Fact("size", size, "implausible for a room, but the unit is given", (Mark.GIVEN,))
    remedy = "Give --unit if it is not in metres."
    if longest > LARGEST:
        remedy += " Otherwise cut out the rooms."
    raise InputError(
        f"the scan is {size}, which is implausible", file=path, kind=Kind.VALUE, remedy=remedy
    )


def check_grid(points: Array, scale: float, path: Path) -> Fact | None:
    """Refuse points on a grid of 10 cm or more, and return a fact about a grid of 2 cm or more.

    Survey coordinates, millions of metres from zero, lose digits in float32.

    Raises:
        InputError: the grid is too coarse for any object.
    """
    points = points[:: max(1, len(points) // _SOME)].astype(np.float64)
    if len(points) < _MANY:
        return None
    steps = [_step(points[:, axis]) * scale for axis in range(3)]
    step, axis = max(steps), "xyz"[int(np.argmax(steps))]
    if step < _COARSE:
        return None
    if step < _TOO_COARSE:
        return Fact("grid", f"{step:.3g} m", f"along {axis}, so smaller objects are lost")
    far = np.abs(points).max() * scale > 10_000
    cause = ", because large coordinates lose digits in float32" if far else ""
    raise InputError(
        f"all points lie on a grid of {step:.3g} m along {axis}{cause}",
        file=path,
        kind=Kind.VALUE,
        remedy="Export coordinates as double, or subtract an offset first (a global shift in "
        "CloudCompare).",
    )


def check_count(points: Array, path: Path) -> None:
    """Refuse a handful of points.

    Raises:
        InputError: fewer than `FEWEST`.
    """
    if len(points) < FEWEST:
        raise InputError(
            f"has {len(points) or 'no'} points, and a scan needs at least {FEWEST}",
            file=path,
            kind=Kind.VALUE,
            remedy=_AGAIN,
        )


def _places(part: Cloud | Mesh) -> Array:
    return part.points if isinstance(part, Cloud) else part.vertices


def _unmeasured(part: Cloud | Mesh) -> Array | None:
    places = _places(part)
    if len(places) == 0 or np.issubdtype(places.dtype, np.integer):
        return None
    limit = min(_PLACEHOLDER, float(np.finfo(places.dtype).max))
    if (np.abs(bounds(places)) < limit).all():
        return None
    with np.errstate(invalid="ignore"):
        return np.logical_not(np.all(np.abs(places) < limit, axis=1))


def _zeros(part: Cloud | Mesh) -> Array | None:
    if isinstance(part, Mesh):
        return None
    places = part.points
    some = np.flatnonzero(places[:, 0] == 0)
    some = some[(places[some, 1] == 0) & (places[some, 2] == 0)]
    if len(some) < _ZEROS or len(some) == len(places):
        return None
    out = np.zeros(len(places), dtype=bool)
    out[some] = True
    return out


def _far_outside(parts: list[Cloud | Mesh]) -> tuple[Array, Array] | None:
    """The box of all but a few stray points. None if there are no stray points."""
    places = [_places(part) for part in parts if len(_places(part))]
    if not places:
        return None
    every = sum(map(len, places))
    some = np.concatenate([each[:: max(1, every // _SOME)] for each in places]).astype(np.float64)
    starts, lengths = zip(*(_middle_half(some[:, axis]) for axis in range(3)), strict=True)
    middle, reach = np.array(starts) + np.array(lengths) / 2, _FAR * max(lengths)
    low, high = middle - reach, middle + reach
    limits = [bounds(each) for each in places]
    inside = all((least >= low).all() and (most <= high).all() for least, most in limits)
    if inside or reach == 0:
        return None
    stray = np.concatenate([each[_outside(each, low, high)] for each in places])
    if len(stray) <= _FEW * every or len(np.unique(stray, axis=0)) <= _FEW_VALUES:
        return low, high
    return None


def _middle_half(values: Array) -> tuple[float, float]:
    """The start and the length of the shortest interval that holds half of the values."""
    ordered = np.sort(values)
    half = (len(ordered) + 1) // 2
    lengths = ordered[half - 1 :] - ordered[: len(ordered) - half + 1]
    best = int(np.argmin(lengths))
    return float(ordered[best]), float(lengths[best])


def _beyond(part: Cloud | Mesh, low: Array, high: Array) -> Array:
    return _outside(_places(part), low, high)


def _outside(places: Array, low: Array, high: Array) -> Array:
    """(N,) mask of the (N, 3) outside a box. NaN is outside."""
    return np.logical_not(np.all((places >= low) & (places <= high), axis=1))


def _uncolored(part: Cloud | Mesh) -> Array | None:
    if isinstance(part, Mesh) or part.colors is None or part.colors.dtype.kind != "f":
        return None
    if np.isfinite(part.colors.sum()):
        return None
    return np.logical_not(np.all(np.isfinite(part.colors), axis=1))


def _bare(part: Cloud | Mesh) -> Cloud | Mesh:
    return replace(part, colors=None) if isinstance(part, Cloud) else part


def _without(part: Cloud | Mesh, out: Array) -> Cloud | Mesh:
    """A part without some of its points or vertices, and without the faces on them."""
    kept = ~out
    if isinstance(part, Cloud):
        return Cloud(part.points[kept], None if part.colors is None else part.colors[kept])
    faces = np.flatnonzero(kept[part.faces].all(axis=1))
    moved = np.cumsum(kept) - 1
    colors = part.vertex_colors
    return Mesh(
        part.vertices[kept],
        moved[part.faces[faces]],
        None if part.paint is None else _of_faces(part.paint, faces),
        None if colors is None else colors[kept],
    )


def _of_faces(paint: Paint, faces: Array) -> Paint:
    """The paint of some faces of a mesh."""
    return lambda index, weights: paint(faces[index], weights)


def _step(values: Array) -> float:
    """The step of the grid of the values, 0 if they are on no grid."""
    places = np.unique(values)
    gaps = np.diff(places)
    if len(places) <= _STEPS:
        return 0.0
    least = float(gaps.min())
    multiples = gaps / least
    return least if np.abs(multiples - np.round(multiples)).max() < 0.01 else 0.0
