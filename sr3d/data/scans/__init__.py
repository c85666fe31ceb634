"""Scans from every common kind of file, in any unit, with any axis up."""

from sr3d.data.scans.any_file import Scan, ScanOptions, read_scan
from sr3d.data.scans.content import Fact, Mark
from sr3d.data.scans.frame import Frame
from sr3d.data.scans.listing import KINDS, check_kind, find_scans

__all__ = [
    "KINDS",
    "Fact",
    "Frame",
    "Mark",
    "Scan",
    "ScanOptions",
    "check_kind",
    "find_scans",
    "read_scan",
]
