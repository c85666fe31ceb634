"""Depth images: every pixel goes back through the camera to where a point was."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sr3d.data.scans import Reading, find_scans, read_scan
from sr3d.data.scans.depth import read_intrinsics
from sr3d.errors import InputError
from tests.shared_data import shared

FX, FY, CX, CY = 50.0, 60.0, 30.5, 20.25
CAMERA = Reading(intrinsics=(FX, FY, CX, CY))


def save(path: Path, depth: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(depth.astype(np.uint16)).save(path)
    return path


def picture() -> np.ndarray:
    depth = np.random.default_rng(0).integers(500, 6000, (40, 60))
    depth[::7, ::5] = 0
    return depth


def test_every_measured_pixel_is_a_point(tmp_path: Path) -> None:
    depth = picture()
    scan = read_scan(save(tmp_path / "a.png", depth), CAMERA)
    expected = []
    for row in range(40):
        for column in range(60):
            if depth[row, column]:
                z = depth[row, column] / 1000
                x, y = (column - CX) * z / FX, (row - CY) * z / FY
                expected.append((x, z, -y))  # upright: forward is y, and y was down
    assert np.allclose(scan.points, expected, atol=1e-5)
    assert (scan.frame.up, scan.frame.unit, scan.colors) == ("-y", "m", None)
    half = read_scan(tmp_path / "a.png", Reading(intrinsics=(FX, FY, CX, CY), depth_scale=2000))
    assert np.allclose(half.points * 2, scan.points, atol=1e-5)


def test_a_tilted_camera_is_told_its_up(tmp_path: Path) -> None:
    level = read_scan(save(tmp_path / "a.png", picture()), CAMERA)
    tilt = f"0,{-math.cos(0.3)!r},{-math.sin(0.3)!r}"
    tilted = read_scan(tmp_path / "a.png", Reading(up=tilt, intrinsics=(FX, FY, CX, CY)))
    height = level.points[:, 2] * math.cos(0.3) - level.points[:, 1] * math.sin(0.3)
    assert np.allclose(tilted.points[:, 2], height, atol=1e-5)


@pytest.mark.parametrize("place", ["rgb/a.jpg", "depth/a.jpg", "image/other.jpg"])
def test_the_colour_image_is_found(tmp_path: Path, place: str) -> None:
    path = save(tmp_path / "depth" / "a.png", np.full((40, 60), 2000))
    (tmp_path / place).parent.mkdir(exist_ok=True)
    Image.new("RGB", (60, 40), (255, 0, 51)).save(tmp_path / place, quality=100)
    colors = read_scan(path, CAMERA).painted()
    assert np.allclose(colors, [1, 0, 0.2], atol=0.02)
    Image.new("RGB", (30, 20), (255, 0, 51)).save(tmp_path / place)  # of another size
    assert read_scan(path, CAMERA).colors is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "50 60 30.5 20.25"),
        ("a.txt", "50 0 30.5\n0 60 20.25\n0 0 1\n"),
        ("intrinsics.txt", "50, 0, 30.5, 0, 60, 20.25, 0, 0, 1"),
        ("../intrinsics.txt", "50 0 30.5 0 60 20.25 0 0 1"),
        ("a.json", json.dumps({"fx": 50, "fy": 60, "cx": 30.5, "cy": 20.25})),
        ("a.json", json.dumps({"K": [[50, 0, 30.5], [0, 60, 20.25], [0, 0, 1]]})),
        ("intrinsics.json", json.dumps({"intrinsic_matrix": [50, 0, 0, 0, 60, 0, 30.5, 20.25, 1]})),
    ],
)
def test_intrinsics_lie_beside_the_image(tmp_path: Path, name: str, content: str) -> None:
    path = save(tmp_path / "depth" / "a.png", picture())
    (path.parent / name).write_text(content)
    assert read_intrinsics(path.parent / name) == (FX, FY, CX, CY)
    assert np.array_equal(read_scan(path).points, read_scan(path, CAMERA).points)


@pytest.mark.parametrize("content", ["{}", "[]", "1", '{"fx": 1}', '{"K": "x"}', "[[1, 2]]", "{"])
def test_other_intrinsics_are_refused(tmp_path: Path, content: str) -> None:
    path = save(tmp_path / "a.png", picture())
    path.with_suffix(".json").write_text(content)
    with pytest.raises(InputError, match=r"a\.json"):
        read_scan(path)


def test_bad_depth_images_are_told(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", picture())
    with pytest.raises(InputError, match="needs the camera's intrinsics; give --intrinsics"):
        read_scan(path)
    with pytest.raises(InputError, match="fx and fy must be above 0"):
        read_scan(path, Reading(intrinsics=(0, 1, 1, 1)))
    with pytest.raises(InputError, match="nothing was measured"):
        read_scan(save(tmp_path / "b.png", np.zeros((4, 4))), CAMERA)
    Image.new("RGB", (4, 4)).save(tmp_path / "c.png")
    with pytest.raises(InputError, match="has 16 bits a pixel"):
        read_scan(tmp_path / "c.png", CAMERA)
    with pytest.raises(InputError, match="--depth-scale 0"):
        read_scan(path, Reading(depth_scale=0))


def test_of_a_folder_depth_images_alone_are_scans(tmp_path: Path) -> None:
    save(tmp_path / "depth" / "a.png", picture())
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert find_scans([tmp_path]) == [(tmp_path / "depth" / "a.png", Path("depth/a.png"))]


def test_a_real_frame_gives_the_points_of_the_official_tools() -> None:
    """SUN RGB-D turns its bits right by three, which up to 8.191 m is a scale of 8000."""
    from sr3d.data.readers.rgbd import read_depth

    root = "real/sunrgbd/OFFICIAL_SUNRGBD/SUNRGBD/kv2/align_kv2/2014-12-18_11-31-54_260595134347"
    path = shared(f"{root}/depth/0000144.png")
    scan = read_scan(path, Reading(depth_scale=8000))
    depth = read_depth(path)
    assert np.allclose(scan.points[:, 1], depth[depth > 0], atol=1e-6)
    assert scan.colors is not None
    assert "from intrinsics.txt" in [fact.why for fact in scan.facts]
