"""Inputs as real tools write them, of every kind but bare points: read rightly, or refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sr3d.cli import main
from sr3d.data.scans import ScanOptions, read_scan
from sr3d.errors import Kind
from tests.refusals import refuses
from tests.shared_data import shared

ROOM = (4.0, 3.0, 2.5)


@dataclass(frozen=True)
class Expected:
    """extent: along x, y, z, upright. color: mean, of 0 to 255; None without colours. points:
    about how many. facts: words that the facts of one name hold, by that name.
    """

    extent: tuple[float, float, float]
    color: tuple[int, int, int] | None
    points: int
    up: str = "z"
    unit: str = "m"
    facts: tuple[tuple[str, str], ...] = ()


FRAME = (2.54, 0.42, 1.87)
LAS = (4.05, 4.09, 2.67)

SCANS = {
    "obj_mtl_missing": Expected(ROOM, None, 23_500, facts=(("colours", "room.mtl"),)),
    "obj_texture_missing": Expected(ROOM, None, 23_500, facts=(("colours", "room.png"),)),
    "obj_texture_windows_path": Expected(ROOM, (220, 40, 40), 23_500),
    "obj_vertex_colours_255": Expected(ROOM, (200, 60, 30), 23_500),
    "glb_building_y_up": Expected((20, 15, 9), None, 835_000, "y"),
    "glb_quantised": Expected(ROOM, None, 23_500, "y"),
    "glb_texture_factor": Expected(ROOM, (110, 20, 20), 23_500, "y"),
    "glb_texture_ktx2": Expected(ROOM, None, 23_500, "y", facts=(("colours", "KTX2"),)),
    "plymesh_texture_file": Expected(ROOM, (220, 40, 40), 23_500),
    "plymesh_tristrips": Expected(ROOM, None, 11_000),
    "las_8bit_one_outlier": Expected(LAS, (150, 158, 136), 2400, facts=(("cut to 255", "1"),)),
    "las_feet_wkt": Expected(LAS, (150, 158, 136), 2400, unit="ft"),
    "depth_65535_invalid": Expected(
        (2.32, 0.41, 1.87), None, 2784, "-y", facts=(("left out", "65535"),)
    ),
    "depth_intrinsics_other_size": Expected(FRAME, None, 3072, "-y"),
    "depth_record3d_metadata": Expected(FRAME, None, 3072, "-y"),
    "depth_scannet_4x4": Expected(FRAME, None, 3072, "-y"),
}


@pytest.mark.parametrize("name", list(SCANS))
def test_scans(name: str) -> None:
    (path,) = shared(f"cases/{name}").glob("scan.*")
    scan, expected = read_scan(path), SCANS[name]
    assert (scan.frame.up, scan.frame.unit) == (expected.up, expected.unit)
    assert np.ptp(scan.points, axis=0) == pytest.approx(expected.extent, abs=0.03)
    assert len(scan.points) == pytest.approx(expected.points, rel=0.01)
    if expected.color is None:
        assert scan.colors is None
    else:
        assert scan.colors is not None
        assert 255 * scan.colors.mean(axis=0) == pytest.approx(expected.color, abs=2)
    for fact, word in expected.facts:
        assert any(word in f"{f.value} {f.why}" for f in scan.facts if f.name == fact)


def test_camera_files_of_one_camera_give_one_scan() -> None:
    """The same depth image, with the intrinsics of three programs."""
    names = ("depth_intrinsics_other_size", "depth_record3d_metadata", "depth_scannet_4x4")
    scans = [read_scan(shared(f"cases/{name}/scan.png")).points for name in names]
    assert np.allclose(scans[0], scans[1])
    assert np.allclose(scans[0], scans[2])


def test_draco_is_refused_with_a_remedy() -> None:
    with refuses(Kind.UNREADABLE, file="scan.glb"):
        read_scan(shared("cases/glb_draco/scan.glb"), ScanOptions())


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """The exit code, and everything that was printed."""
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out + err


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("lab_bom", 0, "2 scenes|1 scenes, 1 boxes"),
        ("lab_class_case", 0, "'chair '"),
        ("lab_degrees_yaw", 2, "a.json: detections[0].yaw"),
        ("lab_empty_file", 2, "b.json"),
        ("lab_labelcloud_classes_tells", 0, "labelcloud-degrees"),
        ("lab_openpcdet_txt", 0, "openpcdet"),
        ("lab_supervisely_roundoff", 0, "2 of 2"),
        ("lab_xtreme1", 0, "xtreme1"),
    ],
)
def test_labels(
    name: str, code: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    raw = shared(f"cases/{name}/raw")
    with caplog.at_level("INFO"):
        found, text = run(capsys, "prepare", "folder", "--raw", raw, "--out", tmp_path / "out")
    assert found == code
    assert any(part in text + caplog.text for part in told.split("|"))
    assert (tmp_path / "out" / "manifest.json").is_file() == (code == 0)


def test_a_scan_with_nan_points_spoils_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = shared("cases/lab_nan_scan_in_set/raw")
    words = ("prepare", "folder", "--raw", raw, "--out", tmp_path / "out", "--keep-going")
    assert run(capsys, *words)[0] == 0
    code, text = run(capsys, "inspect", "data", tmp_path / "out")
    assert code == 0
    assert "NaN" not in text.partition("Suspicious:")[2]


def test_boxes_twice_are_suspicious(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = shared("cases/lab_duplicate_boxes/raw")
    assert run(capsys, "prepare", "folder", "--raw", raw, "--out", tmp_path / "out")[0] == 0
    assert main(["inspect", "data", str(tmp_path / "out"), "--json"]) == 0
    splits = json.loads(capsys.readouterr().out)["splits"]
    assert [split["name"] for split in splits] == ["train", "val"]
    for split, scene in zip(splits, ("a", "b"), strict=True):
        (suspicion,) = split["suspicions"]
        assert f"({scene})" in suspicion


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("ev_bottom_centre", 0, ("AP50 100.00", "bottom faces")),
        ("ev_empty_truth", 2, ("truth.npz: has no ground truth",)),
        ("ev_mmdet3d_list", 2, ("found.pkl", "lidar_path")),
        ("ev_ours_json", 2, ("'a.ply'", "'scene0000_00'")),
        ("ev_scenes_bin_suffix", 0, ("'scene0000_00.bin'", "'scene0000_00'", "100.00")),
    ],
)
def test_detections(
    name: str, code: int, told: tuple[str, ...], capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    folder = shared(f"cases/{name}")
    (file,) = folder.glob("found.*")
    words = ("evaluate", "--ground-truth", folder / "truth.npz", "--detections", file)
    found, text = run(capsys, *words, "--dataset", "scannet")
    assert found == code
    assert all(word in text + caplog.text for word in told)


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("cv_argparse_namespace", 0, "'model'"),
        ("cv_model_key", 0, "'model'"),
        ("cv_ddp_module_model", 0, "'model.'"),
        ("cv_jit", 2, "TorchScript"),
    ],
)
def test_checkpoints(
    name: str, code: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = shared(f"cases/{name}/model.pth"), tmp_path / "model.safetensors"
    found, text = run(capsys, "convert", path, "--out", out)
    assert found == code
    assert told in text
    assert out.exists() == (code == 0)
