"""Every format of label files: examples to the letter of the code or the page that defines it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sr3d.data.own.annotation_tools import read_supervisely, read_sustech
from sr3d.data.own.coco import read_coco
from sr3d.data.own.labelcloud import in_degrees, read_labelcloud
from sr3d.data.own.labels import FilePlace, FileValue, Label
from sr3d.data.own.ours import read_all_ours, read_ours
from sr3d.data.scans.frame import Frame
from sr3d.errors import Kind
from tests.data.own.making import CHAIR, labelcloud_vertices, turn_x, turn_y, turn_z, xyz
from tests.refusals import refuses

CENTER, SIZE = np.array([1.0, -2.0, 0.5]), np.array([2.0, 1.0, 0.75])


def checked(value: Any) -> FileValue:
    return FileValue(json.loads(json.dumps(value)), FilePlace(Path("a.json")))


def boxes(labels: list[Label], frame: Frame | None = None) -> list[list[float]]:
    return [label.placed(frame or Frame(), upright=True).round(4).tolist() for label in labels]


# ---------------------------------------------------------------- ours


def test_ours_is_what_detect_writes_and_scores_and_corners_count_for_nothing() -> None:
    frame = Frame.of(np.zeros((1, 3)), "y", "m")
    box = {
        **CHAIR, "yaw": 0.3, "score": 0.1, "corners": [[9, 9, 9]] * 8,
        "rotation": (frame.rotation.T @ turn_z(0.3)).tolist(),
    }  # fmt: skip
    told = {"up": "y", "unit": "m", "metres_per_unit": 1.0, "rotation": frame.rotation.tolist()}
    whole = {"schema": "sr3d/detections", "frame": told, "detections": [box]}
    for value in (whole, {"frame": told, "boxes": [{k: v for k, v in box.items() if k != "yaw"}]}):
        (found,) = boxes(read_ours(checked(value)), frame)
        center = frame.rotation @ np.array([0.5, 0.25, 0.5])
        assert found == pytest.approx([*center, 0.5, 0.75, 1.0, 0.3])


def test_a_yaw_that_was_mended_counts_and_the_rotation_beside_it_does_not() -> None:
    box = {**CHAIR, "yaw": 0.5, "rotation": turn_z(0.1).tolist()}
    told = {"up": "z", "unit": "m", "rotation": np.eye(3).tolist()}
    (found,) = read_ours(checked({"frame": told, "detections": [box]}))
    assert found.placed(Frame())[6] == pytest.approx(0.5)


def test_a_faulty_rotation_beside_a_yaw_is_not_read_and_a_yaw_of_null_is_refused() -> None:
    (found,) = read_ours(checked([{**CHAIR, "yaw": 0.5, "rotation": "none"}]))
    assert found.turn == 0.5
    whole = checked({"scans": {"k.ply": {"boxes": [CHAIR, {**CHAIR, "yaw": None}]}}})
    with refuses(Kind.VALUE, file="a.json", field="scans.k.ply.boxes[1].yaw"):
        read_ours(read_all_ours(whole)["k.ply"])


def test_without_a_frame_a_yaw_is_about_the_up_axis_of_the_scan_as_it_is_read() -> None:
    frame = Frame.of(np.zeros((1, 3)), "y", "cm")
    (found,) = read_ours(checked({"boxes": [{**CHAIR, "yaw": 0.3}]}))
    assert found.placed(frame)[3:].tolist() == pytest.approx([0.005, 0.0075, 0.01, 0.3])


def test_one_file_of_ours_has_a_list_or_a_whole_file_for_each_scan() -> None:
    value = checked({"scans": {"a.ply": [CHAIR], "b.ply": {"detections": []}}})
    entries = read_all_ours(value)
    assert [len(read_ours(entry)) for entry in entries.values()] == [1, 0]


def test_detections_that_were_found_in_another_unit_are_refused() -> None:
    told = {"unit": "mm", "rotation": np.eye(3).tolist()}
    value = checked({"frame": told, "detections": []})
    assert read_ours(value, "mm") == []
    with refuses(Kind.VALUE, file="a.json", field="frame.unit"):
        read_ours(value, "m")


@pytest.mark.parametrize(
    ("box", "kind", "field", "named"),
    [
        ({**CHAIR, "class": 3}, Kind.VALUE, "class", "'3'"),
        ({"class": "a", "size": [1, 1, 1]}, Kind.MISSING, "center", ""),
        ({**CHAIR, "size": [1, 1]}, Kind.VALUE, "size", "3"),
        ({**CHAIR, "yaw": "30"}, Kind.VALUE, "yaw", "'30'"),
        (
            {"class": "a", "center": [0, 0, 0], "size": [1, 1, 1], "rotation": []},
            Kind.VALUE,
            "rotation",
            "3",
        ),
        (
            {"class": "a", "center": [0, 0, 0], "size": [1, 1, 1], "rotation": [[1, 0, 0]] * 3},
            Kind.VALUE,
            "rotation",
            "3 × 3",
        ),
    ],
)
def test_a_wrong_box_of_ours_is_refused_by_field(
    box: dict[str, Any], kind: Kind, field: str, named: str
) -> None:
    with refuses(kind, file="a.json", field=f"detections[0].{field}", mentions=[named]):
        read_ours(checked({"detections": [box]}))


# ---------------------------------------------------------------- COCO-like lists

LIST: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.ply"}, {"id": "x", "file_path": "sub/b.png"}],
    "categories": [{"id": 3, "name": "chair", "supercategory": "seat"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox_3d": [*CENTER, *SIZE, 0.3]},
        {"id": 2, "image_id": 7, "category_id": 3, "bbox3D": [*CENTER, *SIZE]},
    ],
}


def test_a_coco_like_list_has_centre_size_and_perhaps_a_yaw() -> None:
    found = read_coco(checked(LIST))
    assert boxes(found["a.ply"]) == [[*CENTER, *SIZE, 0.3], [*CENTER, *SIZE, 0.0]]
    assert [label.name for label in found["a.ply"]] == ["chair", "chair"]
    assert found["sub/b.png"] == []
    as_scans = {"scans" if name == "images" else name: value for name, value in LIST.items()}
    assert boxes(read_coco(checked(as_scans))["a.ply"]) == boxes(found["a.ply"])


def test_six_numbers_lie_along_the_scans_axes_and_of_seven_the_last_size_is_the_height() -> None:
    frame = Frame.of(np.zeros((1, 3)), "y", "m")
    one, other = boxes(read_coco(checked(LIST))["a.ply"], frame)
    assert one[3:] == [2.0, 1.0, 0.75, 0.3]
    assert other[3:] == [2.0, 0.75, 1.0, 0.0]


def omni3d_corners(center: np.ndarray, dimensions: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """(8, 3) in the order of Omni3D's drawing; dimensions: width, height, length."""
    width, height, length = dimensions / 2
    x = [-1, 1, 1, -1, -1, 1, 1, -1]
    y = [-1, -1, 1, 1, -1, -1, 1, 1]
    z = [-1, -1, -1, -1, 1, 1, 1, 1]
    return np.array([x, y, z]).T * [length, height, width] @ turn.T + center


def test_omni3ds_corners_and_its_centre_dimensions_and_rotation_are_one_box() -> None:
    camera = Frame.of(np.zeros((1, 3)), "-y", "m")  # x right, y down, z forward
    center, dimensions, turn = np.array([0.5, 0.25, 3]), np.array([0.6, 1.5, 2.0]), turn_y(0.4)
    common = {"image_id": 7, "category_id": 3}
    one = {**common, "bbox3D_cam": omni3d_corners(center, dimensions, turn).tolist()}
    other = {**common, "center_cam": [*center], "dimensions": [*dimensions], "R_cam": turn.tolist()}
    without = {**common, "valid3D": False, "bbox3D_cam": -1}
    found = read_coco(checked({**LIST, "annotations": [one, {**other, "bbox3D_cam": -1}, without]}))
    first, second = found["a.ply"]
    assert boxes([first], camera) == boxes([second], camera)
    box = first.placed(camera)
    assert box[:3] == pytest.approx(camera.rotation @ center)
    assert sorted(box[3:5]) == pytest.approx([0.6, 2.0])
    assert box[5] == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("change", "field", "named"),
    [
        (lambda v: v["annotations"][0].update(image_id=8), "annotations[0].image_id", "8"),
        (lambda v: v["annotations"][1].update(category_id=1), "annotations[1].category_id", "1"),
        (
            lambda v: v["annotations"][0].update(bbox_3d=[1] * 9),
            "annotations[0].bbox_3d",
            "6 or 7 numbers",
        ),
        (lambda v: v["annotations"][0].pop("bbox_3d"), "annotations[0]", "'bbox_3d'"),
        (
            lambda v: v["annotations"][0].update(bbox_3d=[0, 0, "1", 1, 1, 1]),
            "annotations[0].bbox_3d[2]",
            "'1'",
        ),
        (
            lambda v: v["annotations"][0].update(bbox_3d=[0, 0, 0, 1, 1, math.inf]),
            "annotations[0].bbox_3d[5]",
            "finite",
        ),
        (lambda v: v["images"][0].pop("file_name"), "images[0].file_name", ""),
    ],
)
def test_a_wrong_list_is_refused_by_field(
    change: Callable[[Any], Any], field: str, named: str
) -> None:
    value = json.loads(json.dumps(LIST))
    change(value)
    with refuses(field=field, mentions=["a.json: ", named]) as error:
        read_coco(checked(value))
    assert error.value.kind


# ---------------------------------------------------------------- labelCloud


def centroid(degrees: list[float], relative: bool) -> dict[str, Any]:
    """As `CentroidFormat.export_labels` writes an object; relative: `centroid_rel`."""
    angles = np.array(degrees, dtype=float)
    if relative:
        angles = np.radians(angles)
        angles[angles > np.pi] -= 2 * np.pi
    return {
        "name": "chair",
        "centroid": xyz(CENTER),
        "dimensions": dict(zip(("length", "width", "height"), SIZE.tolist(), strict=True)),
        "rotations": xyz(angles.round(8)),
    }


@pytest.mark.parametrize("degrees", [[0, 0, 0], [0, 0, 300], [5, 350, 200]])
def test_labelclouds_three_formats_are_one_box(degrees: list[float]) -> None:
    vertices = {
        "name": "chair",
        "vertices": labelcloud_vertices(CENTER, SIZE, np.array(degrees, dtype=float)),
    }
    values = (centroid(degrees, False), centroid(degrees, True), vertices)
    files = [checked({"objects": [value]}) for value in values]
    found = [boxes(read_labelcloud(file, in_degrees([file]))) for file in files]
    assert found[0] == found[1] == found[2]
    rx, ry, rz = np.radians(degrees)
    turn = turn_z(rz) @ turn_y(ry) @ turn_x(rx)
    label = Label("chair", CENTER, SIZE, turn, FilePlace(Path("a.json")))
    wanted = label.placed(Frame(), upright=True)
    assert found[0][0] == pytest.approx(wanted.tolist(), abs=2e-4)


def test_labelclouds_own_example_of_vertices() -> None:
    # Its test of the export: a unit cube turned by 90, 180 and 270 degrees.
    vertices = labelcloud_vertices(np.zeros(3), np.ones(3), np.array([90.0, 180, 270]))
    assert vertices[0] == [0.5, -0.5, 0.5]
    assert vertices[6] == [-0.5, 0.5, -0.5]


def test_whether_labelcloud_wrote_degrees_is_told_by_all_files_together() -> None:
    ambiguous = checked({"objects": [centroid([0, 0, 1.5], False)]})
    degrees = checked({"objects": [centroid([0, 0, 300], False)]})
    radians = checked({"objects": [centroid([0, 0, 300], True)]})
    assert in_degrees([ambiguous, degrees])
    assert not in_degrees([ambiguous, radians])
    assert not in_degrees([checked({"objects": []})])
    with refuses(Kind.VALUE, mentions=["--boxes"]):
        in_degrees([checked({"objects": []}), ambiguous])


# ---------------------------------------------------------------- SUSTechPOINTS


def test_sustechpoints_turns_as_three_js_does() -> None:
    angles = [0.1, -0.2, 2.5]
    psr = {"position": xyz(CENTER), "scale": xyz(SIZE), "rotation": xyz(angles)}
    value = [{"psr": psr, "obj_type": "chair", "obj_id": "1", "obj_attr": ""}]
    (found,) = read_sustech(checked(value))
    turn = turn_x(0.1) @ turn_y(-0.2) @ turn_z(2.5)
    assert found.turn == pytest.approx(turn)
    assert (found.name, found.center.tolist(), found.size.tolist()) == (
        "chair", CENTER.tolist(), SIZE.tolist(),
    )  # fmt: skip


# ---------------------------------------------------------------- Supervisely


def supervisely(**rotation: float) -> dict[str, Any]:
    geometry = {"position": xyz(CENTER), "dimensions": xyz(SIZE), "rotation": xyz([0, 0, 0])}
    geometry["rotation"] |= rotation
    return {
        "description": "", "key": "e9", "tags": [],
        "objects": [{"key": "ec", "classTitle": "chair", "tags": []}],
        "figures": [
            {"key": "ab", "objectKey": "ec", "geometryType": "cuboid_3d", "geometry": geometry},
            {"key": "ac", "objectKey": "ec", "geometryType": "point_cloud", "geometry": {}},
        ],
    }  # fmt: skip


def test_superviselys_cuboids_turn_about_z_alone() -> None:
    found = read_supervisely(checked(supervisely(z=-1.25)))
    assert boxes(found) == [[*CENTER, *SIZE, -1.25]]
    assert found[0].name == "chair"
    with refuses(mentions=["figures[0].geometry.rotation"]):
        read_supervisely(checked(supervisely(x=0.1)))
    skipped = supervisely()
    skipped["figures"].reverse()
    skipped["figures"][1]["geometry"]["position"]["x"] = "1"
    with refuses(Kind.VALUE, file="a.json", field="figures[1].geometry.position.x"):
        read_supervisely(checked(skipped))
    lost = supervisely()
    lost["objects"] = []
    with refuses(mentions=["figures[0].objectKey"]):
        read_supervisely(checked(lost))
