"""LAS and LAZ, the formats of laser scanners and surveys, read through laspy.

The unit of the coordinates comes from their coordinate system, as WKT or as GeoTIFF keys.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import laspy
import numpy as np

from sr3d.data.scans.content import Array, Cloud, Content, Fact
from sr3d.data.scans.frame import UNITS
from sr3d.errors import InputError, Kind

_FEW = 0.001  # maximum share of points whose colours exceed 8 bits by mistake
_NOISE = (7, 18)  # classes of low and high noise
_FULL = 4096  # the brightest points of a file with 16 bits exceed this, even of a dark room

_REMEDY = "Transform it to a projected system in one unit, or give --unit."
_CLOSE = 1e-4  # relative difference between the survey feet of several countries and the foot
_MODEL, _GEOGRAPHIC = 1024, 2  # GTModelTypeGeoKey, and its value for longitude and latitude
_LINEAR, _VERTICAL, _SYSTEM = 3076, 4099, 3072  # keys of the units and of the coordinate system
_EPSG = {9001: 1.0, 9002: 0.3048, 9003: 0.3048006096, 1025: 0.001, 1033: 0.01, 9005: 0.3047972654}
_UNIT = re.compile(r'(?<![A-Z])(?:LENGTH)?UNIT\s*[\[(]\s*"[^"]*"\s*,\s*([-+.\deE]+)')
_HEAD = re.compile(r"\s*(?:(?:COMPD_CS|COMPOUNDCRS|BOUNDCRS)\s*[\[(].*?)?"
                   r"(PROJCS|PROJCRS|PROJECTEDCRS|GEOGCS|GEOGCRS|GEOGRAPHICCRS|GEODCRS|GEODETICCRS"
                   r"|GEOCCS|LOCAL_CS|ENGCRS|ENGINEERINGCRS)\s*[\[(]", re.DOTALL)  # fmt: skip
_VERTICAL_HEAD = re.compile(r"\b(?:VERT_CS|VERTCRS|VERTICALCRS)\s*[\[(]")
_DEGREES = ("GEOGCS", "GEOGCRS", "GEOGRAPHICCRS", "GEODCRS", "GEODETICCRS")


def read_las(path: Path, colors: str | None = None, unit: str | None = None) -> Content:
    """Coordinates are float64. Colours have 16 bits, but many writers use only eight of them.

    colors, unit: given by the user. The file is then not searched for them.

    Raises:
        InputError: the coordinate system is in degrees, its plan and its heights have different
            units, or its colours clearly have neither 8 nor 16 bits.
    """
    file = laspy.read(path)
    points = np.stack([np.asarray(file[axis]) for axis in "xyz"], axis=1)
    found, why = (None, "") if unit else unit_of(file.header, path)
    how: dict[str, Any] = {"unit": found, "why_unit": why} if found else {}
    notes = [Fact("coordinate system", "without a unit", why)] if why and not found else []
    kept = ~(np.isin(file.classification, _NOISE) | np.asarray(file.withheld, dtype=bool))
    if kept.any() and not kept.all():
        flagged = "the file marks them as noise or as withheld"
        notes.append(Fact("left out", f"{(~kept).sum():,} of {len(kept):,} points", flagged))
        points, file = points[kept], file[kept]
    if not {"red", "green", "blue"} <= set(file.point_format.dimension_names):
        return Content([Cloud(points)], facts=notes, **how)
    shades = np.stack([np.asarray(file[name]) for name in ("red", "green", "blue")], axis=1)
    if not shades.any():
        black = Fact("colours", "none", "all of them are black, as if none were recorded")
        return Content([Cloud(points)], facts=[*notes, black], **how)
    if colors not in (None, "0-255"):
        return Content([Cloud(points, shades)], facts=notes, **how)
    shades, most, facts = _cut(shades) if colors else _bits(shades, path)
    return Content([Cloud(points, shades)], color_range=most, facts=[*notes, *facts], **how)


def _bits(shades: Array, path: Path) -> tuple[Array, str, list[Fact]]:
    """Colours and their range. A few colours beyond 8 bits are cut to 255."""
    brightest = shades.max(axis=1)
    beyond = int((brightest > 255).sum())
    if beyond <= max(1, _FEW * len(shades)) and beyond < len(shades) / 2:
        return _cut(shades)
    if np.quantile(brightest, 0.99) < _FULL:
        raise InputError(
            f"colours reach {int(brightest.max())}, so they have neither 8 bits nor 16",
            file=path,
            kind=Kind.VALUE,
            remedy="Give their range with --colors 0-255 or 0-65535, or give --colors none.",
        )
    return shades, "0-65535", []


def _cut(shades: Array) -> tuple[Array, str, list[Fact]]:
    """Colours of 8 bits, and a fact if some were brighter."""
    beyond = int((shades > 255).any(axis=1).sum())
    why = f"{beyond} of {len(shades)} points are brighter than 255, the others have 8 bits"
    facts = [Fact("cut to 255", f"{beyond} colours", why)] if beyond else []
    return shades.clip(0, 255), "0-255", facts


def unit_of(header: Any, path: Path) -> tuple[str | None, str]:
    """The unit and its source. Without a unit: None, and the name of the coordinate system.

    Raises:
        InputError: the unit is degrees, or heights have another unit than the plan.
    """
    records = [*header.vlrs, *(header.evlrs or ())]
    for record in records:
        text = getattr(record, "string", None) or ""
        if re.match(r"\s*[A-Z_]+\s*[\[(]", text):
            return _of_lengths(*_from_wkt(text, path), path)
    for record in records:
        if keys := getattr(record, "geo_keys", None):
            return _from_keys(keys, path)
    return None, ""


def _from_wkt(text: str, path: Path) -> tuple[float | None, float | None, str]:
    """Metres per unit in plan and in height, None if unknown, and the name of the system."""
    named = re.search(r'"([^"]*)"', text)
    name = named.group(1) if named else "without a name"
    head = _HEAD.match(text)
    vertical = _VERTICAL_HEAD.search(text)
    plan = text[: vertical.start()] if vertical else text
    if head and head.group(1) in _DEGREES:
        raise _in_degrees(path, name)
    # The unit of a projected system comes after the unit of its angles.
    sizes = [size for size in map(float, _UNIT.findall(plan)) if not _is_angle(size)]
    height = [float(value) for value in _UNIT.findall(text[vertical.start() :])] if vertical else []
    return (sizes[-1] if sizes else None), (height[-1] if height else None), name


def _is_angle(size: float) -> bool:
    """Whether it is the number of radians in a degree or in a grad."""
    return any(math.isclose(size, math.pi / half, rel_tol=_CLOSE) for half in (180, 200))


def _from_keys(keys: Any, path: Path) -> tuple[str | None, str]:
    values = {key.id: key.value_offset for key in keys if key.tiff_tag_location == 0}
    name = f"EPSG:{values[_SYSTEM]}" if _SYSTEM in values else "of GeoTIFF keys"
    if values.get(_MODEL) == _GEOGRAPHIC:
        raise _in_degrees(path, name)
    known = _EPSG.get(values.get(_LINEAR, 0)), _EPSG.get(values.get(_VERTICAL, 0))
    return _of_lengths(*known, name, path)


def _of_lengths(
    plan: float | None, height: float | None, name: str, path: Path
) -> tuple[str | None, str]:
    if plan is None:
        return None, f"{name} does not give its unit, see --unit"
    if height is not None and not math.isclose(plan, height, rel_tol=_CLOSE):
        raise InputError(
            f"its coordinate system {name} has plans in units of {plan:g} m and heights in units "
            f"of {height:g} m",
            file=path,
            kind=Kind.CONFLICT,
            remedy=_REMEDY,
        )
    unit = next((u for u, size in UNITS.items() if math.isclose(plan, size, rel_tol=_CLOSE)), None)
    if unit is None:
        raise InputError(
            f"its coordinate system {name} has a unit of {plan:g} m, which is unknown",
            file=path,
            kind=Kind.UNKNOWN,
            remedy=_REMEDY,
        )
    return unit, f"of the file's coordinate system {name}"


def _in_degrees(path: Path, name: str) -> InputError:
    return InputError(
        f"its coordinate system {name} is in degrees of longitude and latitude",
        file=path,
        kind=Kind.VALUE,
        remedy=_REMEDY,
    )
