"""LAS and LAZ, of laser scanners and surveys, through laspy."""

from __future__ import annotations

from pathlib import Path

import laspy
import numpy as np

from sr3d.data.scans.content import Cloud, Content, Fact


def read_las(path: Path) -> Content:
    """Coordinates are float64; colours have 16 bits, though many writers fill eight of them."""
    file = laspy.read(path)
    points = np.stack([np.asarray(file[axis]) for axis in "xyz"], axis=1)
    if not {"red", "green", "blue"} <= set(file.point_format.dimension_names):
        return Content([Cloud(points)])
    colors = np.stack([np.asarray(file[name]) for name in ("red", "green", "blue")], axis=1)
    if not colors.any():
        black = Fact("colours", "none", "all of them are black, as where none were taken")
        return Content([Cloud(points)], facts=[black])
    told = "0-65535" if colors.max() > 255 else "0-255"
    return Content([Cloud(points, colors)], color_range=told)
