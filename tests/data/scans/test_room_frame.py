"""Scans are turned and moved as training scenes lie, and boxes come back where they were."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sr3d.data.datasets import SCANNET, SUNRGBD, SYNTHETIC, Dataset
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scans import Scan, ScanOptions, read_scan
from sr3d.data.scans.room_frame import FIND, RoomOptions, into_room_frame
from sr3d.errors import InputError
from sr3d.geometry.boxes import Boxes
from tests.shared_data import shared

ROOM = generate_room(900_001, points=8_000)


def written(tmp_path: Path, degrees: float, height: float, unit: float = 1.0) -> Path:
    """A room in a file, turned counter-clockwise and raised, in units of so many metres."""
    points = ROOM.points.double().numpy() @ about_z(degrees).T + [5, -3, height]
    path = tmp_path / "scan.npz"
    np.savez(path, points=points / unit, colors=ROOM.colors.numpy())
    return path


def about_z(degrees: float) -> np.ndarray:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def read(path: Path, dataset: Dataset, room: RoomOptions = FIND, unit: str | None = None) -> Scan:
    return into_room_frame(read_scan(path, ScanOptions(unit=unit)), path, dataset, room)


def facts(scan: Scan) -> dict[str, str]:
    return {fact.name: fact.value for fact in scan.facts}


@pytest.mark.parametrize(("degrees", "height"), [(30, -0.64), (-17, 0.9), (44, 0.0), (3, 0.3)])
@pytest.mark.parametrize("unit", ["m", "cm"])
def test_a_box_in_the_room_frame_is_where_it_was_in_the_file(
    tmp_path: Path, degrees: float, height: float, unit: str
) -> None:
    metres = {"m": 1.0, "cm": 0.01}[unit]
    path = written(tmp_path, degrees, height, metres)
    scan = read(path, SYNTHETIC, unit=unit)
    assert scan.frame.walls == pytest.approx(math.radians(degrees), abs=0.02)
    assert np.percentile(scan.points[:, 2], 5) == pytest.approx(0, abs=0.05)

    # Points of the frame go back to points of the file.
    frame, stored = scan.frame, np.load(path)["points"]
    back = scan.points.astype(np.float64) @ frame.rotation / frame.scale + frame.origin
    assert np.allclose(back, stored, atol=1e-4 / metres)
    # A box about half of the scan's points holds the same points in the file.
    low, high = np.percentile(scan.points, [10, 60], axis=0)
    box = torch.tensor([[*(low + high) / 2, *(high - low), 0.0]], dtype=torch.float32)
    in_file = frame.back(Boxes(box))
    inside = ((scan.points > low) & (scan.points < high)).all(axis=1)
    own = (stored - in_file.centers[0]) @ in_file.rotations[0]
    margin = 1e-3 / metres
    assert (np.abs(own[inside]) < in_file.sizes[0] / 2 + margin).all()
    assert (np.abs(own[~inside]) > in_file.sizes[0] / 2 - margin).any(axis=1).all()


def test_a_scan_that_lies_as_scenes_do_is_not_touched(tmp_path: Path) -> None:
    path = written(tmp_path, 0.5, 0.04)
    as_read = read_scan(path)
    scan = into_room_frame(as_read, path, SYNTHETIC)
    assert np.array_equal(scan.points, as_read.points)
    assert scan.frame == as_read.frame
    assert {"walls", "floor"} <= set(facts(scan))


def test_a_detector_of_turned_boxes_takes_scans_as_they_stand(tmp_path: Path) -> None:
    path = written(tmp_path, 30, 1.0)
    scan = into_room_frame(read_scan(path), path, SUNRGBD)
    assert np.array_equal(scan.points, read_scan(path).points)
    assert not {"walls", "floor"} & set(facts(scan))


def test_what_is_given_comes_before_what_is_found(tmp_path: Path) -> None:
    path = written(tmp_path, 30, 1.0)
    kept = read(path, SYNTHETIC, RoomOptions(walls=0, floor=0))
    assert np.array_equal(kept.points, read_scan(path).points)
    given = read(path, SYNTHETIC, RoomOptions(walls=10, floor=0.5))
    assert given.frame.walls == pytest.approx(math.radians(10))
    lowered = read_scan(path).points[:, 2] - 0.5
    assert np.allclose(given.points[:, 2], lowered, atol=1e-6)
    with pytest.raises(InputError):
        RoomOptions(walls=math.nan)


def test_scannets_own_alignment_beside_a_scan_is_taken() -> None:
    path = shared("real/scannet/scans/scene0000_00/scene0000_00_vh_clean_2.ply")
    numbers = next(
        line.partition("=")[2].split()
        for line in path.with_name("scene0000_00.txt").read_text().splitlines()
        if line.startswith("axisAlignment")
    )
    matrix = np.array(numbers, dtype=np.float64).reshape(4, 4)
    as_read = read_scan(path)
    scan = into_room_frame(as_read, path, SCANNET)
    expected = as_read.points.astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.allclose(scan.points, expected, atol=1e-5)
    back = scan.points.astype(np.float64) @ scan.frame.rotation + scan.frame.origin
    assert np.allclose(back, as_read.points, atol=1e-5)
    found = into_room_frame(as_read, path.with_name("other.ply"), SCANNET)
    turn = found.frame.walls - scan.frame.walls
    assert math.degrees(turn) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("line", ["", "axisAlignment = 1 2 3\n"])
def test_a_scannet_scan_without_a_usable_alignment(tmp_path: Path, line: str) -> None:
    path = written(tmp_path, 20, 0.0).rename(tmp_path / "scene0707_00.npz")
    path.with_name("scene0707_00.txt").write_text(f"numDepthFrames = 5\n{line}")
    if line:
        with pytest.raises(InputError, match=r"scene0707_00\.txt"):
            read(path, SCANNET)
    else:  # as the official test scans: found in the points
        assert math.degrees(read(path, SCANNET).frame.walls) == pytest.approx(20, abs=1)
