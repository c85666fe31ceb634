from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sr3d.data.box_files import read_detections, read_ground_truth
from sr3d.data.datasets import SCANNET, SUNRGBD
from sr3d.errors import InputError, Kind
from sr3d.study.external_boxes import evaluate_files
from tests.refusals import refuses
from tests.shared_data import shared

CLASSES = ("chair", "table")
ENTRIES = {
    "scene": np.array(["a", "b", "b"]),
    "label": np.array([0, 1, 0]),
    "score": np.array([0.5, 0.25, 0.125]),
    "box": np.arange(21.0).reshape(3, 7) + 1,
}


def written(path: Path, **changes: Any) -> Path:
    """A file of ENTRIES with changes; None leaves an entry out."""
    entries = {k: v for k, v in {**ENTRIES, **changes}.items() if v is not None}
    if path.suffix == ".npz":
        np.savez(path, **entries)
    else:
        path.write_bytes(pickle.dumps(entries))
    return path


@pytest.mark.parametrize("suffix", ["npz", "pkl"])
def test_detections(tmp_path: Path, suffix: str) -> None:
    found = read_detections(written(tmp_path / f"boxes.{suffix}"))
    assert found.scene.tolist() == ["a", "b", "b"]
    assert found.score is not None
    dtypes = [str(column.dtype) for column in (found.label, found.box, found.score)]
    assert dtypes == ["int64", "float32", "float32"]
    np.testing.assert_array_equal(found.box, ENTRIES["box"])
    np.testing.assert_array_equal(found.score, ENTRIES["score"])


def test_a_pickle_may_hold_lists(tmp_path: Path) -> None:
    path = tmp_path / "boxes.pkl"
    path.write_bytes(pickle.dumps({name: value.tolist() for name, value in ENTRIES.items()}))
    assert read_detections(path).label.tolist() == [0, 1, 0]


def test_ground_truth_needs_no_score_and_may_list_empty_scenes(tmp_path: Path) -> None:
    path = written(tmp_path / "truth.npz", score=None, scenes=np.array(["a", "b", "empty"]))
    truth = read_ground_truth(path, CLASSES)
    assert truth.score is None
    assert truth.known_scenes() == {"a", "b", "empty"}
    found = written(tmp_path / "found.npz", scene=np.array(["empty", "a", "b"]))
    assert len(read_detections(found, CLASSES, truth)) == 3


def test_six_columns_are_upright(tmp_path: Path) -> None:
    found = read_detections(written(tmp_path / "six.npz", box=np.ones((3, 6))))
    assert found.box.tolist() == [[1, 1, 1, 1, 1, 1, 0]] * 3


@pytest.mark.parametrize("box", [np.zeros((0, 7)), np.zeros((0, 6)), np.zeros(0)])
def test_no_boxes(tmp_path: Path, box: np.ndarray) -> None:
    empty = np.array([])
    path = written(tmp_path / "none.npz", scene=empty, label=empty, score=empty, box=box)
    found = read_detections(path, CLASSES)
    assert found.box.shape == (0, 7)
    assert len(found) == 0


BOX: Any = ENTRIES["box"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"scene": None}, ["'scene'"]),
        ({"score": None}, ["'score'"]),
        ({"label": np.array([0, 1])}, ["label", "2 rows"]),
        ({"score": np.array([0.5])}, ["score", "1 rows"]),
        ({"box": BOX[:2]}, ["box", "2 rows"]),
        ({"box": BOX[:, :5]}, ["box", "(3, 5)"]),
        ({"box": BOX[0]}, ["box", "(7,)"]),
        ({"box": np.array([["x"] * 7] * 3)}, ["box"]),
        ({"box": np.where(BOX == 9, np.nan, BOX)}, ["box", "NaN", "row 1"]),
        ({"box": np.where(BOX == 9, 1e39, BOX)}, ["box", "infinity", "row 1"]),
        ({"box": np.where(BOX == 18, 0, BOX)}, ["box", "size", "row 2"]),
        ({"box": np.where(BOX == 18, -1, BOX)}, ["box", "size", "row 2"]),
        ({"score": np.array([0.5, np.inf, 0])}, ["score", "infinity", "row 1"]),
        ({"score": np.array(["a", "b", "c"])}, ["score"]),
        ({"label": np.array([0, 1, 2])}, ["label", "row 2", "0 to 1"]),
        ({"label": np.array([0, -1, 0])}, ["label", "row 1"]),
        ({"label": np.array([0.0, 1.0, 0.0])}, ["label", "float64"]),
        ({"label": np.array([[0], [1], [0]])}, ["label", "(3, 1)"]),
        ({"scene": np.array([1, 2, 3])}, ["scene", "int64"]),
    ],
)
@pytest.mark.parametrize("suffix", ["npz", "pkl"])
def test_bad_entries(
    tmp_path: Path, suffix: str, changes: dict[str, Any], named: list[str]
) -> None:
    path = written(tmp_path / f"bad.{suffix}", **changes)
    with refuses(file=path, mentions=named) as error:
        read_detections(path, CLASSES)
    assert error.value.kind


def test_a_box_that_is_no_number_names_its_scene(tmp_path: Path) -> None:
    for name, bad in (
        ("score", np.array([0.5, 0.2, np.nan])),
        ("box", np.where(BOX == 18, np.inf, BOX)),
    ):
        path = written(tmp_path / "bad.npz", **{name: bad})
        with pytest.raises(InputError) as error:
            read_detections(path, CLASSES)
        assert "'b'" in str(error.value)
        assert "checkpoint" in str(error.value)
    path = written(tmp_path / "truth.npz", score=None, box=np.where(BOX == 18, np.inf, BOX))
    with pytest.raises(InputError) as error:
        read_ground_truth(path, CLASSES)
    assert "checkpoint" not in str(error.value)


def test_ragged_lists(tmp_path: Path) -> None:
    path = written(tmp_path / "ragged.pkl", box=[[1] * 7, [1] * 6, [1] * 7])
    with refuses(Kind.UNREADABLE, file="ragged.pkl"):
        read_detections(path)
    path = written(tmp_path / "ragged.pkl", label=[[0], [0, 1], 2])
    with refuses(Kind.VALUE, file="ragged.pkl"):
        read_detections(path)


def test_scenes_that_the_ground_truth_does_not_know(tmp_path: Path) -> None:
    truth = read_ground_truth(written(tmp_path / "truth.npz", score=None), CLASSES)
    path = written(tmp_path / "found.npz", scene=np.array(["a", "b", "scene0011_00"]))
    assert len(read_detections(path)) == 3
    with pytest.raises(InputError, match=r"scene: .*'scene0011_00'.*'a', 'b'"):
        read_detections(path, CLASSES, truth)


def test_unreadable_files(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.npz").read_bytes()
    for name, content, kind, named in (
        ("cut.npz", whole[: len(whole) // 2], Kind.UNREADABLE, ["npz"]),
        ("empty.npz", b"", Kind.UNREADABLE, ["npz"]),
        ("text.npz", b"scene,label\n", Kind.UNREADABLE, ["npz"]),
        ("boxes.csv", b"", Kind.UNREADABLE, [".npz", ".pkl"]),
        ("list.pkl", pickle.dumps([{"annos": {}}]), Kind.UNREADABLE, ["ground truth"]),
        ("number.pkl", pickle.dumps(3), Kind.VALUE, [" int"]),
    ):
        (tmp_path / name).write_bytes(content)
        with refuses(kind, file=tmp_path / name, mentions=named):
            read_detections(tmp_path / name)
    with refuses(Kind.MISSING, file="absent.npz"):
        read_ground_truth(tmp_path / "absent.npz", CLASSES)
    np.savez(tmp_path / "objects.npz", scene=np.array([{}], dtype=object))
    with refuses(Kind.UNREADABLE, file="objects.npz"):
        read_detections(tmp_path / "objects.npz")


INFOS: dict[str, Any] = {
    "metainfo": {"categories": {"sofa": 0, "table": 1, "chair": 2}, "info_version": "1.1"},
    "data_list": [
        {
            "lidar_points": {"lidar_path": "points/scene0000_00.bin"},
            "instances": [
                {"bbox_3d": [1, 2, 3, 4, 5, 6], "bbox_label_3d": 2},
                {"bbox_3d": np.arange(7.0) + 1, "bbox_label_3d": np.int64(1)},
                {"bbox_3d": [1, 2, 3, 4, 5, 6], "bbox_label_3d": 0},
                {"bbox_3d": [1, 2, 3, 4, 5, 6], "bbox_label_3d": -1},
            ],
        },
        {"lidar_points": {"lidar_path": "scene0154_00.bin"}, "instances": []},
    ],
}


def infos(path: Path, change: Any = None) -> Path:
    value = copy.deepcopy(INFOS)
    if change is not None:
        change(value)
    path.write_bytes(pickle.dumps(value))
    return path


def test_info_files_are_mapped_by_class_name(tmp_path: Path) -> None:
    truth = read_ground_truth(infos(tmp_path / "infos.pkl"), CLASSES)
    assert truth.label.tolist() == [0, 1]  # chair, table; no sofa among our classes
    assert truth.box.tolist() == [[1, 2, 3, 4, 5, 6, 0], [1, 2, 3, 4, 5, 6, 7]]
    assert truth.scenes == ("scene0000_00", "scene0154_00")
    assert truth.known_scenes() == {"scene0000_00", "scene0154_00"}


def test_info_files_without_names_use_our_order(tmp_path: Path) -> None:
    path = infos(tmp_path / "infos.pkl", lambda value: value["metainfo"].clear())
    truth = read_ground_truth(path, ("sofa", "table", "chair"))
    assert truth.label.tolist() == [2, 1, 0]
    with pytest.raises(InputError, match=r"instances\[0\].*bbox_label_3d is 2"):
        read_ground_truth(path, CLASSES)


def first(info: Any) -> Any:
    """The boxes of the first scene."""
    return info["data_list"][0]["instances"]


@pytest.mark.parametrize(
    ("change", "kind", "field", "named"),
    [
        (lambda v: v["metainfo"]["categories"].pop("chair"), Kind.MISSING, None, "'chair'"),
        (
            lambda v: v["data_list"][0].pop("lidar_points"),
            Kind.UNREADABLE,
            "data_list[0].lidar_points",
            "",
        ),
        (lambda v: first(v)[1].pop("bbox_3d"), Kind.UNREADABLE, "instances[1]", "bbox_3d"),
        (
            lambda v: first(v)[1].update(bbox_3d=[1]),
            Kind.UNREADABLE,
            "instances[1]",
            "bbox_3d has 1",
        ),
        (lambda v: first(v)[0].update(bbox_label_3d=9), Kind.UNREADABLE, "instances[0]", "is 9"),
        (lambda v: first(v)[0].update(bbox_3d=["x"] * 7), Kind.UNREADABLE, "instances[0]", "'x'"),
        (
            lambda v: first(v)[0]["bbox_3d"].__setitem__(4, 0),
            Kind.UNREADABLE,
            "instances[0]",
            "bbox_3d",
        ),
        (lambda v: v["data_list"].append(v["data_list"][1]), Kind.CONFLICT, None, "'scene0154_00'"),
        (lambda v: v.update(data_list=None), Kind.UNREADABLE, None, ""),
        (
            lambda v: v["metainfo"].update(categories={"chair": "x", "table": 1}),
            Kind.UNREADABLE,
            "metainfo",
            "'x'",
        ),
    ],
)
def test_bad_info_files(
    tmp_path: Path, change: Any, kind: Kind, field: str | None, named: str
) -> None:
    path = infos(tmp_path / "infos.pkl", change)
    with refuses(kind, file=path, field=field, mentions=[named]):
        read_ground_truth(path, CLASSES)


def test_an_info_file_holds_no_detections(tmp_path: Path) -> None:
    with refuses(Kind.UNREADABLE, file="infos.pkl"):
        read_detections(infos(tmp_path / "infos.pkl"))


def test_scannet_validation_counts() -> None:
    truth = read_ground_truth(shared("real/scannet/infos/scannet_infos_val.pkl"), SCANNET.classes)
    count = dict(zip(SCANNET.classes, np.bincount(truth.label).tolist(), strict=True))
    assert count == {
        "cabinet": 372, "bed": 81, "chair": 1368, "sofa": 97, "table": 350, "door": 467,
        "window": 282, "bookshelf": 77, "picture": 222, "counter": 52, "desk": 127, "curtain": 67,
        "refrigerator": 57, "showercurtrain": 28, "toilet": 58, "sink": 98, "bathtub": 31,
        "garbagebin": 530,
    }  # fmt: skip
    assert len(truth.scenes) == 312
    assert not truth.box[:, 6].any()


def test_scannet_training_set_keeps_its_two_empty_scenes() -> None:
    truth = read_ground_truth(shared("real/scannet/infos/scannet_infos_train.pkl"), SCANNET.classes)
    assert (len(truth), len(truth.scenes)) == (15_733, 1201)
    assert truth.known_scenes() - set(truth.scene) == {"scene0154_00", "scene0636_00"}


def test_sunrgbd_info_file() -> None:
    path = shared("real/sunrgbd/points/sunrgbd_000017_infos.pkl")
    truth = read_ground_truth(path, SUNRGBD.classes)
    assert truth.scene.tolist() == ["000017", "000017"]
    assert [SUNRGBD.classes[i] for i in truth.label] == ["night_stand", "bed"]
    assert truth.box[:, 6] == pytest.approx([-1.1186424, -1.1052], abs=1e-6)


def test_s3dis_info_file_with_numpy_labels() -> None:
    truth = read_ground_truth(
        shared("real/s3dis/s3dis_infos.pkl"), ("table", "chair", "sofa", "bookcase", "board")
    )
    assert (len(truth), truth.scenes) == (9, ("Area_1_office_2",))


def test_evaluate_files(tmp_path: Path) -> None:
    truth = written(tmp_path / "truth.npz", score=None)
    found = written(tmp_path / "found.npz", label=np.array([0, 1, 1]))
    result = evaluate_files(truth, [found], "scannet").files[0].result
    # cabinet: one of two boxes found. bed: found, and a wrong one after it.
    assert result["per_class"]["cabinet"] == pytest.approx({"AP25": 50, "AP50": 50})
    assert result["per_class"]["bed"] == pytest.approx({"AP25": 100, "AP50": 100})
    assert result["AP25"] == pytest.approx(75)
    assert len(result["without_ground_truth"]) == 16
    with refuses(mentions=["'scanet'", "'scannet'"]):
        evaluate_files(truth, [found], "scanet")


def test_evaluate_files_heeds_yaw_wherever_there_is_one(tmp_path: Path) -> None:
    box = np.array([[0, 0, 0, 3, 1, 1, 0]] * 3)
    turned = np.array([[0, 0, 0, 1, 3, 1, np.pi / 2]] * 3)
    truth = written(tmp_path / "truth.npz", score=None, box=box)
    found = written(tmp_path / "found.npz", box=turned)
    result = evaluate_files(truth, [found], "scannet").files[0].result
    assert result["AP50"] == pytest.approx(100)
