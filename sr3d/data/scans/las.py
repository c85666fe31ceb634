"""LAS and LAZ, of laser scanners and surveys, through laspy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import laspy
import numpy as np

from sr3d.data.scans.content import Array, Cloud, Content, Fact
from sr3d.data.scans.las_units import unit_of
from sr3d.errors import InputError

_FEW = 0.001  # share of points whose colours may be beyond 8 bits by mistake
_NOISE = (7, 18)  # classes of low and high noise
_FULL = 4096  # what the brightest points of a file with 16 bits exceed, even of a dark room


def read_las(path: Path, colors: str | None = None, unit: str | None = None) -> Content:
    """Coordinates are float64; colours have 16 bits, though many writers fill eight of them.

    colors, unit: what the owner tells of the file, which then is not looked for in it.

    Raises:
        InputError: the file's coordinate system is in degrees, or its plan and its heights are in
            different units; or its colours have neither 8 nor 16 bits clearly.
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
        black = Fact("colours", "none", "all of them are black, as where none were taken")
        return Content([Cloud(points)], facts=[*notes, black], **how)
    if colors not in (None, "0-255"):
        return Content([Cloud(points, shades)], facts=notes, **how)
    shades, most, facts = _cut(shades) if colors else _bits(shades, path)
    return Content([Cloud(points, shades)], color_range=most, facts=[*notes, *facts], **how)


def _bits(shades: Array, path: Path) -> tuple[Array, str, list[Fact]]:
    """Colours with what they range over. A few beyond 8 bits are cut to these."""
    brightest = shades.max(axis=1)
    beyond = int((brightest > 255).sum())
    if beyond <= max(1, _FEW * len(shades)) and beyond < len(shades) / 2:
        return _cut(shades)
    if np.quantile(brightest, 0.99) < _FULL:
        raise InputError(
            f"{path}: colours reach {int(brightest.max())}, so they have neither 8 bits nor 16; "
            "give --colors 0-255 or 0-65535 for what they range over, or none"
        )
    return shades, "0-65535", []


def _cut(shades: Array) -> tuple[Array, str, list[Fact]]:
    """Colours of 8 bits, and a fact where some are brighter."""
    beyond = int((shades > 255).any(axis=1).sum())
    why = f"{beyond} of {len(shades)} points are brighter than 255, the others have 8 bits"
    facts = [Fact("cut to 255", f"{beyond} colours", why)] if beyond else []
    return shades.clip(0, 255), "0-255", facts
