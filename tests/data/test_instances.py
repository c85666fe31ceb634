"""The object of each point: through the prepared format, transforms and older folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sr3d.config import AugmentConfig
from sr3d.data.loader import TrainingScenes, generator_for
from sr3d.data.mean_sizes import mean_sizes_of
from sr3d.data.prepared import MANIFEST, PreparedDataset, PreparedWriter, read_manifest, verify
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene, check_scene
from sr3d.data.transforms import augment, pick_points, sample_points
from sr3d.errors import DamagedFile, InputError, Kind
from sr3d.geometry.boxes import Boxes
from sr3d.runs.files import with_checksum, without_checksum
from tests.data.older_formats import as_version_2
from tests.refusals import refuses

CLASSES = ("chair", "table")


def make_scene(name: str, seed: int = 0, points: int = 50) -> Scene:
    """Two boxes; each point's red tells its instance: 0, 0.5 and 1 for -1, 0 and 1."""
    draw = torch.Generator().manual_seed(seed)
    instance = torch.randint(-1, 2, (points,), generator=draw)
    box = torch.rand(2, 7, generator=draw) + 0.1
    box[:, 6] = 0
    colors = torch.rand(points, 3, generator=draw)
    colors[:, 0] = (instance + 1) / 2
    return Scene(
        name, torch.randn(points, 3, generator=draw), colors, Boxes(box), torch.tensor([0, 1]),
        instance,
    )  # fmt: skip


def told_by_colour(scene: Scene) -> bool:
    assert scene.instance is not None
    return torch.equal(scene.instance, (2 * scene.colors[:, 0]).round().long() - 1)


def write(folder: Path, *scenes: Scene, **options: Any) -> None:
    writer = PreparedWriter(folder, "scannet", CLASSES, False, "a test", **options)
    for scene in scenes:
        writer.add("train", scene)
    writer.finish()


A, B = make_scene("a"), make_scene("b", 1)


def test_instances_come_back_and_are_verified(tmp_path: Path) -> None:
    write(tmp_path, A, B)
    assert read_manifest(tmp_path).has_instances
    for found, given in zip(PreparedDataset(tmp_path, "train"), (A, B), strict=True):
        assert found.instance is not None
        assert given.instance is not None
        assert found.instance.dtype == torch.int64
        assert torch.equal(found.instance, given.instance)
    path = tmp_path / "instances" / "b.npy"
    np.save(path, np.load(path) + np.int16(1))
    for read in (lambda: list(PreparedDataset(tmp_path, "train")), lambda: verify(tmp_path)):
        with pytest.raises(DamagedFile, match=r"instances.b\.npy"):
            read()


def test_instances_are_not_read_where_nobody_needs_them(tmp_path: Path) -> None:
    write(tmp_path, A)
    (tmp_path / "instances" / "a.npy").unlink()
    assert PreparedDataset(tmp_path, "train", instances=False)[0].instance is None


def test_a_folder_may_lack_them_in_all_scenes_or_in_some(tmp_path: Path) -> None:
    write(tmp_path, replace(A, instance=None))
    assert not (tmp_path / "instances").exists()
    assert PreparedDataset(tmp_path, "train")[0].instance is None
    write(tmp_path, B, append=True)
    assert not read_manifest(tmp_path).has_instances
    assert PreparedDataset(tmp_path, "train")[1].instance is not None
    verify(tmp_path)


def test_a_folder_of_version_2_opens_and_preparing_it_again_adds_instances(tmp_path: Path) -> None:
    write(tmp_path, A, B)
    new = read_manifest(tmp_path)
    as_version_2(tmp_path)
    old = read_manifest(tmp_path)
    assert not old.has_instances
    assert old.digest() == new.digest()  # so finished runs stay valid
    verify(tmp_path)
    scene = PreparedDataset(tmp_path, "train")[0]
    assert scene.instance is None
    assert torch.equal(scene.points, A.points)
    assert PreparedDataset(tmp_path, "train").mean_sizes() == mean_sizes_of([A, B], 2)
    files = [tmp_path / "points" / "a.npy", tmp_path / "train.npz"]
    before = [file.stat().st_ino for file in files]
    write(tmp_path, A, B)
    assert read_manifest(tmp_path) == new
    assert [file.stat().st_ino for file in files] == before
    verify(tmp_path)


def test_appending_a_scene_again_adds_its_instances(tmp_path: Path) -> None:
    write(tmp_path, A, B)
    as_version_2(tmp_path)
    write(tmp_path, A, append=True)
    found = PreparedDataset(tmp_path, "train")[0].instance
    assert found is not None
    assert A.instance is not None
    assert torch.equal(found, A.instance)
    write(tmp_path, replace(A, instance=None), append=True)  # which takes nothing away
    assert PreparedDataset(tmp_path, "train")[0].instance is not None
    with refuses(Kind.CONFLICT, file=tmp_path, mentions=["'a'"]):
        write(tmp_path, replace(A, instance=torch.zeros_like(A.instance)), append=True)
    verify(tmp_path)


def test_instances_that_a_set_no_longer_has_are_removed(tmp_path: Path) -> None:
    write(tmp_path, A, B)
    write(tmp_path, A, replace(B, instance=None))
    assert [path.name for path in (tmp_path / "instances").iterdir()] == ["a.npy"]
    verify(tmp_path)


def test_an_interrupted_preparation_resumes_with_instances(tmp_path: Path) -> None:
    def writer() -> PreparedWriter:
        return PreparedWriter(tmp_path, "scannet", CLASSES, False, "a test")

    first = writer()
    for scene in (A, B):
        first.add("train", scene, stamp="s")
    first.close()
    (tmp_path / "instances" / "b.npy").unlink()
    again = writer()
    assert [again.journaled("train", name, "s") for name in "ab"] == [True, False]
    again.adopt("a")
    again.add("train", B, stamp="s")
    again.finish()
    assert read_manifest(tmp_path).has_instances
    verify(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    write(tmp_path, A)
    path = tmp_path / MANIFEST
    value = without_checksum(json.loads(path.read_text()), path, "")
    path.write_text(json.dumps(with_checksum({**value, "version": 99})))
    with pytest.raises(InputError) as error:
        read_manifest(tmp_path)
    assert (error.value.kind, error.value.file) == (Kind.VALUE, path)


@pytest.mark.parametrize("instance", [torch.zeros(49), torch.full((50,), 2), torch.full((50,), -2)])
def test_instances_that_are_no_boxes_are_refused(instance: torch.Tensor) -> None:
    kind = Kind.CONFLICT if len(instance) != 50 else Kind.VALUE
    with refuses(kind, file="a", mentions=["instance"]):
        check_scene(replace(A, instance=instance.long()), CLASSES, "a")


@pytest.mark.parametrize("count", [20, 50, 90])
def test_transforms_carry_instances(count: int) -> None:
    draw = generator_for(3)
    assert told_by_colour(sample_points(A, count, draw))
    assert told_by_colour(pick_points(A, torch.randperm(50, generator=draw)))
    config = AugmentConfig(sample_count=count)
    augmented = augment(A, config, False, draw)
    assert len(augmented) == count
    assert told_by_colour(augmented)
    plain = augment(replace(A, instance=None), config, False, generator_for(5))
    told = augment(A, config, False, generator_for(5))
    assert plain.instance is None
    assert torch.equal(plain.points, told.points)  # draws do not depend on them
    assert torch.equal(plain.boxes.tensor, told.boxes.tensor)


def test_training_scenes_have_instances(tmp_path: Path) -> None:
    write(tmp_path, A, B)
    scenes = TrainingScenes(PreparedDataset(tmp_path, "train"), AugmentConfig(), seed=0)
    assert told_by_colour(scenes[0, 0, 1])


@pytest.mark.parametrize("rotated", [False, True])
def test_rooms_know_the_object_of_each_point(rotated: bool) -> None:
    for seed in range(3):
        room = generate_room(seed, rotated=rotated, points=8000)
        assert room.instance is not None
        check_scene(room, tuple(map(str, range(13))), "room")
        for box in range(len(room.boxes)):
            own = room.points[room.instance == box]
            assert len(own) >= 30
            grown = Boxes(room.boxes.tensor + torch.tensor([0, 0, 0, 0.1, 0.1, 0.1, 0]))
            assert grown.contains(own)[:, box].float().mean() > 0.99
        assert (room.instance == -1).any()


def test_mean_sizes_are_those_of_the_training_boxes(tmp_path: Path) -> None:
    writer = PreparedWriter(tmp_path, "scannet", CLASSES, False, "a test")
    writer.add("train", A)
    writer.add("val", B)
    manifest = writer.finish()
    found = PreparedDataset(tmp_path, "val").mean_sizes()
    assert found == mean_sizes_of([A], 2)
    assert manifest.mean_sizes == [list(size) for size in found]


def test_a_set_without_training_boxes_has_no_mean_sizes(tmp_path: Path) -> None:
    none = replace(A, boxes=Boxes.empty(), labels=A.labels[:0], instance=None)
    write(tmp_path, none)
    assert read_manifest(tmp_path).mean_sizes == []
    with pytest.raises(InputError):
        PreparedDataset(tmp_path, "train").mean_sizes()
