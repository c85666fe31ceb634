"""Options that describe scans, shared by `detect` and `prepare folder`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sr3d.cli.arguments import VerbParser, real

if TYPE_CHECKING:
    from sr3d.data.scans import ScanOptions


def add_scan_options(verb: argparse.ArgumentParser) -> None:
    scan = verb.add_argument_group("properties of the scans (found from the files by default)")
    scan.add_argument(
        "--up", metavar="AXIS", help="up axis: x, y, z, -x, -y, -z or a direction X,Y,Z"
    )
    scan.add_argument("--unit", metavar="UNIT", help="length unit: m, cm, mm, ft or in")
    scan.add_argument(
        "--colors", metavar="RANGE",
        help="range of the colours: 0-1, 0-255 or 0-65535. none ignores the colours",
    )  # fmt: skip
    scan.add_argument(
        "--columns", metavar="COLUMNS",
        help="columns of .bin, .npy and text files, one letter each, such as xyz_rgb (_ skips a "
        "column). Or the number of values per point in a .bin file",
    )  # fmt: skip
    scan.add_argument(
        "--dtype", metavar="TYPE", help="number type of .bin files: float32 or float64"
    )
    scan.add_argument(
        "--intrinsics", nargs=4, type=real(-1e6, 1e6), metavar=("FX", "FY", "CX", "CY"),
        help="camera intrinsics of depth images, in pixels",
    )  # fmt: skip
    scan.add_argument(
        "--depth-scale", type=real(0, 1e9, above=True), metavar="N",
        help="depth values per metre in depth images (default: 1000)",
    )  # fmt: skip
    scan.add_argument(
        "--density", type=real(0, 1e6, above=True), metavar="N",
        help="points sampled per square metre of a mesh (default: 500)",
    )  # fmt: skip
    if isinstance(verb, VerbParser):
        verb.signed = ("--up",)


def scan_options(args: argparse.Namespace) -> ScanOptions:
    """The scan options of the command line."""
    from sr3d.data.scans import ScanOptions

    told = {
        name: getattr(args, name)
        for name in ("up", "unit", "colors", "columns", "dtype", "depth_scale", "density")
    }
    if args.intrinsics is not None:
        told["intrinsics"] = tuple(args.intrinsics)
    return ScanOptions(**{name: value for name, value in told.items() if value is not None})
