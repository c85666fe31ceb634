"""What is told of scans on the command line: options that `detect` and `prepare folder` share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sr3d.cli.arguments import VerbParser, real

if TYPE_CHECKING:
    from sr3d.data.scans import Reading


def add_scan_options(verb: argparse.ArgumentParser) -> None:
    scan = verb.add_argument_group("what is told of the scans, instead of found")
    scan.add_argument("--up", metavar="AXIS", help="x, y, z, -x, -y, -z or a direction X,Y,Z")
    scan.add_argument("--unit", metavar="UNIT", help="m, cm, mm, ft or in")
    scan.add_argument(
        "--colors", metavar="RANGE", help="0-1, 0-255, 0-65535, or none to leave them out"
    )
    scan.add_argument(
        "--columns", metavar="COLUMNS",
        help="of .bin, .npy and text files, a letter a column, such as xyz_rgb (_ is left out); or "
        "how many values a point of a .bin file has",
    )  # fmt: skip
    scan.add_argument("--dtype", metavar="TYPE", help="of .bin files, float32 or float64")
    scan.add_argument(
        "--intrinsics", nargs=4, type=real(-1e6, 1e6), metavar=("FX", "FY", "CX", "CY"),
        help="of depth images, in pixels",
    )  # fmt: skip
    scan.add_argument(
        "--depth-scale",
        type=real(0, 1e9, above=True),
        metavar="N",
        help="a depth image's values of a metre (1000)",
    )
    scan.add_argument(
        "--density",
        type=real(0, 1e6, above=True),
        metavar="N",
        help="points a square metre of a mesh (500)",
    )
    if isinstance(verb, VerbParser):
        verb.signed = ("--up",)


def reading_of(args: argparse.Namespace) -> Reading:
    """The options that were given."""
    from sr3d.data.scans import Reading

    told = {
        name: getattr(args, name)
        for name in ("up", "unit", "colors", "columns", "dtype", "depth_scale", "density")
    }
    if args.intrinsics is not None:
        told["intrinsics"] = tuple(args.intrinsics)
    return Reading(**{name: value for name, value in told.items() if value is not None})
