"""Of a folder, the clouds are scans; what belongs to a cloud and what we wrote ourselves is not."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from sr3d.data.own.preparation import prepare_folder
from sr3d.data.scans import find_scans, read_scan
from sr3d.errors import InputError, Kind
from tests.data.own.making import write_folder
from tests.data.scans import odd_files as odd
from tests.data.scans.odd_files import COLORS, COUNT, POINTS
from tests.refusals import refuses

LABELS = np.arange(COUNT) % 40
TABLE = odd.rows(POINTS, COLORS)
BIN = TABLE.tobytes()
MASK = LABELS.astype("<i8").tobytes()
CLOUD = odd.npy(TABLE)
NORMALS = odd.npy(odd.unit_normals().astype("f4"))
TEXT = odd.text(TABLE).encode()
PLY = odd.ply([*odd.XYZ, *odd.RGB])

# A folder as a program writes it, and the scans in it.
TREES: dict[str, tuple[dict[str, bytes], list[str]]] = {
    "pointcept": (
        {
            "Area_1/office_1/coord.npy": odd.npy(POINTS),
            "Area_1/office_1/color.npy": odd.npy(COLORS),
            "Area_1/office_1/normal.npy": NORMALS,
            "Area_1/office_1/segment.npy": odd.npy(LABELS[:, None]),
            "Area_1/office_1/segment20.npy": odd.npy(LABELS),
            "Area_1/office_1/instance.npy": odd.npy(LABELS[:, None]),
            "Area_1/office_1/strength.npy": odd.npy(LABELS[:, None].astype("f4")),
            "Area_1/office_1/pose.npy": odd.npy(np.eye(4)),
        },
        ["Area_1/office_1/coord.npy"],
    ),
    "mmdet3d": (
        {
            f"{kind}/scene0000_00.bin": BIN if kind == "points" else MASK
            for kind in ("points", "super_points", "semantic_mask", "instance_mask",
                         "pts_semantic_mask", "labels")
        },
        ["points/scene0000_00.bin"],
    ),
    "mmdet3d-instance-data": (
        {
            "scene0000_00_vert.npy": CLOUD,
            "scene0000_00_ins_label.npy": odd.npy(LABELS.astype("u4")),
            "scene0000_00_sem_label.npy": odd.npy(LABELS.astype("u4")),
            "scene0000_00_aligned_bbox.npy": odd.npy(np.ones((27, 7))),
            "scene0000_00_unaligned_bbox.npy": odd.npy(np.ones((27, 7))),
            "scene0000_00_axis_align_matrix.npy": odd.npy(np.eye(4)),
        },
        ["scene0000_00_vert.npy"],
    ),
    "votenet": (
        {"scene_vert.npy": CLOUD, "scene_ins_label.npy": odd.npy(LABELS),
         "scene_bbox.npy": odd.npy(np.ones((3, 8))), "000001_pc.npz": odd.npz(pc=TABLE),
         "000001_bbox.npy": odd.npy(np.ones((3, 8)))},
        ["000001_pc.npz", "scene_vert.npy"],
    ),
    "s3dis": (
        {
            "Area_1/office_1/office_1.txt": TEXT,
            "Area_1/office_1/Annotations/chair_1.txt": TEXT,
            "Area_1/office_1/Annotations/floor_1.txt": TEXT,
            "Area_1/office_1/Icon.txt": b"",
        },
        ["Area_1/office_1/office_1.txt"],
    ),
    "scannet": (
        {
            "scene/scene0000_00_vh_clean_2.ply": PLY,
            "scene/scene0000_00_vh_clean_2.labels.ply": PLY,
            "scene/scene0000_00.txt": b"axisAlignment = 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1\n",
            "scene/scene0000_00.aggregation.json": b"{}",
        },
        ["scene/scene0000_00_vh_clean_2.ply"],
    ),
    "kitti": (
        {
            "velodyne/000000.bin": odd.rows(POINTS, LABELS / 40).tobytes(),
            "label_2/000000.txt": b"Car 0.00 0 -1.5 0 0 9 9 1.5 1.6 3.9 1 1 8 -1.6\n" * 200,
            "calib/000000.txt": b"P0: 7 0 6 0 0 7 1 0 0 0 1 0\n",
            "train.txt": b"000000\n" * 300,
        },
        ["velodyne/000000.bin"],
    ),
    "points-and-colors": (
        {"points.npy": odd.npy(POINTS), "colors.npy": odd.npy(COLORS), "gt.npy": odd.npy(LABELS)},
        ["points.npy"],
    ),
    "labelled-tables": (
        {"room_1_label.npy": odd.npy(odd.rows(TABLE, LABELS)), "room_2.npy": CLOUD},
        ["room_1_label.npy", "room_2.npy"],
    ),
    "tables-of-other-things": (
        {
            "scan.xyz": TEXT,
            "log.csv": b"epoch,loss,ap\n" + b"1,2,3\n" * 300,
            "poses.txt": b"1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n",
            "trajectory.txt": b"# timestamp tx ty tz qx qy qz qw\n" + b"1.5 0 0 0 0 0 0 1\n" * 300,
            "readme.txt": b"Scans of my house.\n",
        },
        ["scan.xyz"],
    ),
    "of-a-mac": (
        {"scan.ply": PLY, "__MACOSX/._scan.ply": b"x", "._scan.ply": b"x", ".Trash/old.ply": PLY},
        ["scan.ply"],
    ),
}  # fmt: skip


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("tree", TREES)
def test_the_clouds_of_a_folder_are_its_scans(tmp_path: Path, tree: str) -> None:
    files, expected = TREES[tree]
    found = find_scans([write(tmp_path, files)])
    assert [name.as_posix() for _, name in found] == expected
    for path, _ in found:
        scan = read_scan(path)
        assert np.abs(scan.points - POINTS).max() < 1e-4
        assert (scan.colors is None) == (tree == "kitti")
        if scan.colors is not None:
            assert np.abs(scan.colors - COLORS / 255).max() < 0.003


def test_what_is_passed_over_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, TREES["mmdet3d"][0])
    with caplog.at_level(logging.INFO):
        find_scans([tmp_path])
    (message,) = caplog.messages
    assert "5 files" in message
    assert "instance_mask/scene0000_00.bin" in message


@pytest.mark.parametrize(
    ("name", "content"),
    [("color.npy", COLORS.astype("f4") / 255), ("normal.npy", odd.unit_normals()),
     ("segment.npy", LABELS[:, None]), ("instance.npy", LABELS), ("pose.npy", np.eye(4))],
)  # fmt: skip
def test_a_part_of_a_scene_is_refused_by_its_name_too(
    tmp_path: Path, name: str, content: np.ndarray
) -> None:
    np.save(tmp_path / name, content)
    with refuses(Kind.VALUE, file=name):
        read_scan(tmp_path / name)


def test_a_colour_file_that_is_a_pointer_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"coord.npy": odd.npy(POINTS), "color.npy": odd.lfs_pointer()})
    with refuses(mentions=["color.npy", "git lfs pull"]):
        read_scan(tmp_path / "coord.npy")


def test_outputs_inside_the_folder_of_scans_are_no_scans(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw")
    for _ in range(2):
        manifest = prepare_folder(raw, raw / "prepared")
        assert sorted(manifest.scenes) == ["scan0", "scan1", "scan2", "scan3"]
    assert len(find_scans([raw])) == 4  # the prepared set is known as one
    write(raw, {"found/rest.ply": PLY})
    assert len(find_scans([raw])) == 5
    assert len(find_scans([raw], without=raw / "found")) == 4
    assert len(find_scans([raw / "found"], without=raw / "found")) == 1
    with pytest.raises(InputError, match="--out"):
        prepare_folder(raw, raw)
    assert len(find_scans([raw / "prepared"])) == 4  # asked for by its name


def test_a_folder_of_files_that_are_not_read_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, {"a.e57": b"ASTM-E57", "b.e57": b"ASTM-E57", "c.usdz": b"PK"})
    with refuses(Kind.EMPTY, mentions=[".e57"]):
        find_scans([tmp_path])
    write(tmp_path / "masks", {"semantic_mask/a.bin": MASK})
    with refuses(Kind.EMPTY, file="masks", mentions=["semantic_mask/a.bin"]):
        find_scans([tmp_path / "masks"])
