"""A scan from a file of any kind, upright and in metres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sr3d.data.scans.bare import TYPES
from sr3d.data.scans.content import Array, Content, Fact, Mark
from sr3d.data.scans.frame import UNITS, Frame, up_vector
from sr3d.data.scans.guessing import COLOR_RANGES, find_colors, find_tilt, find_unit, find_up
from sr3d.data.scans.listing import KINDS, check_kind
from sr3d.data.scans.sampling import all_points, some_points
from sr3d.data.scans.sanity import check_count, check_extent, check_grid, drop_unmeasured
from sr3d.errors import InputError, Kind

GREY = 0.5
DENSITY = 500.0  # about that of ScanNet's meshes, whose vertices detectors are trained on


@dataclass(frozen=True)
class ScanOptions:
    """The user's options for reading scans. None: the program infers the value.

    up: `z`, `-y`, … or a direction such as `0.1,-0.9,0`. unit: m, cm, mm, ft or in. colors: `0-1`,
    `0-255`, `0-65535`, or `none` to ignore them. columns: for files without column names, one
    letter per column: x, y, z, r, g, b, and any other letter for an ignored column, as in
    `xyz_rgb`. For BIN files, the number of values per point is enough. dtype: for BIN files,
    float32 or float64. intrinsics: fx, fy, cx, cy of a depth image. depth_scale: pixel values per
    metre. density: points per square metre of a mesh.
    """

    up: str | None = None
    unit: str | None = None
    colors: str | None = None
    columns: str | None = None
    dtype: str | None = None
    intrinsics: tuple[float, float, float, float] | None = None
    depth_scale: float | None = None
    density: float = DENSITY

    def __post_init__(self) -> None:
        if self.up is not None:
            up_vector(self.up)
        if self.unit is not None and self.unit not in UNITS:
            raise InputError(
                f"take {', '.join(UNITS)}", field=f"--unit {self.unit}", kind=Kind.VALUE
            )
        if self.colors is not None and self.colors not in (*COLOR_RANGES, "none"):
            raise InputError(
                f"take {', '.join(COLOR_RANGES)} or none",
                field=f"--colors {self.colors}",
                kind=Kind.VALUE,
            )
        if self.columns is not None:
            _check_columns(self.columns)
        if self.dtype is not None and self.dtype not in TYPES:
            raise InputError(
                f"take {' or '.join(TYPES)}", field=f"--dtype {self.dtype}", kind=Kind.VALUE
            )
        if not self.density > 0:
            raise InputError(
                "must be above 0", field=f"--density {self.density:g}", kind=Kind.VALUE
            )


def _check_columns(columns: str) -> None:
    if columns.isdecimal():
        if int(columns) < 3:
            raise InputError(
                "needs at least x, y and z", field=f"--columns {columns}", kind=Kind.VALUE
            )
        return
    counts = [columns.count(name) for name in "xyzrgb"]
    if counts not in ([1] * 6, [1, 1, 1, 0, 0, 0]):
        raise InputError(
            "needs x, y and z once each, and r, g and b once each or not at all",
            field=f"--columns {columns}",
            kind=Kind.VALUE,
            remedy="Write for example xyz_rgb, where _ stands for a column that is left out.",
        )


@dataclass(frozen=True)
class Scan:
    """points: (N, 3) float32 metres, z up. colors: (N, 3) float32 in [0, 1], None without.

    frame: the transform from the file's coordinates. facts: what was found, and why.
    """

    points: Array
    colors: Array | None
    frame: Frame
    facts: Sequence[Fact]

    def painted(self) -> Array:
        """Colours (N, 3), grey if the scan has none."""
        return np.full_like(self.points, GREY) if self.colors is None else self.colors


def read_scan(path: Path, options: ScanOptions = ScanOptions()) -> Scan:  # frozen
    """A scan from a file of any of `KINDS`. Nothing in the file is executed.

    Raises:
        InputError: names the file, the fault and the remedy.
    """
    if not path.is_file():
        raise InputError(
            "no such file",
            file=path,
            kind=Kind.MISSING,
            remedy=f"Pass a scan: {', '.join(KINDS)}.",
        )
    content, dropped = drop_unmeasured(
        _content(path, options), path, colored=options.colors != "none"
    )
    few = some_points(content)
    up = _up(content, few, options)
    unit = _unit(content, few, options, up.value)
    scale = UNITS[unit.value]
    cloud, source = all_points(content, options.density, scale)
    check_count(cloud.points, path)
    size = check_extent(few, unit.value, scale, options.unit is not None, path)
    grid = check_grid(cloud.points, scale, path)
    frame = Frame.of(cloud.points, up.value, unit.value)
    colors, color = find_colors(
        cloud.colors, content.color_range, options.colors, path, content.color_source
    )
    facts = [Fact("points", f"{len(cloud.points)}", source), *content.facts, *dropped, up, unit]
    tilt = None if options.up is not None else find_tilt(few, up.value)
    facts += [fact for fact in (tilt, size, grid) if fact is not None]
    if frame.origin.any():
        moved = ", ".join(f"{value:.0f}" for value in frame.origin)
        facts.append(Fact("origin", moved, "the scan is far from the origin and is moved there"))
    if not any(fact.name == color.name for fact in facts):
        facts.append(color)
    return Scan(frame.upright(cloud.points), colors, frame, tuple(facts))


def _content(path: Path, options: ScanOptions) -> Content:
    check_kind(path)
    kind = path.suffix.lower()
    try:
        match kind:
            case ".ply":
                from sr3d.data.scans.ply import read_ply

                return read_ply(path)
            case ".pcd":
                from sr3d.data.scans.pcd import read_pcd

                return read_pcd(path)
            case ".npy" | ".npz":
                from sr3d.data.scans.arrays import read_numpy

                return read_numpy(path, options.columns)
            case ".bin":
                from sr3d.data.scans.bare import read_bin

                return read_bin(path, options.columns, options.dtype)
            case ".obj":
                from sr3d.data.scans.obj import read_obj

                return read_obj(path)
            case ".gltf" | ".glb":
                from sr3d.data.scans.gltf import read_gltf

                return read_gltf(path)
            case ".las" | ".laz":
                from sr3d.data.scans.las import read_las

                return read_las(path, options.colors, options.unit)
            case ".png":
                from sr3d.data.scans.depth import read_depth_image

                return read_depth_image(path, options.intrinsics, options.depth_scale)
            case _:
                from sr3d.data.scans.text import read_text

                return read_text(path, options.columns)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # damaged bytes make parsers raise almost anything
        reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        raise InputError(
            f"not a readable {kind[1:].upper()} file ({reason})",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Copy it again if it is cut off, or export it again.",
        ) from None


def _up(content: Content, points: Array, options: ScanOptions) -> Fact:
    if options.up is not None:
        return Fact("up", options.up, "given", (Mark.GIVEN,))
    if content.sure:
        return Fact("up", content.up, content.why_up)
    return find_up(points, content.up)


def _unit(content: Content, points: Array, options: ScanOptions, up: str) -> Fact:
    if options.unit is not None:
        return Fact("unit", options.unit, "given", (Mark.GIVEN,))
    if content.unit is not None:
        return Fact("unit", content.unit, content.why_unit)
    return find_unit(points, up)
