"""Depth images: every pixel goes back through the camera to where a point was."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sr3d.data.scans import Mark, ScanOptions, find_scans, read_scan
from sr3d.data.scans.cameras import read_camera
from sr3d.errors import InputError, Kind
from tests.refusals import refuses
from tests.shared_data import shared

FX, FY, CX, CY = 50.0, 60.0, 30.5, 20.25
CAMERA = ScanOptions(intrinsics=(FX, FY, CX, CY))


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
    half = read_scan(tmp_path / "a.png", ScanOptions(intrinsics=(FX, FY, CX, CY), depth_scale=2000))
    assert np.allclose(half.points * 2, scan.points, atol=1e-5)


def test_a_tilted_camera_is_told_its_up(tmp_path: Path) -> None:
    level = read_scan(save(tmp_path / "a.png", picture()), CAMERA)
    tilt = f"0,{-math.cos(0.3)!r},{-math.sin(0.3)!r}"
    tilted = read_scan(tmp_path / "a.png", ScanOptions(up=tilt, intrinsics=(FX, FY, CX, CY)))
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
    camera = read_camera(path.parent / name)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (FX, FY, CX, CY)
    assert np.array_equal(read_scan(path).points, read_scan(path, CAMERA).points)


@pytest.mark.parametrize("content", ["{}", "[]", "1", '{"fx": 1}', '{"K": "x"}', "[[1, 2]]", "{"])
def test_other_intrinsics_are_refused(tmp_path: Path, content: str) -> None:
    path = save(tmp_path / "a.png", picture())
    path.with_suffix(".json").write_text(content)
    with pytest.raises(InputError, match=r"a\.json"):
        read_scan(path)


def test_bad_depth_images_are_told(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", picture())
    with refuses(Kind.MISSING, file="a.png", mentions=["--intrinsics"]):
        read_scan(path)
    with refuses(Kind.VALUE, file="a.png"):
        read_scan(path, ScanOptions(intrinsics=(0, 1, 1, 1)))
    with refuses(Kind.EMPTY, file="b.png"):
        read_scan(save(tmp_path / "b.png", np.zeros((4, 4))), CAMERA)
    Image.new("RGB", (4, 4)).save(tmp_path / "c.png")
    with pytest.raises(InputError, match="16 bits"):
        read_scan(tmp_path / "c.png", CAMERA)
    with pytest.raises(InputError, match="--depth-scale 0"):
        read_scan(path, ScanOptions(depth_scale=0))


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
    scan = read_scan(path, ScanOptions(depth_scale=8000))
    depth = read_depth(path)
    assert np.allclose(scan.points[:, 1], depth[depth > 0], atol=1e-6)
    assert scan.colors is not None
    assert any("intrinsics.txt" in fact.why for fact in scan.facts)


INSIDE = ScanOptions(intrinsics=(FX, FY, CX, CY))
MATRIX: list[list[float]] = [[FX, 0, CX], [0, FY, CY], [0, 0, 1]]
LARGE = np.array([FX, FY, CX, CY]) * 4  # of an image four times as large, 240 x 160
WIDE: list[list[float]] = [[LARGE[0], 0, LARGE[2]], [0, LARGE[1], LARGE[3]], [0, 0, 1]]


def four(matrix: list[list[float]]) -> list[list[float]]:
    """As 4 × 4, as matrices of ScanNet and of Apple are."""
    return [[*row, 0] for row in matrix] + [[0, 0, 0, 1]]


def columns(matrix: list[list[float]]) -> list[list[float]]:
    return np.array(matrix).T.tolist()


def flat(matrix: list[list[float]]) -> list[float]:
    return [value for row in matrix for value in row]


def rows_of(matrix: list[list[float]]) -> str:
    return "\n".join(" ".join(map(str, row)) for row in matrix)


ROS = """image_width: 240
image_height: 160
camera_name: depth
camera_matrix:
  rows: 3
  cols: 3
  data: [200.0, 0.0, 122.0, 0.0, 240.0, 81.0, 0.0, 0.0, 1.0]
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, 0.0, 0.0, 0.0, 0.0]}
"""
OPENCV = """%YAML:1.0
---
image_width: 60
image_height: 40
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 50., 0., 30.5, 0., 60., 20.25, 0., 0., 1. ]
"""
SENS = f"""m_versionNumber = 4
m_colorWidth = 1296
m_colorHeight = 968
m_depthWidth = 60
m_depthHeight = 40
m_depthShift = 1000
m_calibrationColorIntrinsic = 1170 0 648 0 0 1170 484 0 0 0 1 0 0 0 0 1
m_calibrationDepthIntrinsic = {" ".join(str(v) for row in four(MATRIX) for v in row)}
"""
COLOR = {"fx": 999, "fy": 999, "cx": 30, "cy": 20, "width": 60, "height": 40}
REALSENSE = {"width": 240, "height": 160, "ppx": 122.0, "ppy": 81.0, "fx": 200.0, "fy": 240.0,
             "model": "Brown Conrady", "coeffs": [0, 0, 0, 0, 0]}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", rows_of(four(MATRIX))),  # ScanNet's intrinsic_depth.txt
        ("a.txt", rows_of([[*row, 0] for row in MATRIX])),  # a projection matrix of KITTI or ROS
        ("a.txt", str(np.array(MATRIX))),  # numpy's own way
        ("a.json", json.dumps({"intrinsics": four(MATRIX)})),
        ("a.json", json.dumps({"intrinsics": columns(MATRIX)})),  # Apple's simd matrices
        ("a.json", json.dumps(four(columns(MATRIX)))),
        ("a.json", json.dumps({"intrinsics": {"fx": FX, "fy": FY, "cx": CX, "cy": CY}})),
        ("a.json", json.dumps({"color": COLOR, "depth": {"K": MATRIX}})),
        ("a.json", json.dumps({"intrinsics": [FX, FY, CX, CY]})),
        ("a.json", json.dumps({"K": flat(columns(WIDE)), "w": 240, "h": 160, "fps": 60})),
        ("metadata", json.dumps({"K": flat(columns(WIDE)), "w": 240, "h": 160, "dw": 60})),
        ("a.json", json.dumps(REALSENSE)),
        ("a.json", json.dumps({"depth_intrinsics": REALSENSE, "color_intrinsics": COLOR})),
        ("a.json", json.dumps({"k": flat(WIDE), "width": 240, "height": 160})),  # ROS 2
        ("a.json", json.dumps({"fl_x": 200, "fl_y": 240, "cx": 122, "cy": 81, "w": 240, "h": 160})),
        ("a.json", json.dumps({"intrinsic_matrix": flat(columns(WIDE)), "width": 240,
                               "height": 160})),  # Open3D
        ("a.json", json.dumps({"camera_matrix": WIDE, "resolution": [240, 160]})),
        ("camera_info.yaml", ROS),
        ("a.yaml", OPENCV),
        ("_info.txt", SENS),
        ("../_info.txt", SENS),
        ("../intrinsic/intrinsic_depth.txt", rows_of(four(MATRIX))),
        ("../cameras/a.json", json.dumps(REALSENSE)),  # Polycam's keyframes
        ("../lowres_wide_intrinsics/a.pincam", "240 160 200 240 122 81"),
        ("a.txt", "240 160 200 240 122 81 0.1 0 0 0 0"),  # Matterport3D
        ("a.txt", f"fx_depth = {FX}\nfy_depth = {FY}\nmx_depth = {CX}\nmy_depth = {CY}\n"
                  "depthWidth = 60\ndepthHeight = 40\n"),
        ("a.json", json.dumps({"FX": FX, "FY": FY, "CX": CX, "CY": CY})),
        ("a.json", json.dumps({"f_x": FX, "f_y": FY, "c_x": CX, "c_y": CY})),
        ("a.json", json.dumps({"focalLength": [FX, FY], "principalPoint": [CX, CY]})),
        ("a.txt", f"fx {FX}\nfy {FY}\ncx {CX}\ncy {CY}\n"),
        ("a.txt", f"# fx fy cx cy\n{FX} {FY} {CX} {CY}\n"),
        ("cameras.txt", "# Camera list\n1 PINHOLE 240 160 200 240 122 81\n"),  # COLMAP
        ("camera.json", json.dumps(REALSENSE)),
        ("cam_K.txt", rows_of(MATRIX)),
        ("transforms.json", json.dumps({"fl_x": 200, "fl_y": 240, "cx": 122, "cy": 81, "w": 240,
                                        "h": 160, "frames": []})),  # nerfstudio
    ],
)  # fmt: skip
def test_intrinsics_in_every_spelling(tmp_path: Path, name: str, content: str) -> None:
    path = save(tmp_path / "depth" / "a.png", picture())
    (path.parent / name).parent.mkdir(exist_ok=True)
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (path.parent / name).write_text(content, encoding=encoding)
        found = read_scan(path)
        assert np.allclose(found.points, read_scan(path, INSIDE).points, atol=1e-5)
    distorted = "0.1" in content
    assert distorted == any(Mark.DISTORTED in fact.marks for fact in found.facts)


@pytest.mark.parametrize(
    "camera",
    [
        {"K": WIDE},  # of another image, by its principal point
        {"K": WIDE, "width": 320, "height": 160},  # of another shape
        {"K": WIDE, "width": 160, "height": 240},  # of an image on its side
        {"K": [[50, 3, 30], [0, 60, 20], [0, 0, 1]]},  # skewed, as no camera is
        {"fx": -50, "fy": 60, "cx": 30, "cy": 20},
    ],
)
def test_intrinsics_of_another_image_are_refused(tmp_path: Path, camera: dict[str, object]) -> None:
    path = save(tmp_path / "a.png", picture())
    path.with_suffix(".json").write_text(json.dumps(camera))
    with pytest.raises(InputError, match=r"a\.json"):
        read_scan(path)
    assert len(read_scan(path, INSIDE).points)


def test_intrinsics_told_of_another_image_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", picture())
    with pytest.raises(InputError, match="--intrinsics"):
        read_scan(path, ScanOptions(intrinsics=(200, 240, 122, 81)))


@pytest.mark.parametrize(
    "camera",
    [
        {"fx": FX / 60, "fy": FY / 40, "cx": 0.5, "cy": 0.5, "width": 60, "height": 40},  # shares
        {"fx": 3.6, "fy": 3.6, "cx": CX, "cy": CY},  # millimetres
        {"fx": 5e4, "fy": 5e4, "cx": CX, "cy": CY},
    ],
)
def test_a_focal_length_that_no_lens_has_is_refused(
    tmp_path: Path, camera: dict[str, float]
) -> None:
    path = save(tmp_path / "a.png", picture())
    path.with_suffix(".json").write_text(json.dumps(camera))
    with refuses(Kind.VALUE, file="a.json", mentions=["fx ", "°"], remedy=["--intrinsics"]):
        read_scan(path)


@pytest.mark.parametrize("most", [32767, 65534])
def test_the_greatest_value_of_many_pixels_far_away_is_no_depth(tmp_path: Path, most: int) -> None:
    depth = picture()
    depth[:5] = most
    scan = read_scan(save(tmp_path / "a.png", depth), CAMERA)
    depth[:5] = 0
    assert np.array_equal(scan.points, read_scan(save(tmp_path / "b.png", depth), CAMERA).points)
    assert any(fact.name == "left out" and str(most) in fact.why for fact in scan.facts)


def test_the_largest_value_is_no_depth(tmp_path: Path) -> None:
    depth = picture()
    depth[:5] = 65535
    scan = read_scan(save(tmp_path / "a.png", depth), CAMERA)
    depth[:5] = 0
    assert np.array_equal(scan.points, read_scan(save(tmp_path / "b.png", depth), CAMERA).points)
    assert "300 pixels" in [fact.value for fact in scan.facts]


@pytest.mark.parametrize(("name", "value"), [("depth_scale", 5000), ("depth_scale", 0.0002)])
def test_the_scale_of_the_cameras_file(tmp_path: Path, name: str, value: float) -> None:
    path = save(tmp_path / "a.png", picture() * 5)
    camera = {"fx": FX, "fy": FY, "cx": CX, "cy": CY, name: value}
    path.with_suffix(".json").write_text(json.dumps(camera))
    expected = read_scan(path, ScanOptions(intrinsics=(FX, FY, CX, CY), depth_scale=5000)).points
    assert np.allclose(read_scan(path).points, expected, atol=1e-5)
    half = read_scan(path, ScanOptions(depth_scale=10_000)).points
    assert np.allclose(half * 2, expected, atol=1e-5)


@pytest.mark.parametrize("times", [0.05, 8])
def test_distances_of_no_room_ask_for_the_scale(tmp_path: Path, times: float) -> None:
    path = save(tmp_path / "a.png", picture() * times)
    with pytest.raises(InputError, match="--depth-scale"):
        read_scan(path, CAMERA)
    told = ScanOptions(intrinsics=(FX, FY, CX, CY), depth_scale=1000)
    assert np.median(read_scan(path, told).points[:, 1]) == pytest.approx(3.2 * times, rel=0.1)


def test_a_colour_image_of_another_size_is_told(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", picture())
    Image.new("RGB", (120, 80)).save(tmp_path / "a.jpg")
    scan = read_scan(path, CAMERA)
    assert scan.colors is None
    assert "120 x 80" in next(fact.why for fact in scan.facts if fact.name == "colours")
