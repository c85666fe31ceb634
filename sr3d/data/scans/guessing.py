"""Infers the up axis of a scan, its unit, and the range of its colours.

The usual value is kept unless the scan clearly contradicts it.
"""

from __future__ import annotations

import numpy as np

from sr3d.data.scans.content import Array, Fact, Mark, bounds
from sr3d.data.scans.frame import UNITS, turn_upright
from sr3d.errors import InputError, Kind

ROOM = (2.0, 60.0)  # metres, the longest side of a room or a floor
_HEIGHT = (1.0, 15.0)  # metres, height of a scan in centimetres or millimetres
_CORE = 0.5  # metres, minimum length of the middle half of such a scan
_STOREY = 2.6
_TALL = 6.0  # metres. A scan in metres that is higher may be a room in feet
_LOW_ROOM = (2.0, 4.0)  # metres, the height of a room with one storey

_CELLS = 30  # number of grid cells along the middle extent
_FEWEST = 5  # minimum number of points of a cell that shows a surface
_FLAT = 0.02  # maximum thickness of a flat piece relative to its second extent, both squared
_ALONG = 0.95  # cosine between the normal of a piece and the axis that it faces
_ENOUGH = 0.15  # share of pieces that must face an axis for their heights to have full weight
_CLEAR = 0.5  # minimum lead of the best direction
_LEANING = 2.0  # degrees, a floor that leans more is reported
_STEEP = 35.0  # degrees, no floor leans more
_NEAR, _AGREE = 6.0, 0.5  # degrees from the floor's direction, and share of the pieces within them

_BLACK = 0.2  # a larger share of black points is reported
_LOOKED_AT = 100_000  # number of points that are examined

_ROUNDING = 1e-6

COLOR_RANGES = {"0-1": 1.0, "0-255": 255.0, "0-65535": 65535.0}


def find_up(points: Array, usual: str) -> Fact:
    """The up axis of (N, 3) points, with its sign. `usual` if no axis leads clearly.

    In a scanned room, surfaces that face up lie low: the floor and furniture. Scanners seldom see
    ceilings, and walls come in pairs. A room is lower than it is long or wide.
    """
    low, high = np.percentile(points, 0.5, axis=0), np.percentile(points, 99.5, axis=0)
    extent = np.maximum(high - low, 1e-12)
    centers, normals = _pieces(points, float(np.median(extent)) / _CELLS)
    scores = {}
    for axis, name in enumerate("xyz"):
        facing = np.abs(normals[:, axis]) > _ALONG
        share = float(facing.mean()) if len(facing) else 0.0
        height = (centers[facing, axis] - low[axis]) / extent[axis]
        lower = 2 * float((height < 0.5).mean()) - 1 if len(height) else 0.0
        spread = 2 * (2 * float(((points[:, axis] - low[axis]) / extent[axis] < 0.5).mean()) - 1)
        sided = lower * min(share / _ENOUGH, 1) + spread / 2
        score = abs(sided) + 2 * (1 - extent[axis] / extent.mean()) + share / 4
        scores[name if sided >= 0 else f"-{name}"] = float(score)
    best, second = sorted(scores, key=lambda name: -scores[name])[:2]
    lead = scores[best] - scores[second]
    if lead < _CLEAR and best != usual:
        why = f"usual. The scan is ambiguous ({best} leads by {lead:.2f}). If wrong, set --up"
        return Fact("up", usual, why)
    if best != usual:
        return Fact("up", best, f"floors and tables face it (lead {lead:.2f}). If wrong, set --up")
    return Fact(
        "up", best, f"usual, and the scan agrees{'' if lead >= _CLEAR else ', but not clearly'}"
    )


def _pieces(points: Array, cell: float) -> tuple[Array, Array]:
    """Flat pieces of the surface in a grid: centres (M, 3) and normals (M, 3)."""
    cells = np.floor((points - points.min(axis=0)) / max(cell, 1e-12)).astype(np.int64)
    size = cells.max(axis=0) + 1
    key = (cells[:, 0] * size[1] + cells[:, 1]) * size[2] + cells[:, 2]
    _, own, count = np.unique(key, return_inverse=True, return_counts=True)
    total = len(count)
    center = np.stack([np.bincount(own, points[:, i], total) for i in range(3)], 1) / count[:, None]
    offset = points - center[own]
    spread = np.empty((total, 3, 3))
    for i in range(3):
        for j in range(3):
            spread[:, i, j] = np.bincount(own, offset[:, i] * offset[:, j], total) / count
    many = count >= _FEWEST
    lengths, axes = np.linalg.eigh(spread[many])
    flat = lengths[:, 0] < _FLAT * lengths[:, 1]
    return center[many][flat], axes[flat][:, :, 0]


def find_tilt(points: Array, up: str) -> Fact | None:
    """The angle between the floor of (N, 3) points and the horizontal, if clear, and the remedy.

    Floors, table tops and ceilings share one direction. Walls are far from it.
    """
    turn = turn_upright(up)
    upright = points @ turn.T
    extent = np.percentile(upright, 99.5, axis=0) - np.percentile(upright, 0.5, axis=0)
    _, normals = _pieces(upright, max(float(np.median(extent)), 1e-12) / _CELLS)
    normals = np.where(normals[:, 2:] < 0, -normals, normals)
    facing = normals[normals[:, 2] > np.cos(np.radians(_STEEP))]
    if len(facing) < _ENOUGH * len(normals) or not len(facing):
        return None
    floor = np.median(facing, axis=0)
    floor /= np.linalg.norm(floor)
    lean = float(np.degrees(np.arccos(min(floor[2], 1.0))))
    agree = float((facing @ floor > np.cos(np.radians(_NEAR))).mean())
    if lean < _LEANING or agree < _AGREE:
        return None
    level = ",".join(f"{value:.3f}" for value in floor @ turn)
    why = f"the floor leans relative to the up axis {up}. To level the scan, give --up={level}"
    return Fact("tilt", f"{lean:.1f}°", why)


def find_unit(points: Array, up: str) -> Fact:
    """Metres, unless only centimetres or millimetres give a plausible room."""
    low, high = np.percentile(points, 0.5, axis=0), np.percentile(points, 99.5, axis=0)
    longest = float((high - low).max())
    core = float(np.subtract(*np.percentile(points, [75, 25], axis=0)).max())
    heights = points @ turn_upright(up)[2]
    height = float(np.subtract(*np.percentile(heights, [99.5, 0.5])))

    def fits(unit: str) -> bool:
        scale = UNITS[unit]
        room = ROOM[0] <= longest * scale <= ROOM[1]
        high = _HEIGHT[0] <= height * scale <= _HEIGHT[1]
        return room and (unit == "m" or (high and core * scale >= _CORE))

    fitting = [unit for unit in ("m", "cm", "mm") if fits(unit)]
    if "m" in fitting:
        why = f"the scan is {longest:.3g} long, as rooms are in metres"
        if height > _TALL and _LOW_ROOM[0] <= height * UNITS["ft"] <= _LOW_ROOM[1]:
            why += f". It is {height:.3g} high, as rooms are in feet. If so, give --unit ft"
        return Fact("unit", "m", why)
    if not fitting:
        other = next((unit for unit in ("in", "ft") if fits(unit)), None)
        size = f"usual. The scan is {longest:.3g} long and {height:.3g} high"
        if other is not None:
            return Fact("unit", "m", f"{size}, as rooms are in {other}. If so, give --unit {other}")
        return Fact("unit", "m", f"{size}, which is no room in any unit. If wrong, set --unit")
    unit = min(fitting, key=lambda unit: abs(np.log(height * UNITS[unit] / _STOREY)))
    size = f"the scan is {longest:.4g} long and {height:.4g} high"
    return Fact("unit", unit, f"{size}. If wrong, set --unit")


def find_colors(
    colors: Array | None, by_type: str | None, given: str | None, path: object, source: str = ""
) -> tuple[Array | None, Fact]:
    """Colours (N, 3) float32 in [0, 1], or None, and the range of the file's colours.

    source: the fields of the colours, or what the file has instead. If all points are grey, black
    or white, this is a program's default and counts as no colours.

    Raises:
        InputError: values outside the given range, or outside all ranges.
    """
    if given == "none":
        return None, Fact("colours", "none", "given", (Mark.GIVEN,))
    if colors is None:
        return None, Fact("colours", "none", f"{source or 'the file has none'}. Grey is used")
    lows, highs = bounds(colors)
    low, high = float(lows.min()), float(highs.max())
    if not np.isfinite([low, high]).all():
        raise InputError(
            "NaN or infinity",
            file=str(path),
            field="colours",
            kind=Kind.VALUE,
            remedy="Correct them, or give --colors none.",
        )
    if len(colors) > 1 and (same := _alike(lows, highs, by_type)):
        of = f" ({source})" if source else ""
        return None, Fact("colours", "none", f"{same}{of}. Grey is used")
    name, why = given or by_type, "given" if given else "from the data type"
    marks = [Mark.GIVEN] if given else []
    if name is None:
        why = f"they span {low:.3g} to {high:.3g}. If wrong, set --colors"
        name = next(
            (name for name, most in COLOR_RANGES.items() if high <= most * (1 + _ROUNDING)), None
        )
    most = COLOR_RANGES[name] if name else 0.0
    if low < -_ROUNDING * most or high > most * (1 + _ROUNDING):
        raise InputError(
            f"colours span {low:.3g} to {high:.3g}",
            file=str(path),
            kind=Kind.VALUE,
            remedy="Scale them to 0-1 or 0-255, or give --colors none.",
        )
    if source:
        why = f"{source} ({why})"
    some = colors[:: max(1, len(colors) // _LOOKED_AT)]
    if (black := float((~some.any(axis=1)).mean())) > _BLACK:
        why += f". {black:.0%} of the points are black, as if no camera saw them"
        marks.append(Mark.BLACK)
    if len(colors) > 1 and np.array_equal(lows, highs):
        why += ". All points have this one colour, as if a program filled it in"
        marks.append(Mark.ONE_COLOR)
    scaled = _scaled(colors, most)
    # Rounding may put a value a little outside.
    inside = scaled if low >= 0 and high <= most else scaled.clip(0, 1)
    return inside, Fact("colours", str(name), why, tuple(marks))


def _alike(lows: Array, highs: Array, by_type: str | None) -> str:
    """The reason if colours with this minimum and maximum count as none, else empty."""
    if not highs.any() and not lows.any():
        return "all points are black, as if colours were not recorded or were lost"
    if np.array_equal(lows, highs) and highs.min() == highs.max():
        return f"all points have the grey {highs[0]:g}, as if a program filled it in"
    if by_type == "0-255" and highs.max() <= 1:
        return "all bytes are 0 or 1, as if a program truncated colours from 0 to 1"
    return ""


def _scaled(colors: Array, most: float) -> Array:
    """(N, 3) float32 in [0, 1] from colours up to `most`."""
    if colors.dtype == np.uint8:
        return (np.arange(256) / most).astype(np.float32)[colors]
    return (colors / most).astype(np.float32, copy=False)
