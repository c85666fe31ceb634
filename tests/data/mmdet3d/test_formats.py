"""Info files of both formats and of every data set; the whole of ScanNet; export and back."""

from __future__ import annotations

import math
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sr3d.data.datasets import S3DIS, SCANNET, SUNRGBD, get_dataset
from sr3d.data.mmdet3d.export import export_mmdet3d
from sr3d.data.mmdet3d.infos import read_infos
from sr3d.data.mmdet3d.reader import prepare_mmdet3d
from sr3d.data.prepared import Manifest, PreparedDataset, PreparedWriter, read_manifest, verify
from sr3d.data.readers.conversion import ConversionOptions
from sr3d.data.readers.published import scannet
from sr3d.data.readers.scannet import prepare_scannet
from sr3d.data.safe_pickle import load_pickle
from sr3d.data.scene import Scene
from sr3d.errors import InputError, Kind
from sr3d.geometry.boxes import Boxes
from tests.refusals import refuses
from tests.shared_data import shared

TURN = [[0.0, -1.0, 0.0, 2.0], [1.0, 0.0, 0.0, 3.0], [0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.0, 1.0]]
POINTS = np.array([[0, 0, 0, 0, 51, 255], [1, 2, 3, 102, 153, 204]], dtype=np.float32)
ALIGNED = [1.0, 3.5, 2.0, 2.0, 1.0, 3.0]  # around the aligned points
TURNED = [0.5, 1.0, 1.5, 1.0, 2.0, 3.0, 0.25]

# ---------------------------------------------------------------- the format up to 1.0


def old_info(name: str, boxes: Sequence[Sequence[float]], names: Sequence[str], kind: Any) -> Any:
    """A scene as mmdet3d up to 1.0 wrote it."""
    annos: dict[str, Any] = {"gt_num": len(boxes)}
    if boxes:
        annos |= {
            "name": np.array(names),
            "location": np.array(boxes)[:, :3],
            "dimensions": np.array(boxes)[:, 3:6],
            "gt_boxes_upright_depth": np.array(boxes, dtype=np.float64),
            "index": np.arange(len(boxes), dtype=np.int32),
            "class": np.array([kind.classes.index(n) for n in names]),
        }
    if kind is SCANNET:
        annos["axis_align_matrix"] = np.array(TURN)
    return {
        "point_cloud": {"num_features": 6, "lidar_idx": name},
        "pts_path": f"points/{name}.bin",
        "annos": annos,
    }


def new_info(name: str, boxes: Sequence[Sequence[float]], names: Sequence[str], kind: Any) -> Any:
    """The same scene as 1.1 writes it."""
    return {
        "lidar_points": {"num_pts_feats": 6, "lidar_path": f"{name}.bin"},
        "instances": [
            {"bbox_3d": list(box), "bbox_label_3d": kind.classes.index(n)}
            for box, n in zip(boxes, names, strict=True)
        ],
        **({"axis_align_matrix": TURN} if kind is SCANNET else {}),
    }


def write(path: Path, kind: Any, scenes: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = {name: i for i, name in enumerate(kind.classes)}
    new = scenes and "lidar_points" in scenes[0]
    meta = {"categories": names, "info_version": "1.1"}
    path.write_bytes(pickle.dumps({"metainfo": meta, "data_list": scenes} if new else scenes))


def write_cloud(root: Path, name: str, rows: np.ndarray = POINTS) -> None:
    (root / "points").mkdir(parents=True, exist_ok=True)
    rows.astype("<f4").tofile(root / "points" / f"{name}.bin")


def one_scene(
    root: Path, kind: Any, scale: int, info: Any, name: str, split: str = "train"
) -> Scene:
    rows = POINTS.copy()
    rows[:, 3:] = rows[:, 3:] / np.float32(255) * scale
    write_cloud(root, name, rows)
    out = root / "out"
    prepare_mmdet3d(root, out, scenes=[name], append=info is None)
    return PreparedDataset(out, split)[0]


def same(one: Scene, other: Scene) -> bool:
    pairs = (
        (one.points, other.points),
        (one.colors, other.colors),
        (one.boxes.tensor, other.boxes.tensor),
        (one.labels, other.labels),
    )
    return one.id == other.id and all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("kind", "scale", "box", "names"),
    [
        (SCANNET, 255, ALIGNED, ["table", "bed"]),
        (SUNRGBD, 1, TURNED, ["night_stand", "bed"]),
    ],
    ids=["scannet", "sunrgbd"],
)
def test_both_formats_give_the_same_scene(
    tmp_path: Path, kind: Any, scale: int, box: list[float], names: list[str]
) -> None:
    found = []
    for info in (old_info, new_info):
        root = tmp_path / info.__name__
        write(root / f"{kind.name}_infos_train.pkl", kind, [info("s1", [box, box], names, kind)])
        write(root / f"{kind.name}_infos_val.pkl", kind, [])
        found.append(one_scene(root, kind, scale, info, "s1"))
    assert same(*found)
    assert found[0].labels.tolist() == [kind.classes.index(n) for n in names]
    assert found[0].boxes.tensor[0].tolist() == [*box, 0.0][:7]
    assert torch.equal(found[0].colors, torch.tensor(POINTS[:, 3:]) / 255)
    if kind is SUNRGBD:  # no alignment
        assert torch.equal(found[0].points, torch.tensor(POINTS[:, :3]))


def test_an_old_scene_without_boxes_and_with_labels_alone(tmp_path: Path) -> None:
    empty = old_info("a", [], [], S3DIS)
    unnamed = old_info("b", [ALIGNED], ["sofa"], S3DIS)
    del unnamed["annos"]["name"]  # S3DIS never had names
    write(tmp_path / "infos.pkl", S3DIS, [empty, unnamed])
    one, two = read_infos(tmp_path / "infos.pkl", S3DIS.classes)
    assert one.boxes.shape == (0, 7)
    assert two.labels.tolist() == [S3DIS.classes.index("sofa")]


def test_yaw_of_before_1_0_turns_clockwise(tmp_path: Path) -> None:
    write(tmp_path / "i.pkl", SUNRGBD, [old_info("a", [TURNED], ["bed"], SUNRGBD)])
    (plain,) = read_infos(tmp_path / "i.pkl", SUNRGBD.classes)
    (turned,) = read_infos(tmp_path / "i.pkl", SUNRGBD.classes, clockwise=True)
    assert (plain.boxes[0, 6], turned.boxes[0, 6]) == (0.25, -0.25)
    assert np.array_equal(plain.boxes[:, :6], turned.boxes[:, :6])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda e: e.pop("pts_path"), "'pts_path'"),
        (lambda e: e["annos"].pop("gt_num"), "'gt_num'"),
        (lambda e: e["annos"].update(gt_num=5), "gt_num is 5"),
        (lambda e: e["annos"].update(gt_boxes_upright_depth=np.ones((1, 5))), "5 values"),
        (lambda e: e["annos"].update(gt_boxes_upright_depth=np.zeros((1, 7))), "positive"),
        (lambda e: e["annos"].update(gt_boxes_upright_depth=np.full((1, 7), np.nan)), "NaN"),
        (lambda e: e["annos"].update(axis_align_matrix=np.eye(3)), "16 numbers"),
        (lambda e: (e["annos"].pop("name"), e["annos"].update({"class": [99]})), "class is 99"),
    ],
)
def test_bad_old_infos_are_told_with_their_field(tmp_path: Path, change: Any, named: str) -> None:
    entry = old_info("a", [ALIGNED], ["bed"], SCANNET)
    change(entry)
    write(tmp_path / "i.pkl", SCANNET, [entry])
    with refuses(mentions=["i.pkl: ", "[0]", named]):
        read_infos(tmp_path / "i.pkl", SCANNET.classes)


# ---------------------------------------------------------------- every data set


def test_the_real_sun_rgbd_cloud(tmp_path: Path) -> None:
    points = shared("real/sunrgbd/points")
    root = tmp_path / "root"
    (root / "points").mkdir(parents=True)
    shutil.copy(points / "000017.bin", root / "points")
    infos = {"val": [points / "sunrgbd_000017_infos.pkl"]}
    prepare_mmdet3d(root, tmp_path / "out", dataset="sunrgbd", infos=infos)
    (scene,) = PreparedDataset(tmp_path / "out", "val")
    assert (scene.id, len(scene)) == ("000017", 50_000)
    assert [SUNRGBD.classes[i] for i in scene.labels] == ["night_stand", "bed"]
    assert float(scene.colors.max()) == 1.0
    inside = scene.boxes.contains(scene.points).sum(dim=0)
    assert int(inside.min()) > 900
    # The other sense of turning fits worse.
    mirrored = scene.boxes.tensor.clone()
    mirrored[:, 6] *= -1
    assert int(inside[1]) > 1.2 * int(Boxes(mirrored).contains(scene.points)[:, 1].sum())


def test_the_real_s3dis_room(tmp_path: Path) -> None:
    root = shared("real/s3dis")
    infos = {"train": [root / "s3dis_infos.pkl"]}
    prepare_mmdet3d(root, tmp_path / "out", dataset="s3dis", infos=infos)
    (room,) = PreparedDataset(tmp_path / "out", "train")
    assert (room.id, len(room), len(room.boxes)) == ("Area_1_office_2", 100, 9)
    assert float(room.colors.max()) == 1.0


def test_s3dis_has_an_info_file_an_area(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for n in range(1, 7):
        name = f"Area_{n}_office_1"
        info = new_info(name, [[0.5, 1, 1.5, 1, 2, 3]], ["sofa"], S3DIS)
        write(root / "infos" / f"s3dis_infos_Area_{n}.pkl", S3DIS, [info])
        write_cloud(root, name)
    manifest = prepare_mmdet3d(root, tmp_path / "out", how=ConversionOptions(keep_going=True))
    assert manifest.splits == {
        "train": [f"Area_{n}_office_1" for n in (1, 2, 3, 4, 6)],
        "val": ["Area_5_office_1"],
    }
    assert any({"train", "5", "204"} <= set(text.split()) for text in manifest.deviations)
    (root / "infos" / "s3dis_infos_Area_4.pkl").unlink()
    with refuses(Kind.MISSING, mentions=["s3dis_infos_Area_4.pkl"]):
        prepare_mmdet3d(root, tmp_path / "other")


def test_which_data_set_is_found_or_asked_for(tmp_path: Path) -> None:
    with refuses(Kind.MISSING, file=tmp_path, mentions=["--root"]):
        prepare_mmdet3d(tmp_path, tmp_path / "out")
    for kind in (SCANNET, SUNRGBD):
        write(tmp_path / f"{kind.name}_infos_train.pkl", kind, [])
    with refuses(Kind.VALUE, mentions=["--dataset"]):
        prepare_mmdet3d(tmp_path, tmp_path / "out")
    with refuses(Kind.MISSING, mentions=["scannet_infos_val.pkl"]):
        prepare_mmdet3d(tmp_path, tmp_path / "out", dataset="scannet")


# ---------------------------------------------------------------- the whole of ScanNet


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 1513 real info entries, with clouds that stand in for the real ones: each is the corners
    of its boxes, taken back to where the scanner saw them.
    """
    infos = shared("real/scannet/infos")
    root = tmp_path_factory.mktemp("stand_ins")
    for split in ("train", "val"):
        shutil.copy(infos / f"scannet_infos_{split}.pkl", root)
        for info in read_infos(infos / f"scannet_infos_{split}.pkl", SCANNET.classes):
            corners = Boxes.from_array(info.boxes).corners().reshape(-1, 3).double().numpy()
            assert info.alignment is not None
            if not len(corners):
                corners = np.ones((1, 3))
            turn, shift = info.alignment[:3, :3], info.alignment[:3, 3]
            rows = np.full((len(corners), 6), 255.0)
            rows[:, :3] = (corners - shift) @ turn
            write_cloud(root, info.id, rows)
    return root


def test_the_whole_of_scannet_has_the_published_counts(stand_ins: Path, tmp_path: Path) -> None:
    manifest = prepare_mmdet3d(stand_ins, tmp_path / "out", how=ConversionOptions(workers=2))
    assert {split: len(ids) for split, ids in manifest.splits.items()} == {
        "train": 1201,
        "val": 312,
    }
    assert sum(facts["boxes"] for facts in manifest.scenes.values()) == 15_733 + 4_364
    assert manifest.deviations == []
    boxes = {scene: facts["boxes"] for scene, facts in manifest.scenes.items()}
    assert boxes == scannet().scene_boxes


def test_one_box_too_few_in_the_whole_of_scannet_is_told(stand_ins: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "points").symlink_to(stand_ins / "points")
    shutil.copy(stand_ins / "scannet_infos_val.pkl", root)
    infos = load_pickle(stand_ins / "scannet_infos_train.pkl")
    entry = infos["data_list"][7]
    name = entry["lidar_points"]["lidar_path"].removesuffix(".bin")
    lost = entry["instances"].pop()
    plain = {
        "metainfo": infos["metainfo"],
        "data_list": [
            {
                "lidar_points": dict(e["lidar_points"]),
                "instances": [
                    {"bbox_3d": list(i["bbox_3d"]), "bbox_label_3d": int(i["bbox_label_3d"])}
                    for i in e["instances"]
                ],
                "axis_align_matrix": np.array(e["axis_align_matrix"]).tolist(),
            }
            for e in infos["data_list"]
        ],
    }
    (root / "scannet_infos_train.pkl").write_bytes(pickle.dumps(plain))
    named = ["train", "15732", "15733", SCANNET.classes[lost["bbox_label_3d"]], f" {name} ("]
    with refuses(Kind.VALUE, file="out", mentions=named):
        prepare_mmdet3d(root, tmp_path / "out", how=ConversionOptions(workers=2))
    assert not (tmp_path / "out" / "manifest.json").exists()


# ---------------------------------------------------------------- export and back


def rooms_like(dataset: str) -> list[Scene]:
    """Scenes as the readers make them: colours are bytes by 255, except in procedural rooms."""
    kind = get_dataset(dataset)
    draw = torch.Generator().manual_seed(1)
    scenes = []
    for i, count in enumerate((3, 0, 1)):
        box = torch.rand(count, 7, generator=draw) + 0.2
        box[:, :3] -= 0.7
        if not kind.rotated:
            box[:, 6] = 0
        colors = torch.randint(256, (50, 3), generator=draw).float() / 255
        if dataset.startswith("synthetic"):
            colors = torch.rand(50, 3, generator=draw)
        name = f"Area_{5 if i == 2 else 1}_room_{i}" if dataset == "s3dis" else f"scene{i:04d}_00"
        labels = torch.randint(len(kind.classes), (count,), generator=draw)
        # Wide enough that every box of a ScanNet scene lies among the points.
        points = 4 * torch.randn(50, 3, generator=draw)
        scenes.append(Scene(name, points, colors, Boxes(box), labels))
    return scenes


def write_prepared(folder: Path, dataset: str) -> Manifest:
    kind = get_dataset(dataset)
    writer = PreparedWriter(folder, dataset, kind.classes, kind.rotated, "a test")
    for scene, split in zip(rooms_like(dataset), ("train", "train", "val"), strict=True):
        writer.add(split, scene)
    return writer.finish()


@pytest.mark.parametrize(
    "dataset", ["scannet", "sunrgbd", "s3dis", "synthetic", "synthetic_rotated"]
)
def test_export_and_back_changes_nothing(tmp_path: Path, dataset: str) -> None:
    first = write_prepared(tmp_path / "first", dataset)
    done = export_mmdet3d(tmp_path / "first", tmp_path / "bins")
    assert done.scenes == 3
    back = prepare_mmdet3d(
        tmp_path / "bins", tmp_path / "back", how=ConversionOptions(keep_going=True)
    )
    assert back.digest() == first.digest()
    for split in ("train", "val"):
        pairs = zip(
            PreparedDataset(tmp_path / "first", split),
            PreparedDataset(tmp_path / "back", split),
            strict=True,
        )
        assert all(same(*pair) for pair in pairs)
    verify(tmp_path / "back")


def test_the_real_scan_survives_the_way_to_mmdet3d_and_back(tmp_path: Path) -> None:
    root = shared("real/scannet")
    first = prepare_scannet(root, tmp_path / "first", scenes=["scene0000_00"])
    export_mmdet3d(tmp_path / "first", tmp_path / "bins")
    back = prepare_mmdet3d(tmp_path / "bins", tmp_path / "back", scenes=["scene0000_00"])
    assert back.digest() == first.digest()
    theirs = np.fromfile(root / "points" / "scene0000_00.bin", "<f4").reshape(-1, 6)
    ours = np.fromfile(tmp_path / "bins" / "points" / "scene0000_00.bin", "<f4").reshape(-1, 6)
    assert np.array_equal(ours[:, 3:], theirs[:, 3:])  # bytes again, to the bit


def test_what_is_exported_has_mmdet3ds_form(tmp_path: Path) -> None:
    write_prepared(tmp_path / "first", "scannet")
    export_mmdet3d(tmp_path / "first", tmp_path / "bins")
    with open(tmp_path / "bins" / "scannet_infos_train.pkl", "rb") as file:
        infos = pickle.load(file)
    assert infos["metainfo"]["info_version"] == "1.1"
    assert infos["metainfo"]["categories"]["garbagebin"] == 17
    one, two = infos["data_list"]
    assert one["lidar_points"] == {"num_pts_feats": 6, "lidar_path": "scene0000_00.bin"}
    assert [len(i["bbox_3d"]) for i in one["instances"]] == [6, 6, 6]
    assert two["instances"] == []
    assert one["axis_align_matrix"] == np.eye(4).tolist()
    # mmdet3d joins these paths whether or not it reads them.
    assert one["pts_instance_mask_path"] == one["pts_semantic_mask_path"] == "scene0000_00.bin"
    size = (tmp_path / "bins" / "points" / "scene0000_00.bin").stat().st_size
    assert size == 50 * 6 * 4


def test_export_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_prepared(tmp_path / "first", "scannet")
    with refuses(Kind.VALUE, file="first"):
        export_mmdet3d(tmp_path / "first", tmp_path / "first")
    (tmp_path / "first" / "points" / "scene0001_00.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"scene0001_00\.npy"):
        export_mmdet3d(tmp_path / "first", tmp_path / "bins")
    assert not list((tmp_path / "bins").glob("*.pkl"))
    assert [p.name for p in (tmp_path / "bins" / "points").iterdir()] == ["scene0000_00.bin"]
    assert math.isfinite(read_manifest(tmp_path / "first").scenes["scene0000_00"]["points"])
