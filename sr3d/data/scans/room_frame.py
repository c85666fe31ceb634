"""Scans in the frame of the training data: the floor at z = 0, walls along x and y."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sr3d.data.datasets import Dataset
from sr3d.data.readers.scannet import find_alignment
from sr3d.data.scans.any_file import Scan
from sr3d.data.scans.content import Array, Fact, Mark
from sr3d.errors import InputError, Kind
from sr3d.geometry.room import AT_ZERO, find_floor, find_walls

_ALONG = math.radians(2)  # training rotates scenes by more
_SCANNET = re.compile(r"scene\d{4}_\d{2}")


@dataclass(frozen=True)
class RoomOptions:
    """The user's options for a room. None: the program infers the value.

    walls: angle from x to a wall, in degrees counter-clockwise. 0 does not rotate the scan. floor:
    height of the floor in upright metres. 0 does not move the scan.
    """

    walls: float | None = None
    floor: float | None = None

    def __post_init__(self) -> None:
        for option, value in (("--walls", self.walls), ("--floor", self.floor)):
            if value is not None and not math.isfinite(value):
                raise InputError(f"{option} {value}: must be a finite number", kind=Kind.VALUE)


FIND = RoomOptions()


def into_room_frame(scan: Scan, path: Path, dataset: Dataset, room: RoomOptions = FIND) -> Scan:
    """The scan, rotated and moved like the scenes of a data set. Its `frame` has the way back.

    A detector of boxes with a yaw accepts walls in any direction, and only data sets with
    `floor_at_zero` need the floor. ScanNet's alignment file beside a scan takes precedence.

    Raises:
        InputError: an alignment file that cannot be read.
    """
    if not dataset.rotated and room == FIND:
        aligned = _by_scannet(scan, path)
        if aligned is not None:
            return aligned
    if not dataset.rotated:
        scan = _turned_to_walls(scan, room.walls)
    return _on_floor(scan, room.floor) if dataset.floor_at_zero else scan


def _by_scannet(scan: Scan, path: Path) -> Scan | None:
    """The scan aligned by `axisAlignment` of ScanNet's text file beside it. None if absent."""
    scene = _SCANNET.match(path.name)
    as_in_file = scan.frame.up == "z" and scan.frame.unit == "m" and not scan.frame.origin.any()
    if scene is None or not as_in_file:
        return None
    file = path.with_name(f"{scene.group()}.txt")
    matrix = find_alignment(file)
    if matrix is None:
        return None
    angle = math.atan2(matrix[0, 1], matrix[0, 0])
    fact = Fact("walls", _degrees(angle), f"axisAlignment of {file.name}. To ignore it: --walls 0")
    return _moved(scan, angle, matrix[:3, 3], fact)


def _turned_to_walls(scan: Scan, degrees: float | None) -> Scan:
    if degrees is not None:
        angle = math.radians(degrees)
        return _moved(
            scan, angle, np.zeros(3), Fact("walls", _degrees(angle), "given", (Mark.GIVEN,))
        )
    walls = find_walls(scan.points)
    if not walls.clear:
        why = "no direction is clear, so the scan is not rotated. To rotate it, set --walls"
        return _moved(scan, 0.0, np.zeros(3), Fact("walls", "unknown", why))
    if abs(walls.angle) <= _ALONG:
        fact = Fact("walls", _degrees(walls.angle), "along the axes, within two degrees")
        return _moved(scan, 0.0, np.zeros(3), fact)
    why = "the scan is rotated for detection and the boxes are rotated back, see --walls"
    return _moved(scan, walls.angle, np.zeros(3), Fact("walls", _degrees(walls.angle), why))


def _on_floor(scan: Scan, given: float | None) -> Scan:
    height = find_floor(scan.points) if given is None else given
    value = f"{height:.2f} m"
    if given is not None:
        return _moved(
            scan, 0.0, np.array([0, 0, -height]), Fact("floor", value, "given", (Mark.GIVEN,))
        )
    if abs(height) <= AT_ZERO:
        return _moved(scan, 0.0, np.zeros(3), Fact("floor", value, "at zero, within 10 cm"))
    why = "moved to zero for detection, and the boxes are moved back, see --floor"
    return _moved(scan, 0.0, np.array([0, 0, -height]), Fact("floor", value, why))


def _moved(scan: Scan, angle: float, shift: Array, fact: Fact) -> Scan:
    """The scan rotated by -angle about z, then shifted by (3,) metres. Zeros change nothing."""
    facts = (*scan.facts, fact)
    if angle == 0 and not shift.any():
        return dataclasses.replace(scan, facts=facts)
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    points = np.ascontiguousarray(scan.points.astype(np.float64) @ turn.T + shift, dtype=np.float32)
    return dataclasses.replace(
        scan, points=points, frame=scan.frame.moved(angle, turn, shift), facts=facts
    )


def _degrees(angle: float) -> str:
    return f"{math.degrees(angle):.1f}°"
