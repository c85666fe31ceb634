"""Superpoints: computed ones, and through the prepared format and transforms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sr3d.config import AugmentConfig
from sr3d.data.loader import generator_for
from sr3d.data.prepared import PreparedDataset, PreparedWriter, read_manifest, verify
from sr3d.data.prepared import reading as prepared_reading
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene, check_scene
from sr3d.data.superpoints import over_segment
from sr3d.data.transforms import augment
from sr3d.errors import DamagedFile, Kind
from sr3d.geometry.boxes import Boxes
from tests.refusals import refuses

CLASSES = ("chair", "table")


def plane(normal: int, at: float, n: int = 1500, seed: int = 0) -> torch.Tensor:
    """(n, 3) points of a square of 1 m."""
    points = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed))
    points[:, normal] = at
    return points


def test_two_planes_that_meet_share_no_superpoint_away_from_the_edge() -> None:
    floor, wall = plane(2, 0.0), plane(0, 0.0, seed=1)
    points = torch.cat([floor, wall])
    found = over_segment(points, torch.full_like(points, 0.5))
    far_floor = found[:1500][floor[:, 0] > 0.15]
    far_wall = found[1500:][wall[:, 2] > 0.15]
    assert not {*far_floor.tolist()} & {*far_wall.tolist()}
    assert found.unique().tolist() == [*range(int(found.max()) + 1)]
    for number in found.unique():
        extent = points[found == number].amax(0) - points[found == number].amin(0)
        assert float(extent.max()) < 0.8


def test_colours_divide_a_plane() -> None:
    points = plane(2, 0.0)
    red = (points[:, :1] > 0.5).float()
    found = over_segment(points, torch.cat([red, 1 - red, 1 - red], dim=1))
    left = points[:, 0] < 0.45
    right = points[:, 0] > 0.55
    assert not {*found[left].tolist()} & {*found[right].tolist()}


@pytest.mark.parametrize("count", [0, 1, 2, 20])
def test_few_and_equal_points(count: int) -> None:
    found = over_segment(torch.zeros(count, 3), torch.zeros(count, 3))
    assert found.tolist() == [0] * count


def test_a_room_is_segmented_the_same_way_each_time_and_objects_stay_apart() -> None:
    room = generate_room(0, points=6000)
    found = over_segment(room.points, room.colors)
    assert torch.equal(found, over_segment(room.points, room.colors))
    assert room.instance is not None
    table = torch.zeros(int(found.max()) + 1, len(room.boxes) + 1)
    table.index_put_((found, room.instance + 1), torch.ones(len(found)), accumulate=True)
    on_object = room.instance >= 0
    major = table.argmax(dim=1)[found] - 1
    assert float((major == room.instance)[on_object].float().mean()) > 0.9


# ---------------------------------------------------------------- the prepared format


def make_scene(name: str, superpoints: bool = True) -> Scene:
    """Each point's red tells its superpoint."""
    draw = torch.Generator().manual_seed(0)
    points, colors = torch.randn(50, 3, generator=draw), torch.rand(50, 3, generator=draw)
    number = torch.arange(50) % 5
    colors[:, 0] = number / 4
    box = torch.tensor([[0.0, 0, 0, 1, 1, 1, 0]])
    numbers = number if superpoints else None
    return Scene(name, points, colors, Boxes(box), torch.tensor([0]), None, numbers)


def write(folder: Path, *scenes: Scene, **options: Any) -> None:
    writer = PreparedWriter(folder, "scannet", CLASSES, False, "a test", **options)
    for scene in scenes:
        writer.add("train", scene)
    writer.finish()


A = make_scene("a")


def test_they_come_back_and_are_verified(tmp_path: Path) -> None:
    write(tmp_path, A)
    found = PreparedDataset(tmp_path, "train", superpoints=True)[0].superpoints
    assert found is not None
    assert A.superpoints is not None
    assert torch.equal(found, A.superpoints)
    verify(tmp_path)
    assert PreparedDataset(tmp_path, "train")[0].superpoints is None
    path = tmp_path / "superpoints" / "a.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFile):
        PreparedDataset(tmp_path, "train", superpoints=True)[0]


def test_the_digest_of_a_folder_does_not_change_when_they_are_added(tmp_path: Path) -> None:
    write(tmp_path, make_scene("a", superpoints=False))
    before = read_manifest(tmp_path)
    assert not (tmp_path / "superpoints").exists()
    write(tmp_path, A)
    after = read_manifest(tmp_path)
    assert before.digest() == after.digest()
    assert after.files().keys() - before.files().keys() == {"superpoints/a.npy"}


def test_scenes_without_get_computed_ones_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, make_scene("a", superpoints=False))
    calls = []

    def counted(points: torch.Tensor, colors: torch.Tensor) -> torch.Tensor:
        calls.append(len(points))
        return over_segment(points, colors)

    monkeypatch.setattr(prepared_reading, "over_segment", counted)
    scenes = PreparedDataset(tmp_path, "train", superpoints=True)
    first, again = scenes[0].superpoints, scenes[0].superpoints
    assert calls == [50]
    assert first is not None
    assert again is not None
    assert torch.equal(first, again)


def test_augmentation_keeps_each_points_superpoint() -> None:
    config = AugmentConfig(sample_fraction=(0.5, 0.5), crop=(0.6, 0.9), crop_points=5)
    for seed in range(5):
        found = augment(A, config, rotated=False, generator=generator_for(seed))
        assert found.superpoints is not None
        assert len(found) < 50
        assert torch.equal(found.superpoints, (4 * found.colors[:, 0]).round().long())


@pytest.mark.parametrize("bad", [torch.zeros(49), torch.full((50,), -1)])
def test_wrong_numbers_are_refused(bad: torch.Tensor) -> None:
    kind = Kind.VALUE if len(bad) == 50 else Kind.CONFLICT
    with refuses(kind, file="here"):
        check_scene(replace(A, superpoints=bad.long()), CLASSES, "here")
