"""Scans from every common kind of file, in any unit, with any axis up."""

from sr3d.data.scans.content import Fact, Mark
from sr3d.data.scans.frame import Frame
from sr3d.data.scans.listing import KINDS, check_kind, find_scans
from sr3d.data.scans.reading import Reading, Scan, read_scan

__all__ = [
    "KINDS",
    "Fact",
    "Frame",
    "Mark",
    "Reading",
    "Scan",
    "check_kind",
    "find_scans",
    "read_scan",
]
