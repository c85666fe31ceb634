"""Which file has the labels of which scan, in which format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sr3d.data.own.finding import FORMATS, LabelledScan, find_labels, match_names
from sr3d.data.scans import find_scans
from sr3d.errors import Kind
from tests.data.own.making import CHAIR, labelcloud_file, write_boxes, write_scan, xyz
from tests.refusals import refuses

PSR = {"position": xyz([0, 0, 0]), "scale": xyz([1, 1, 1]), "rotation": xyz([0, 0, 0.3])}
SUSTECH = [{"psr": PSR, "obj_type": "lamp", "obj_id": "1"}]
CUBOID = {"position": xyz([0, 0, 0]), "dimensions": xyz([1, 1, 1]), "rotation": xyz([0, 0, 0.3])}
SUPERVISELY = {
    "objects": [{"key": "k", "classTitle": "lamp"}],
    "figures": [{"objectKey": "k", "geometryType": "cuboid_3d", "geometry": CUBOID}],
}
LABELCLOUD = {
    "name": "lamp",
    "centroid": xyz([0, 0, 0]),
    "dimensions": {"length": 1, "width": 1, "height": 1},
    "rotations": xyz([0, 0, 200]),
}


def found(
    raw: Path, form: str | None = None, folder: Path | None = None
) -> tuple[list[LabelledScan], str]:
    return find_labels(raw, find_scans([raw]), form, folder)


XTREME1 = [
    {
        "version": "1.0", "dataId": 1, "sourceName": "Ground Truth",
        "objects": [
            {"id": "a", "type": "3D_BOX", "className": "lamp", "contour": {
                name: {"x": 1, "y": 1, "z": 1} for name in ("center3D", "size3D", "rotation3D")}},
            {"id": "b", "type": "2D_RECT", "className": "lamp", "contour": {"points": []}},
        ],
    }
]  # fmt: skip


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("sr3d", {"detections": [{**CHAIR, "class": "lamp"}]}),
        ("labelcloud-degrees", {"folder": "x", "objects": [LABELCLOUD]}),
        ("sustech", SUSTECH),
        ("supervisely", SUPERVISELY),
        ("xtreme1", XTREME1),
        ("xtreme1", XTREME1[0]),
    ],
)
def test_the_format_is_found_by_the_content(tmp_path: Path, form: str, content: Any) -> None:
    write_scan(tmp_path / "a.ply")
    write(tmp_path / "a.json", content)
    (scan,), name = found(tmp_path)
    assert name == form
    assert [label.name for label in scan.read("m")] == ["lamp"]
    (scan,), name = found(tmp_path, form=form)
    assert (name, len(scan.read("m"))) == (form, 1)


def test_labels_lie_beside_the_scan_or_in_the_folders_that_tools_make(tmp_path: Path) -> None:
    for name in ("a.ply", "sub/b.pcd", "pointcloud/c.pcd", "lidar/d.pcd"):
        write_scan(tmp_path / name)
    labels = ("a.json", "sub/labels/b.json", "ann/c.pcd.json", "label/d.json")
    for name in labels:
        write_boxes(tmp_path / name, CHAIR)
    scans, _ = found(tmp_path)
    by_scan = {scan.name.as_posix(): scan.labels.relative_to(tmp_path).as_posix() for scan in scans}
    assert by_scan == {
        "a.ply": "a.json",
        "lidar/d.pcd": "label/d.json",
        "pointcloud/c.pcd": "ann/c.pcd.json",
        "sub/b.pcd": "sub/labels/b.json",
    }


def test_a_folder_that_is_told_is_the_only_one_looked_at(tmp_path: Path) -> None:
    write_scan(tmp_path / "raw" / "sub" / "a.ply")
    write_boxes(tmp_path / "raw" / "sub" / "a.json", CHAIR, CHAIR)
    write_boxes(tmp_path / "detections" / "sub" / "a.ply.json", CHAIR)  # as detect writes them
    (scan,), _ = found(tmp_path / "raw", folder=tmp_path / "detections")
    assert len(scan.read(None)) == 1


def test_the_camera_beside_a_depth_image_is_no_label(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    Image.fromarray(np.full((4, 4), 1000, dtype=np.uint16)).save(tmp_path / "a.png")
    write(tmp_path / "a.json", {"fx": 1, "fy": 1, "cx": 1, "cy": 1})
    with refuses(Kind.MISSING, mentions=["a.png.json"]):
        found(tmp_path)
    write_boxes(tmp_path / "a.png.json", CHAIR)
    (scan,), _ = found(tmp_path)
    assert scan.labels.name == "a.png.json"


def test_one_list_for_all_is_boxes_json_or_the_only_one_in_cocos_manner(tmp_path: Path) -> None:
    for name in ("a.ply", "sub/b.ply", "c.ply"):
        write_scan(tmp_path / name)
    files = ["data/raw/a.ply", "b"]  # a longer path, and a bare name
    coco = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(files)],
        "categories": [{"id": 0, "name": "lamp"}],
        "annotations": [{"image_id": 1, "category_id": 0, "bbox_3d": [0, 0, 0, 1, 1, 1]}],
    }
    write(tmp_path / "instances.json", coco)
    write(tmp_path / "other.json", {"what": "ever"})
    scans, name = found(tmp_path)
    a, c, b = scans
    assert name == "coco"
    assert a.read("m") == []
    assert [x.name for x in b.read("m")] == ["lamp"]
    with refuses(Kind.MISSING, file="instances.json", mentions=["c.ply"]):
        c.read("m")
    write(tmp_path / "more.json", coco)
    with refuses(Kind.CONFLICT, mentions=["instances.json", "more.json"]):
        found(tmp_path)
    write(tmp_path / "boxes.json", {"scans": {"a.ply": [CHAIR], "c.ply": []}})
    (a, *_), name = found(tmp_path)
    assert name == "sr3d"
    assert len(a.read("m")) == 1
    with refuses(Kind.CONFLICT, field="--boxes sustech", mentions=["boxes.json"]):
        found(tmp_path, form="sustech")


def test_labelclouds_files_of_a_set_tell_each_other_what_angles_are(tmp_path: Path) -> None:
    for name in "ab":
        write_scan(tmp_path / f"{name}.ply")
    labelcloud_file(tmp_path / "a.json", [{**LABELCLOUD, "rotations": xyz([0, 0, 2])}])
    labelcloud_file(tmp_path / "b.json", [LABELCLOUD])
    (a, _), name = found(tmp_path)
    assert name == "labelcloud-degrees"
    assert np.asarray(a.read("m")[0].turn)[1, 0] == pytest.approx(0.0348995)
    (a, _), name = found(tmp_path, form="labelcloud-radians")
    assert np.asarray(a.read("m")[0].turn)[1, 0] == pytest.approx(0.9092974)


def test_a_bad_file_is_told_when_its_scan_is_read_and_not_before(tmp_path: Path) -> None:
    for name in "abc":
        write_scan(tmp_path / f"{name}.ply")
    (tmp_path / "a.json").write_text('{"detections": [')
    write(tmp_path / "b.json", {"shapes": []})
    write_boxes(tmp_path / "c.json", CHAIR)
    (a, b, c), name = found(tmp_path)
    assert name == "sr3d"
    assert len(c.read("m")) == 1
    with refuses(mentions=["a.json"]):
        a.read("m")
    with refuses(Kind.UNREADABLE, mentions=["b.json", "/own_data"]):
        b.read("m")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with refuses(Kind.UNKNOWN, field="--boxes kitti", mentions=FORMATS):
        find_labels(tmp_path, [], "kitti")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["c.ply"], ["'c.ply'"]),
        (["b"], ["'b'", "2 scans"]),
        (["a", "raw/a.ply"], ["'raw/a.ply'", "'a'"]),
    ],
)
def test_words_that_name_no_scan_or_several_are_refused(words: list[str], named: list[str]) -> None:
    scans = [Path("a.ply"), Path("x/b.ply"), Path("y/b.ply")]
    with refuses(field="list", mentions=named):
        match_names(words, scans, "list")
    same = [Path("a.ply"), Path("x/a.ply")]
    assert match_names(["a", "data/x/a.ply"], same, "") == {same[0]: "a", same[1]: "data/x/a.ply"}
    assert match_names(["x/b", "raw/y/b.ply"], scans, "list") == {
        scans[1]: "x/b",
        scans[2]: "raw/y/b.ply",
    }
