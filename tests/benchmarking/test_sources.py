"""Scenes to measure on: floors of any size, prepared scenes, scans from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from sr3d.data.datasets import DATASETS
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene, check_scene
from sr3d.errors import Kind
from sr3d.study.benchmarking import subject as sources
from sr3d.study.benchmarking.subject import Floor, PreparedScenes, Rooms, ScanFile, side_by_side
from tests.refusals import refuses


@pytest.fixture(autouse=True)
def _small_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_POINTS_OF_A_ROOM", 2000)
    monkeypatch.setattr(sources, "_POINTS", {})


@pytest.mark.parametrize(("points", "rooms"), [(300, 1), (2000, 1), (2001, 2), (21_000, 11)])
def test_a_floor_has_exactly_the_points_asked_for(points: int, rooms: int) -> None:
    floor = Floor("synthetic", points)
    (scene,) = floor.load()
    assert (len(scene), floor.rooms) == (points, rooms)
    check_scene(scene, DATASETS["synthetic"].classes, "floor")
    assert torch.equal(scene.points, floor.load()[0].points)
    if points <= 2000:  # part of one room, in which no point is drawn twice
        assert len(scene.points.unique(dim=0)) == points


def inside(points: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Points in each axis-aligned box."""
    gap = (points[:, None] - boxes[:, :3]).abs() - boxes[:, 3:6] / 2
    return (gap < 0).all(dim=2).sum(dim=0)


def test_rooms_of_a_floor_lie_apart_with_their_boxes() -> None:
    rooms = [generate_room(seed, points=2000) for seed in range(5)]
    floor = side_by_side(rooms)
    places = floor.points.split(2000)
    ends = [(p[:, :2].amin(dim=0), p[:, :2].amax(dim=0)) for p in places]
    for i, (low, high) in enumerate(ends):
        for other_low, other_high in ends[:i]:
            assert ((low > other_high + 0.19) | (high < other_low - 0.19)).any()
    counts = [len(room.labels) for room in rooms]
    for room, points, boxes in zip(rooms, places, floor.boxes.tensor.split(counts), strict=True):
        assert torch.equal(points[:, 2], room.points[:, 2])  # heights stay
        # To the bounds of rounding, each box keeps the points that it had.
        own, moved = inside(room.points, room.boxes.tensor), inside(points, boxes)
        assert (own - moved).abs().max() <= 2
        assert own.max() > 30


def test_rooms_fit_the_classes_and_boxes_of_every_data_set() -> None:
    for name, dataset in DATASETS.items():
        scenes = Rooms(name, 2).load()
        assert len(scenes) == 2
        for scene in scenes:
            check_scene(scene, dataset.classes, name)
        assert any(bool((scene.boxes.tensor[:, 6] != 0).any()) for scene in scenes) == (
            dataset.rotated
        )


def test_prepared_scenes_are_spread_over_the_split(rooms: Path) -> None:
    assert [s.id for s in PreparedScenes("synthetic", rooms, "train", 3).load()] == [
        "room_000000", "room_000002", "room_000004"
    ]  # fmt: skip
    assert len(PreparedScenes("synthetic", rooms, "val", 99).load()) == 3
    with refuses(Kind.CONFLICT, file=rooms, mentions=["'synthetic'", "'scannet'"]):
        PreparedScenes("scannet", rooms, "val", 1).load()


def rows() -> np.ndarray:
    draw = np.random.default_rng(0)
    colors = draw.integers(0, 256, (200, 3)) / 255
    return np.concatenate([draw.normal(size=(200, 3)), colors], axis=1).astype(np.float32)


def write_ply(path: Path, values: np.ndarray) -> None:
    vertex = np.empty(
        len(values),
        dtype=[(n, "f4") for n in "xyz"] + [(n, "u1") for n in ("red", "green", "blue")],
    )
    for i, name in enumerate(vertex.dtype.names or ()):
        vertex[name] = values[:, i] if i < 3 else np.round(values[:, i] * 255)
    PlyData([PlyElement.describe(vertex, "vertex")]).write(path)


def test_every_kind_of_file_gives_the_same_scan(tmp_path: Path) -> None:
    values = rows()
    bright = values * np.array([1, 1, 1, 255, 255, 255], dtype=np.float32)
    np.save(tmp_path / "scan.npy", values.astype(np.float64))
    np.savez(tmp_path / "scan.npz", points=values)
    bright.tofile(tmp_path / "scan.bin")
    write_ply(tmp_path / "scan.PLY", values)
    for name in ("scan.npy", "scan.npz", "scan.bin", "scan.PLY"):
        (scene,) = ScanFile("scannet", tmp_path / name).load()
        assert (scene.id, len(scene.labels)) == (name, 0)
        assert np.array_equal(scene.points.numpy(), values[:, :3])
        assert np.allclose(scene.colors.numpy(), values[:, 3:], atol=1e-6)
    values.tofile(tmp_path / "frame.bin")  # mmdet3d keeps the colours of SUN RGB-D as they are
    (frame,) = ScanFile("sunrgbd", tmp_path / "frame.bin").load()
    assert np.array_equal(frame.colors.numpy(), values[:, 3:])


def bad_file(folder: Path, name: str, content: np.ndarray | str | None) -> Path:
    path = folder / name
    if isinstance(content, str):
        path.write_text(content)
    elif content is not None and path.suffix == ".npz":
        np.savez(path, cloud=content)
    elif content is not None:
        np.save(path, content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "kind", "mentions"),
    [
        ("none.npy", None, Kind.MISSING, [".npy", ".ply"]),
        ("scan.doc", "1 2 3", Kind.UNREADABLE, ["'.doc'", ".ply"]),
        ("scan.xyz", "1 2 3", Kind.VALUE, ["1", "100"]),
        ("scan.npy", "not an array", Kind.UNREADABLE, ["NPY", "numpy.save"]),
        ("scan.npz", "not an archive", Kind.UNREADABLE, ["NPZ", "numpy.save"]),
        ("scan.ply", "ply?", Kind.UNREADABLE, ["PLY", "'ply?'"]),
        ("scan.bin", "odd", Kind.UNREADABLE, ["3", "float32"]),
        ("scan.npz", np.zeros((4, 2, 2)), Kind.VALUE, ["(4, 2, 2)"]),
        ("scan.npy", np.zeros((4, 2)), Kind.VALUE, ["(4, 2)"]),
        ("scan.npy", np.zeros((0, 6)), Kind.EMPTY, []),
        ("scan.npy", np.full((4, 6), np.nan), Kind.VALUE, ["4 of 4", "NaN"]),
        ("scan.npy", np.full((4, 6), -1.0), Kind.VALUE, []),
        ("scan.npy", np.array([["text"]]), Kind.VALUE, ["<U4", "float32"]),
    ],
)
def test_a_bad_scan_is_told(
    tmp_path: Path, name: str, content: np.ndarray | str | None, kind: Kind, mentions: list[str]
) -> None:
    path = bad_file(tmp_path, name, content)
    with refuses(kind, file=path, mentions=mentions):
        ScanFile("scannet", path).load()


def test_scans_and_floors_say_what_they_are(tmp_path: Path) -> None:
    assert str(ScanFile("scannet", tmp_path / "x.npy")) == str(tmp_path / "x.npy")
    floor = Floor("synthetic", 4500)
    assert floor.rooms == 3
    assert {"3", "4500"} <= {*str(floor).replace(",", "").split()}
    scene: Scene = Rooms("synthetic", 1).load()[0]
    assert len(scene) == 2000
