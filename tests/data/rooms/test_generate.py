"""Scenes are reproducible, valid and true to their rooms; data sets do not depend on workers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sr3d.data.datasets import SYNTHETIC, SYNTHETIC_ROTATED
from sr3d.data.prepared import PreparedDataset, verify
from sr3d.data.rooms import generate
from sr3d.data.rooms.generate import MIN_VISIBLE, build_room, generate_room, prepare_rooms
from sr3d.data.scene import Scene, check_scene
from sr3d.errors import Kind
from tests.refusals import refuses

FLAVOURS = pytest.mark.parametrize("rotated", [False, True])


def same(a: Scene, b: Scene) -> bool:
    return all(
        torch.equal(x, y)
        for x, y in (
            (a.points, b.points),
            (a.colors, b.colors),
            (a.boxes.tensor, b.boxes.tensor),
            (a.labels, b.labels),
        )
    )


@FLAVOURS
def test_the_same_seed_gives_the_same_bits_and_another_does_not(rotated: bool) -> None:
    first = generate_room(11, rotated=rotated)
    assert same(first, generate_room(11, rotated=rotated))
    other = generate_room(12, rotated=rotated)
    assert not torch.equal(first.points, other.points)
    assert first.boxes.tensor.shape != other.boxes.tensor.shape or not torch.equal(
        first.boxes.tensor, other.boxes.tensor
    )


@FLAVOURS
def test_scenes_are_valid_and_have_exactly_the_points_asked_for(rotated: bool) -> None:
    dataset = SYNTHETIC_ROTATED if rotated else SYNTHETIC
    for seed, count in ((0, 20_000), (1, 20_000), (2, 5_000), (3, 1_000)):
        scene = generate_room(seed, rotated=rotated, points=count)
        check_scene(scene, dataset.classes, scene.id)
        assert scene.points.shape == (count, 3)
        assert scene.points.dtype == scene.colors.dtype == torch.float32
        assert scene.labels.dtype == torch.int64
        assert scene.points.is_contiguous()
        assert len(scene.boxes) > 0
        assert float(scene.colors.std()) > 0.02
        assert float(scene.boxes.sizes.min()) >= 0.02


@FLAVOURS
def test_visible_points_lie_in_their_boxes_and_boxes_show_enough(rotated: bool) -> None:
    for seed in range(8):
        made, scene = build_room(seed, rotated=rotated), generate_room(seed, rotated=rotated)
        kept = np.flatnonzero(made.visible >= MIN_VISIBLE)
        assert scene.labels.tolist() == made.room.labels[kept].tolist()
        for k, box in zip(kept, scene.boxes.tensor.double(), strict=True):
            points = scene.points[torch.from_numpy(made.owner == k)].double() - box[:3]
            assert len(points) == made.visible[k] >= MIN_VISIBLE
            cos, sin = torch.cos(box[6]), torch.sin(box[6])
            x, y, z = points.unbind(dim=1)
            local = torch.stack([x * cos + y * sin, y * cos - x * sin, z], dim=1).abs()
            outside = (local - box[3:6] / 2).amax(dim=1)
            distance = torch.linalg.norm(scene.points.double(), dim=1).max()
            assert float(outside.max()) < 5 * (0.002 + 0.001 * float(distance) ** 2)
            assert float((outside > 0.03).double().mean()) < 0.02


def test_axis_aligned_rooms_stand_about_the_origin() -> None:
    for seed in range(5):
        scene = generate_room(seed)
        assert not scene.boxes.tensor[:, 6].any()
        assert float(scene.points[:, 2].min()) > -0.1
        assert float(scene.points[:, 2].max()) < 2.8
        assert float(scene.points[:, :2].abs().max()) < 2.25 + 0.2


def test_rotated_rooms_are_told_from_the_camera() -> None:
    yaws = []
    for seed in range(12):
        scene = generate_room(seed, rotated=True)
        floor = float(scene.points[:, 2].quantile(0.01))
        assert -1.75 < floor < -1.1
        # The view is narrower than a half-space about the y axis.
        assert float((scene.points[:, 1] > 0).float().mean()) > 0.99
        yaw = scene.boxes.tensor[:, 6]
        assert float(yaw.min()) >= -math.pi - 1e-6
        assert float(yaw.max()) < math.pi + 1e-6
        yaws.append(yaw % (math.pi / 2))
    assert float(torch.cat(yaws).std()) > 0.2  # rooms lie at any angle


def test_prepared_rooms_do_not_depend_on_workers(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    settings: dict[str, Any] = {"train": 3, "val": 2, "seed": 5, "points": 2_000}
    one = prepare_rooms(tmp_path / "one", workers=1, **settings)
    two = prepare_rooms(
        tmp_path / "two", workers=2, progress=lambda *done: calls.append(done), **settings
    )
    assert one.digest() == two.digest()
    assert calls == [(i, 5) for i in range(1, 6)]
    verify(tmp_path / "two")
    train = PreparedDataset(tmp_path / "one", "train")
    assert train.ids == ["room_000000", "room_000001", "room_000002"]
    assert not torch.equal(train[0].points, train[1].points)
    assert train.manifest.classes == list(SYNTHETIC.classes)
    assert len(PreparedDataset(tmp_path / "one", "val")) == 2


def test_a_prepared_folder_is_reused_only_if_it_holds_the_same_set(tmp_path: Path) -> None:
    def written() -> int:
        return (tmp_path / "manifest.json").stat().st_mtime_ns

    settings: dict[str, Any] = {"train": 2, "val": 1, "points": 1_000}
    first = prepare_rooms(tmp_path, seed=1, **settings)
    when = written()
    assert prepare_rooms(tmp_path, seed=1, **settings).digest() == first.digest()
    assert written() == when
    (tmp_path / "points" / "room_000001.npy").write_bytes(b"broken")
    assert prepare_rooms(tmp_path, seed=1, **settings).digest() == first.digest()
    verify(tmp_path)
    assert prepare_rooms(tmp_path, seed=2, **settings).digest() != first.digest()


def test_rooms_that_lie_in_the_folder_are_not_generated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    make = generate.numbered_room

    def counted(number: int, *rest: Any) -> Scene:
        if len(made) == stop:
            raise KeyboardInterrupt
        made.append(number)
        return make(number, *rest)

    monkeypatch.setattr(generate, "numbered_room", counted)
    settings: dict[str, Any] = {"train": 2, "val": 2, "seed": 1, "points": 1_000, "workers": 1}
    stop = 3
    with pytest.raises(KeyboardInterrupt):
        prepare_rooms(tmp_path, **settings)
    stop = 9
    manifest = prepare_rooms(tmp_path, **settings)
    assert len(made) <= 5  # the room that was being made when it stopped, at most, once more
    before = len(made)
    (tmp_path / "manifest.json").unlink()  # as a workflow does before it prepares again
    assert prepare_rooms(tmp_path, **settings).digest() == manifest.digest()
    assert len(made) == before
    verify(tmp_path)


def test_validation_rooms_do_not_change_with_the_number_of_training_rooms(tmp_path: Path) -> None:
    few = prepare_rooms(tmp_path / "few", train=1, val=1, seed=3, points=1_000, rotated=True)
    many = prepare_rooms(tmp_path / "many", train=2, val=1, seed=3, points=1_000, rotated=True)
    assert few.rotated
    assert few.dataset == "synthetic_rotated"
    (room,) = few.splits["val"]
    assert few.scenes[room] == many.scenes[room]


@pytest.mark.parametrize(
    "bad", [{"train": 0}, {"val": 0}, {"points": 10}, {"seed": -1}, {"workers": 0}]
)
def test_senseless_counts_are_refused(tmp_path: Path, bad: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"train": 1, "val": 1, "seed": 0, "points": 1_000} | bad
    ((name, value),) = bad.items()
    with refuses(Kind.VALUE, mentions=[f"{name}={value}"]):
        prepare_rooms(tmp_path, **settings)
