"""mmdet3d's prepared clouds and info files."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sr3d.data.datasets import SCANNET
from sr3d.data.mmdet3d.reader import prepare_mmdet3d, read_infos
from sr3d.data.prepared import MANIFEST, PreparedDataset, verify
from sr3d.data.readers.conversion import ConversionOptions
from sr3d.errors import InputError
from tests.refusals import refuses
from tests.shared_data import shared

# ---------------------------------------------------------------- the real files


def test_the_real_cloud_of_scene0113_has_its_four_boxes(tmp_path: Path) -> None:
    root = shared("real/scannet")
    prepare_mmdet3d(root, tmp_path, scenes=["scene0113_00"])
    verify(tmp_path)
    (scene,) = PreparedDataset(tmp_path, "train")
    names = [SCANNET.classes[i] for i in scene.labels.tolist()]
    assert names == ["chair", "chair", "chair", "table"]
    # The boxes span points that were labelled by hand: each face touches one.
    for box in scene.boxes.tensor:
        low, high = box[:3] - box[3:6] / 2, box[:3] + box[3:6] / 2
        inside = ((scene.points >= low - 1e-5) & (scene.points <= high + 1e-5)).all(dim=1)
        own = scene.points[inside]
        assert torch.allclose(own.amin(dim=0), low, atol=1e-5)
        assert torch.allclose(own.amax(dim=0), high, atol=1e-5)


@pytest.mark.parametrize(
    ("split", "scenes", "boxes", "empty"), [("train", 1201, 15_733, 2), ("val", 312, 4_364, 0)]
)
def test_the_real_infos_are_whole(split: str, scenes: int, boxes: int, empty: int) -> None:
    infos = read_infos(shared(f"real/scannet/infos/scannet_infos_{split}.pkl"), SCANNET.classes)
    counts = [len(info.boxes) for info in infos]
    assert (len(infos), sum(counts), counts.count(0)) == (scenes, boxes, empty)
    assert counts == [len(info.labels) for info in infos]
    assert all(info.alignment is not None for info in infos)


# ---------------------------------------------------------------- files of our own

ID = "scene9000_00"
POINTS = np.array(
    [[0, 0, 0, 0, 0, 0], [1, 2, 3, 255, 51, 102], [4, 5, 6, 10, 20, 30]], dtype=np.float32
)
# 90° about z and a shift: (x, y, z) to (2 - y, 3 + x, 0.5 + z)
TURN = [[0.0, -1.0, 0.0, 2.0], [1.0, 0.0, 0.0, 3.0], [0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.0, 1.0]]
BOX = [1.0, 3.5, 2.0, 2.0, 1.0, 3.0]  # around the first two points
TABLE = SCANNET.classes.index("table")


def info(scene: str = ID, box: Any = BOX, label: Any = TABLE) -> dict[str, Any]:
    return {
        "lidar_points": {"num_pts_feats": 6, "lidar_path": f"{scene}.bin"},
        "instances": [{"bbox_3d": box, "bbox_label_3d": label}],
        "axis_align_matrix": TURN,
    }


def write_infos(root: Path, split: str, infos: list[Any], classes: Any = SCANNET.classes) -> None:
    root.mkdir(parents=True, exist_ok=True)
    names = {name: i for i, name in enumerate(classes)}
    value = {"metainfo": {"categories": names, "info_version": "1.1"}, "data_list": infos}
    (root / f"scannet_infos_{split}.pkl").write_bytes(pickle.dumps(value))


def write_points(root: Path, rows: np.ndarray = POINTS, scene: str = ID) -> None:
    (root / "points").mkdir(parents=True, exist_ok=True)
    rows.astype("<f4").tofile(root / "points" / f"{scene}.bin")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_points(tmp_path / "root")
    write_infos(tmp_path / "root", "train", [info()])
    write_infos(tmp_path / "root", "val", [])
    return tmp_path / "root"


def prepared(root: Path, scenes: Sequence[str] = (ID,), **options: Any) -> Any:
    prepare_mmdet3d(root, root.parent / "out", scenes=scenes, **options)
    (scene,) = PreparedDataset(root.parent / "out", "train")
    return scene


def test_points_are_aligned_once_and_colours_scaled(root: Path) -> None:
    scene = prepared(root)
    assert scene.points.tolist() == [[2, 3, 0.5], [0, 4, 3.5], [-3, 7, 6.5]]
    assert torch.equal(scene.colors, torch.tensor(POINTS[:, 3:]) / 255)
    assert scene.boxes.tensor.tolist() == [[*BOX, 0]]
    assert scene.labels.tolist() == [TABLE]


def test_labels_go_by_name(root: Path) -> None:
    names = list(reversed(SCANNET.classes))
    write_infos(root, "train", [info(label=names.index("table"))], names)
    assert prepared(root).labels.tolist() == [TABLE]


def test_objects_of_no_class_fall_out(root: Path) -> None:
    entry = info()
    entry["instances"].append({"bbox_3d": BOX, "bbox_label_3d": -1})
    write_infos(root, "train", [entry])
    assert prepared(root).labels.tolist() == [TABLE]


def test_infos_may_lie_in_a_folder_and_name_one_for_the_points(root: Path) -> None:
    entry = info()
    entry["lidar_points"]["lidar_path"] = f"points/{ID}.bin"
    write_infos(root / "infos", "train", [entry])
    write_infos(root / "infos", "val", [])
    for split in ("train", "val"):
        (root / f"scannet_infos_{split}.pkl").unlink()
    assert prepared(root).id == ID


def write_mask(root: Path, mask: npt.ArrayLike, dtype: str = "<i8") -> None:
    (root / "instance_mask").mkdir(exist_ok=True)
    np.array(mask, dtype=dtype).tofile(root / "instance_mask" / f"{ID}.bin")


def test_a_mask_gives_each_box_the_object_that_it_spans(root: Path) -> None:
    assert prepared(root).instance is None
    write_mask(root, [7, 7, 9])  # the box spans the first two points
    assert prepared(root).instance.tolist() == [0, 0, -1]


def test_masks_of_several_objects(root: Path) -> None:
    draw = np.random.default_rng(0)
    sizes, places = draw.uniform(0.3, 1.5, (5, 3)), draw.uniform(-4, 4, (5, 3))
    pairs = zip(sizes, places, strict=True)
    cloud = [place + draw.uniform(-0.5, 0.5, (200, 3)) * s for s, place in pairs]
    rows = np.zeros((1000, 6), np.float32)
    rows[:, :3] = np.concatenate(cloud)
    rows[0, 3] = 255
    write_points(root, rows)
    low, high = (np.stack([extent(part, axis=0) for part in cloud]) for extent in (np.min, np.max))
    chosen = [3, 0, 4]  # objects with a box, in the order of their boxes
    boxes = np.concatenate([(low + high) / 2, high - low], axis=1)[chosen]
    entry = info() | {"axis_align_matrix": np.eye(4).tolist()}
    entry["instances"] = [{"bbox_3d": b, "bbox_label_3d": TABLE} for b in boxes.tolist()]
    write_infos(root, "train", [entry])
    order = draw.permutation(1000)
    write_points(root, rows[order])
    own = (np.arange(1000) // 200)[order]
    write_mask(root, 10 + own)
    expected = [chosen.index(i) if i in chosen else -1 for i in own.tolist()]
    assert prepared(root).instance.tolist() == expected


def test_a_mask_of_other_data_counts_as_absent(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_mask(root, [7, 9, 9])
    assert prepared(root).instance is None
    assert "instance_mask" in caplog.text


def test_a_mask_has_a_number_for_each_point(root: Path) -> None:
    write_mask(root, [7, 7])
    with pytest.raises(InputError, match=rf"instance_mask.{ID}\.bin"):
        prepared(root)


def test_a_scene_without_boxes(root: Path) -> None:
    write_infos(root, "train", [{**info(), "instances": []}])
    assert len(prepared(root).boxes) == 0


def test_changed_infos_are_read_again_though_the_cloud_is_the_same(root: Path) -> None:
    assert len(prepared(root).boxes) == 1
    write_infos(root, "train", [{**info(), "instances": []}])
    assert len(prepared(root).boxes) == 0


def test_splits_order_and_progress(root: Path, tmp_path: Path) -> None:
    write_points(root, scene="b")
    write_points(root, scene="c")
    write_infos(root, "train", [info("c"), info(), info("absent")])
    write_infos(root, "val", [info("b")])
    seen = []
    how = ConversionOptions(progress=lambda *at: seen.append(at))
    manifest = prepare_mmdet3d(root, tmp_path, scenes=["b", ID, "c"], how=how)
    assert manifest.splits == {"train": ["c", ID], "val": ["b"]}
    assert seen == [(1, 3), (2, 3), (3, 3)]


def aligned_already(root: Path) -> None:
    rows = POINTS.copy()
    rows[:, :3] = [[2, 3, 0.5], [0, 4, 3.5], [-3, 7, 6.5]]
    write_points(root, rows)


def with_nan(root: Path) -> None:
    rows = POINTS.copy()
    rows[2, 1] = np.nan
    write_points(root, rows)


def changed(**entries: Any) -> Callable[[Path], None]:
    return lambda root: write_infos(root, "train", [{**info(), **entries}])


BIN, PKL = f"{ID}.bin", "scannet_infos_train.pkl"
SCALED = [[2.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]
BAD: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "cloud absent": (lambda r: (r / "points" / BIN).unlink(), BIN, "1 of 1"),
    "cloud of nothing": (lambda r: write_points(r, POINTS[:0]), BIN, "0 bytes"),
    "cloud truncated": (lambda r: (r / "points" / BIN).write_bytes(b"1234567"), BIN, "7 bytes"),
    "cloud with NaN": (with_nan, BIN, "point 2"),
    "colours to 1": (lambda r: write_points(r, POINTS / 255), BIN, "colours"),
    "colours beyond 255": (lambda r: write_points(r, POINTS * 2), BIN, "colours"),
    "points aligned already": (aligned_already, BIN, "aligned"),
    "infos absent": (lambda r: (r / PKL).unlink(), PKL, "infos"),
    "infos truncated": (lambda r: (r / PKL).write_bytes((r / PKL).read_bytes()[:90]), PKL, ""),
    "infos of no format": (lambda r: (r / PKL).write_bytes(pickle.dumps([{}])), PKL, "pts_path"),
    "infos of a later pickle protocol": (
        lambda r: (r / PKL).write_bytes(b"\x80\xff."),
        PKL,
        "protocol",
    ),
    "infos of other classes": (lambda r: write_infos(r, "train", [], ["a", "b"]), PKL, "class"),
    "infos that call": (lambda r: (r / PKL).write_bytes(pickle.dumps(print)), PKL, "print"),
    "scene listed twice": (lambda r: write_infos(r, "train", [info(), info()]), ID, "twice"),
    "scene in both splits": (lambda r: write_infos(r, "val", [info()]), ID, "twice"),
    "no alignment": (changed(axis_align_matrix=None), ID, "axis_align_matrix"),
    "alignment that scales": (changed(axis_align_matrix=SCALED), ID, " z"),
    "alignment of 3 rows": (changed(axis_align_matrix=SCALED[:3]), ID, "16 numbers"),
    "box of five": (lambda r: write_infos(r, "train", [info(box=BOX[:5])]), PKL, "6 or 7"),
    "flat box": (lambda r: write_infos(r, "train", [info(box=[*BOX[:5], 0.0])]), PKL, "positive"),
    "label of no class": (lambda r: write_infos(r, "train", [info(label=18)]), PKL, "18"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_by_name_and_leave_no_manifest(root: Path, case: str) -> None:
    spoil, name, named = BAD[case]
    spoil(root)
    with refuses(mentions=[name, named]) as caught:
        prepared(root)
    assert caught.value.kind
    assert not (root.parent / "out" / MANIFEST).exists()
