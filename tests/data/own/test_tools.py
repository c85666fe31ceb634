"""Folders as annotation tools leave them, and the mistakes that people make in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sr3d.cli import main
from sr3d.data.own.labels import parse_classes, similar_names
from sr3d.data.own.preparation import LabelOptions, prepare_folder
from sr3d.data.prepared import PreparedDataset
from sr3d.errors import InputError, Kind
from tests.data.own.making import CHAIR, turn_x, turn_y, turn_z, write_scan, xyz
from tests.refusals import refuses

CENTER, SIZE, YAW = [0.5, 0.25, 0.5], [0.5, 0.75, 1.0], 0.3
EXPECTED = [*CENTER, *SIZE, YAW]


def text(path: Path, content: Any, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = content if isinstance(content, str) else json.dumps(content)
    path.write_text(whole, encoding=encoding)


def prepared(raw: Path, **told: Any) -> dict[str, np.ndarray]:
    """The boxes of each scene."""
    out = raw.parent / "out"
    manifest = prepare_folder(raw, out, label_options=LabelOptions(**told))
    return {
        scene.id: scene.boxes.tensor.numpy()
        for split in manifest.splits
        for scene in PreparedDataset(out, split)
    }


def contour(size: Any = SIZE, rotation: Any = (0, 0, YAW)) -> dict[str, Any]:
    return {"center3D": xyz(CENTER), "size3D": xyz(size), "rotation3D": xyz(rotation)}


def xtreme1(raw: Path) -> None:
    for name in "ab":
        write_scan(raw / "lidar_point_cloud_0" / f"{name}.ply")
        row = {"type": "3D_BOX", "className": "chair", "contour": contour()}
        text(raw / "result" / f"{name}.json", [{"version": "1.0", "dataId": 1, "objects": [row]}])


def openpcdet(raw: Path) -> None:
    row = " ".join(map(str, [*CENTER, *SIZE, YAW, "chair"]))
    for name in "ab":
        write_scan(raw / "points" / f"{name}.ply")
        text(raw / "labels" / f"{name}.txt", f"{row}\n\n")
    text(raw / "ImageSets" / "train.txt", "a\n")
    text(raw / "ImageSets" / "val.txt", "b\n")


def supervisely(raw: Path) -> None:
    for name in "ab":
        write_scan(raw / "ds0" / "pointcloud" / f"{name}.ply")
        figure = {
            "objectKey": "o", "geometryType": "cuboid_3d",
            "geometry": {"position": xyz(CENTER), "rotation": xyz([1e-17, -4e-9, YAW]),
                         "dimensions": xyz(SIZE)},
        }  # fmt: skip
        objects = [{"key": "o", "classTitle": "chair"}]
        text(raw / "ds0" / "ann" / f"{name}.ply.json", {"objects": objects, "figures": [figure]})


def labelcloud(raw: Path, angle: float, form: str) -> None:
    for name in "ab":
        write_scan(raw / "pointclouds" / f"{name}.ply")
        box = {
            "name": "chair", "centroid": xyz(CENTER),
            "dimensions": dict(zip(("length", "width", "height"), SIZE, strict=True)),
            "rotations": xyz([0, 0, angle]),
        }  # fmt: skip
        text(raw / "labels" / f"{name}.json", {"filename": f"{name}.ply", "objects": [box]})
    text(raw / "labels" / "_classes.json", {"classes": [], "format": form})


@pytest.mark.parametrize(
    "make",
    [
        xtreme1, openpcdet, supervisely,
        lambda raw: labelcloud(raw, float(np.degrees(YAW)), "centroid_abs"),
        lambda raw: labelcloud(raw, YAW, "centroid_rel"),
    ],
)  # fmt: skip
def test_folders_of_tools_are_read(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "raw")
    found = prepared(tmp_path / "raw")
    assert len(found) == 2
    for boxes in found.values():
        assert boxes.tolist() == [pytest.approx(EXPECTED, abs=1e-6)]


def test_small_angles_that_only_the_list_of_classes_tells(tmp_path: Path) -> None:
    """1 degree and 1 radian are both between 0 and pi."""
    for form, yaw in (("centroid_abs", np.radians(1.0)), ("centroid_rel", 1.0)):
        raw = tmp_path / form / "raw"
        labelcloud(raw, 1.0, form)
        for boxes in prepared(raw).values():
            assert boxes[0, 6] == pytest.approx(yaw)
    (raw / "labels" / "_classes.json").unlink()
    with pytest.raises(InputError, match="labelcloud-degrees"):
        prepared(raw)


def test_xtreme1_turns_as_three_js_does_and_knows_its_sources(tmp_path: Path) -> None:
    raw, angles = tmp_path / "raw", [0.01, -0.012, 0.5]
    xtreme1(raw)
    row = {"type": "3D_BOX", "className": "chair", "contour": contour(rotation=angles)}
    other = {"type": "2D_RECT", "className": "chair", "contour": {"points": []}}
    results = [
        {"sourceName": "Model Run", "dataId": 1, "objects": [row, row]},
        {"sourceName": "Ground Truth", "dataId": 1, "objects": [row, other]},
    ]
    text(raw / "result" / "a.json", results)
    turn = turn_x(angles[0]) @ turn_y(angles[1]) @ turn_z(angles[2])
    assert prepared(raw)["lidar_point_cloud_0_a"][0, 6] == pytest.approx(
        np.arctan2(turn[1, 0], turn[0, 0]), abs=1e-5
    )
    for result in results:
        result["sourceName"] = "Model Run"
    text(raw / "result" / "a.json", results)
    with refuses(mentions=["a.json", "2"]):
        prepared(raw)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("1 2 3 1 1 1 0", "x y z dx dy dz yaw class"),
        ("chair 1 2 3 1 1 1 0", "line 2"),
        ("Car 0 0 -1 1 2 3 4 1.5 1.6 3.9 1 2 20 -1.5", "KITTI"),
        ("1 2 3 1 1 -1 0 chair", "line 2"),
        ("1 2 3 1 1 1 90 chair", "degrees"),
        ("1 2 nan 1 1 1 0 chair", "line 2"),
    ],
)
def test_lines_that_are_no_boxes_are_told(tmp_path: Path, line: str, named: str) -> None:
    openpcdet(tmp_path / "raw")
    text(tmp_path / "raw" / "labels" / "b.txt", f"1 2 3 1 1 1 0 big chair 2\n{line}\n")
    with refuses(mentions=["b.txt: ", named]):
        prepared(tmp_path / "raw")


def test_an_empty_text_file_says_that_there_is_no_box(tmp_path: Path) -> None:
    openpcdet(tmp_path / "raw")
    text(tmp_path / "raw" / "labels" / "b.txt", "")
    assert len(prepared(tmp_path / "raw")["points_b"]) == 0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_files_may_be_saved_as_windows_saves_them(tmp_path: Path, encoding: str) -> None:
    raw = tmp_path / "raw"
    for name in "ab":
        write_scan(raw / f"{name}.ply")
        text(raw / f"{name}.json", {"detections": [{**CHAIR, "class": "Stühl"}]}, encoding)
    text(raw / "train.txt", "a\r\n", encoding)
    text(raw / "val.txt", "b", encoding)
    text(raw / "classes.txt", "Stühl\n", encoding)
    assert parse_classes(str(raw / "classes.txt")) == ("Stühl",)
    found = prepared(raw, classes=("Stühl",))
    assert [len(boxes) for boxes in found.values()] == [1, 1]


def test_an_empty_label_file_is_named_and_nobody_is_told_to_delete_anything(
    tmp_path: Path,
) -> None:
    raw = tmp_path / "raw"
    for name in "ab":
        write_scan(raw / f"{name}.ply")
        text(raw / f"{name}.json", {"detections": [CHAIR]})
    text(raw / "b.json", " \n")
    with refuses(Kind.EMPTY, file="b.json") as error:
        prepared(raw)
    text(raw / "b.json", '{"detections": [')
    with refuses(mentions=["b.json"]) as other:
        prepared(raw)
    assert "delete" not in str(error.value) + str(other.value)


@pytest.mark.parametrize("yaw", [35.0, -90.0, 6.5])
def test_a_yaw_of_degrees_is_refused(tmp_path: Path, yaw: float) -> None:
    raw = tmp_path / "raw"
    write_scan(raw / "a.ply")
    text(raw / "a.json", {"detections": [{**CHAIR, "yaw": yaw}]})
    with refuses(Kind.VALUE, mentions=["a.json", "detections[0].yaw"]):
        prepared(raw, val=0.0)


def test_classes_that_differ_by_case_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = tmp_path / "raw"
    write_scan(raw / "a.ply")
    rows = [{**CHAIR, "class": name} for name in ("chair", "Chair", "chair ", "office chair")]
    text(raw / "a.json", {"detections": rows})
    prepared(raw, val=0.0)
    (message,) = (m for m in caplog.messages if "'Chair'" in m)
    assert all(repr(name) in message for name in ("Chair", "chair", "chair "))
    assert repr("office chair") not in caplog.text
    assert similar_names(["Night_Stand", "night stand", "table", "night-stand"]) == [
        ["Night_Stand", "night stand", "night-stand"]
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tracklet_labels.xml", "<boost_serialization/>"),
        ("default.json", {"info": {}, "categories": {}, "items": []}),
    ],
)
def test_other_exports_of_cvat_are_known(
    tmp_path: Path, name: str, content: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    write_scan(raw / "default.ply")
    text(raw / name, content)
    assert main(["prepare", "folder", "--raw", str(raw), "--out", str(tmp_path / "out")]) == 2
    assert "Sly Point Cloud Format" in capsys.readouterr().err


@pytest.mark.parametrize("size", [[0.0005, 0.0006, 0.0009], [0.5, 1000.0, 1.0]])
def test_boxes_in_another_unit_than_their_scan_are_told(
    tmp_path: Path, size: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    raw = tmp_path / "raw"
    write_scan(raw / "a.ply")
    text(raw / "a.json", {"detections": [CHAIR]})
    prepared(raw, val=0.0)
    assert "1 cm" not in caplog.text
    text(raw / "a.json", {"detections": [CHAIR, {**CHAIR, "size": size}]})
    prepare_folder(raw, tmp_path / "other", label_options=LabelOptions(val=0.0))
    assert any("1 cm" in m and "1 scans (a)" in m for m in caplog.messages)
