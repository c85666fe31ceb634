"""Scans whose geometry or colours have no sense: repaired and told, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest

from sr3d.data.rooms.generate import generate_room
from sr3d.data.scans import Fact, Mark, Scan, ScanOptions, read_scan
from sr3d.data.scans.guessing import find_tilt, find_unit
from sr3d.errors import Kind
from tests.data.scans.making import write_pcd, write_ply
from tests.refusals import refuses

ROOM = generate_room(910, points=20_000)
POINTS, COLORS = ROOM.points.numpy(), ROOM.colors.numpy()


def saved(tmp_path: Path, points: np.ndarray, colors: np.ndarray | None = None) -> Path:
    path = tmp_path / "scan.npz"
    if colors is None:
        np.savez(path, points=points)
    else:
        np.savez(path, points=points, colors=colors)
    return path


def fact(scan: Scan, name: str) -> Fact:
    return next(fact for fact in scan.facts if fact.name == name)


def leaning(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    return POINTS @ turn.T


@pytest.mark.parametrize("share", [0.001, 0.02, 0.045])
def test_stray_points_do_not_change_the_unit(tmp_path: Path, share: float) -> None:
    points = POINTS.copy()
    points[: int(share * len(points)), 2] = 900
    scan = read_scan(saved(tmp_path, points))
    assert scan.frame.unit == "m"
    assert np.ptp(scan.points, axis=0).max() < 10
    assert fact(scan, "left out").value == f"{int(share * len(points)):,} of {len(points):,} points"


def test_many_points_far_off_are_refused_and_not_taken_for_another_unit(tmp_path: Path) -> None:
    points = POINTS.copy()
    points[: len(points) // 10, 2] = 900
    with refuses(Kind.VALUE, file="scan.npz", mentions=["900 m"], remedy=["--unit"]):
        read_scan(saved(tmp_path, points))


@pytest.mark.parametrize(("unit", "size"), [("in", 0.0254), ("ft", 0.3048)])
def test_a_room_in_feet_or_inches_is_told_to_be_one(unit: str, size: float) -> None:
    found = find_unit(POINTS / size, "z")
    assert found.value == "m"
    assert f"--unit {unit}" in found.why


def test_points_in_a_plane_are_told(tmp_path: Path) -> None:
    scan = read_scan(saved(tmp_path, POINTS * [1, 1, 0]))
    assert fact(scan, "size").marks == (Mark.FLAT,)


@pytest.mark.parametrize("color", [(255, 0, 0), (12, 200, 90)])
def test_one_color_at_all_points_is_told(tmp_path: Path, color: tuple[int, int, int]) -> None:
    colors = np.tile(np.array(color, dtype=np.uint8), (len(POINTS), 1))
    scan = read_scan(saved(tmp_path, POINTS, colors))
    assert scan.colors is not None
    assert (scan.colors * 255).round().tolist()[0] == list(color)
    assert fact(scan, "colours").marks == (Mark.ONE_COLOR,)
    assert fact(read_scan(saved(tmp_path, POINTS, COLORS)), "colours").marks == ()


def test_many_black_points_are_told(tmp_path: Path) -> None:
    colors = COLORS.copy()
    colors[: len(colors) * 7 // 10] = 0
    scan = read_scan(saved(tmp_path, POINTS, colors))
    assert scan.colors is not None
    assert fact(scan, "colours").marks == (Mark.BLACK,)
    assert "70%" in fact(scan, "colours").why


@pytest.mark.parametrize("degrees", [3.0, 8.0, 20.0])
def test_a_leaning_floor_is_told_with_what_levels_it(tmp_path: Path, degrees: float) -> None:
    path = saved(tmp_path, leaning(degrees))
    found = fact(read_scan(path), "tilt")
    assert float(found.value.rstrip("°")) == pytest.approx(degrees, abs=1)
    up = found.why.partition("--up=")[2].split()[0]
    level = read_scan(path, ScanOptions(up=up)).points
    assert np.ptp(level, axis=0) == pytest.approx(np.ptp(POINTS, axis=0), abs=0.15)


@pytest.mark.parametrize("degrees", [0.0, 1.0])
def test_a_level_floor_is_not_told(degrees: float) -> None:
    assert find_tilt(leaning(degrees), "z") is None


def test_points_that_las_flags_are_left_out(tmp_path: Path) -> None:
    file = laspy.LasData(laspy.LasHeader(point_format=2, version="1.2"))
    file.header.scales = np.full(3, 0.001)
    points = POINTS.copy()
    points[:600, 2] = 900
    file.x, file.y, file.z = points.T.astype(np.float64)
    file.classification[:300] = 7
    file.withheld[300:600] = 1
    file.red, file.green, file.blue = (COLORS.T * 65535).astype(np.uint16)
    path = tmp_path / "scan.las"
    file.write(path)
    scan = read_scan(path)
    assert len(scan.points) == len(points) - 600
    assert fact(scan, "left out").value == f"600 of {len(points):,} points"
    assert scan.colors is not None
    assert np.abs(scan.colors - COLORS[600:]).max() < 1e-3


@pytest.mark.parametrize("kind", ["ply", "pcd", "obj"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_text_files_in_any_encoding_are_read(tmp_path: Path, kind: str, encoding: str) -> None:
    path = tmp_path / f"scan.{kind}"
    points = POINTS[:2000]
    if kind == "ply":
        write_ply(path, points, None, text=True)
    elif kind == "pcd":
        write_pcd(path, points, None, "ascii")
    else:
        path.write_text("".join(f"v {x:.6f} {y:.6f} {z:.6f}\n" for x, y, z in points))
    path.write_text(path.read_text(), encoding=encoding)
    assert read_scan(path).points == pytest.approx(points, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "table", "kind", "mentions", "remedy"),
    [
        ("a.npy", np.c_[COLORS * 255 // 1, POINTS], Kind.VALUE, [], "--columns rgbxyz"),
        (
            "a.txt",
            np.c_[np.arange(len(POINTS)) % 7, POINTS, COLORS],
            Kind.VALUE,
            [],
            "--columns _xyzrgb",
        ),
        ("a.npy", np.zeros((2000, 64)) + np.arange(2000)[:, None], Kind.VALUE, ["64"], ""),
        (
            "scene0000_00_bbox.npy",
            np.random.default_rng(0).random((30, 7)),
            Kind.VALUE,
            ["30"],
            "--columns",
        ),
        ("a.npy", np.array([{"points": POINTS}], dtype=object), Kind.UNREADABLE, [], ""),
    ],
)
def test_tables_that_are_no_points_are_refused_for_their_reason(
    tmp_path: Path, name: str, table: np.ndarray, kind: Kind, mentions: list[str], remedy: str
) -> None:
    path = tmp_path / name
    if path.suffix == ".npy":
        np.save(path, table)
    else:
        np.savetxt(path, table, fmt="%.4f")
    with refuses(kind, file=name, mentions=mentions, remedy=[remedy]):
        read_scan(path)


@pytest.mark.parametrize("name", ["feats", "bgr"])
def test_arrays_that_may_be_colours_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "scan.npz"
    arrays: dict[str, Any] = {"points": POINTS, name: COLORS}
    np.savez(path, **arrays)
    scan = read_scan(path)
    assert scan.colors is None
    assert f"{name} {COLORS.shape}" in fact(scan, "colours").why


@pytest.mark.parametrize("name", ["points3D.bin", "points3D.txt"])
def test_a_sparse_model_of_colmap_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"# 3D point list\n# POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[]\n1 2 3 4\n")
    command = "`colmap model_converter "
    with refuses(Kind.CONFLICT, file=name, mentions=["COLMAP"], remedy=[command]):
        read_scan(path)
