"""Rooms hold what they should, where such things stand, in exact boxes that do not collide."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sr3d.data.datasets import SYNTHETIC
from sr3d.data.rooms.furnish import Room, furnished_room
from sr3d.data.rooms.furniture import BUILDERS

ROOMS = 60
WALL_DEPTH = 0.1  # door and window frames reach this far into the wall
# Objects a room, at least, on average over ROOMS rooms.
FREQUENT = {"cabinet": 1.0, "chair": 1.2, "door": 1.0, "window": 1.0, "picture": 1.2}
FREQUENT |= {"garbagebin": 0.7, "table": 0.35, "bookshelf": 0.4}


@pytest.fixture(scope="module")
def rooms() -> list[Room]:
    return [furnished_room(np.random.default_rng(seed)) for seed in range(ROOMS)]


def names(room: Room) -> list[str]:
    return [SYNTHETIC.classes[label] for label in room.labels]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    low = np.maximum(a[:3] - a[3:6] / 2, b[:3] - b[3:6] / 2)
    high = np.minimum(a[:3] + a[3:6] / 2, b[:3] + b[3:6] / 2)
    common = np.prod(np.clip(high - low, 0, None))
    return float(common / (np.prod(a[3:6]) + np.prod(b[3:6]) - common))


def test_every_class_is_frequent(rooms: list[Room]) -> None:
    labels = np.concatenate([room.labels for room in rooms])
    count = np.bincount(labels, minlength=len(SYNTHETIC.classes)) / ROOMS
    for name, mean in zip(SYNTHETIC.classes, count, strict=True):
        assert mean >= FREQUENT.get(name, 0.25), name
    sizes = [len(room.labels) for room in rooms]
    assert 9 <= np.mean(sizes) <= 15
    assert min(sizes) >= 5


def test_all_kinds_of_rooms_and_floor_plans_occur(rooms: list[Room]) -> None:
    assert {room.kind for room in rooms} == {
        "bedroom", "living", "office", "kitchen", "bathroom", "studio",
    }  # fmt: skip
    assert 0 < sum(room.plan.notch is not None for room in rooms) < ROOMS / 2
    for room in rooms:
        assert (room.plan.size >= 3).all()
        assert (room.plan.size <= 4.5).all()
        corners = np.array([wall.start for wall in room.plan.walls])
        ends = np.array([wall.at(wall.length) for wall in room.plan.walls])
        np.testing.assert_allclose(ends, np.roll(corners, -1, axis=0), atol=1e-9)


def test_boxes_are_the_exact_extent_of_their_parts(rooms: list[Room]) -> None:
    for room in rooms[:20]:
        for k, (own, aligned) in enumerate(zip(room.boxes, room.aligned, strict=True)):
            points = room.mesh.corners[room.owner == k].reshape(-1, 3)
            low, high = points.min(axis=0), points.max(axis=0)
            np.testing.assert_allclose(aligned[:6], [*(low + high) / 2, *(high - low)], atol=1e-9)
            cos, sin = math.cos(own[6]), math.sin(own[6])
            x, y, z = (points - own[:3]).T
            local = np.stack([x * cos + y * sin, y * cos - x * sin, z])
            np.testing.assert_allclose(local.max(axis=1), own[3:6] / 2, atol=1e-9)
            np.testing.assert_allclose(local.min(axis=1), -own[3:6] / 2, atol=1e-9)
            assert own[3:6].min() >= 0.02
            assert aligned[6] == 0


def test_nothing_collides_but_chairs_reach_under_their_own_table(rooms: list[Room]) -> None:
    for room in rooms:
        for i in range(len(room.labels)):
            for j in range(i):
                reaches = room.under[i] == j or room.under[j] == i
                limit = 0.2 if reaches else 1e-6
                assert iou(room.aligned[i], room.aligned[j]) <= limit, (
                    room.kind,
                    names(room),
                    i,
                    j,
                )
    assert sum(int((room.under >= 0).sum()) for room in rooms) > ROOMS / 2


def test_boxes_lie_inside_the_room(rooms: list[Room]) -> None:
    for room in rooms:
        half = room.plan.size / 2 + WALL_DEPTH
        low = room.aligned[:, :3] - room.aligned[:, 3:6] / 2
        high = room.aligned[:, :3] + room.aligned[:, 3:6] / 2
        assert (low[:, :2] >= -half).all()
        assert (high[:, :2] <= half).all()
        assert (low[:, 2] >= -1e-9).all()
        assert (high[:, 2] <= room.plan.height).all()
        if room.plan.notch is not None:
            start, end = room.plan.notch[:2] + WALL_DEPTH, room.plan.notch[2:] - WALL_DEPTH
            assert not ((high[:, :2] > start) & (low[:, :2] < end)).all(axis=1).any()


def test_big_furniture_stands_with_its_back_to_a_wall(rooms: list[Room]) -> None:
    backed = {"bed", "cabinet", "bookshelf", "refrigerator", "toilet", "desk", "sofa"}
    checked = 0
    for room in rooms:
        for name, box in zip(names(room), room.boxes, strict=True):
            if name not in backed:
                continue
            front = np.array([-math.sin(box[6]), math.cos(box[6])])
            back = box[:2] - front * box[4] / 2
            inward = [np.array([-math.sin(w.yaw), math.cos(w.yaw)]) for w in room.plan.walls]
            gaps = [
                float((back - wall.start) @ n)
                for wall, n in zip(room.plan.walls, inward, strict=True)
                if front @ n > 0.99 and (back - wall.start) @ n > -1e-6
            ]
            assert min(gaps) < 0.05, name
            checked += 1
    assert checked > 2 * ROOMS


def test_chairs_face_the_table_they_belong_to(rooms: list[Room]) -> None:
    for room in rooms:
        for k in np.flatnonzero(room.under >= 0):
            assert names(room)[k] == "chair"
            assert names(room)[room.under[k]] in ("table", "desk")
            yaw = room.boxes[k, 6]
            towards = room.boxes[room.under[k], :2] - room.boxes[k, :2]
            assert np.dot((-math.sin(yaw), math.cos(yaw)), towards) > 0


def test_walls_are_open_where_doors_and_windows_are(rooms: list[Room]) -> None:
    """No wall or floor piece has its middle inside a door's or window's opening."""
    for room in rooms[:20]:
        shell = room.mesh.corners[room.owner == -2].mean(axis=1)
        for name, box in zip(names(room), room.boxes, strict=True):
            if name in ("door", "window"):
                cos, sin = math.cos(box[6]), math.sin(box[6])
                x, y, z = (shell - box[:3]).T
                local = np.abs(np.stack([x * cos + y * sin, y * cos - x * sin, z], axis=1))
                assert not (local < (*(box[3:6] / 2 - 0.01),)).all(axis=1).any()


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_furniture_stands_on_the_floor_and_is_centred(name: str) -> None:
    heights = []
    for seed in range(20):
        mesh = BUILDERS[name](np.random.default_rng(seed))
        low, high = mesh.extent()
        assert abs(low[2]) < 1e-9
        assert np.abs(low[:2] + high[:2]).max() < 0.12
        assert (mesh.colors >= 0).all()
        assert (mesh.colors <= 1.0 + 1e-9).all()
        heights.append(high[2])
    assert np.std(heights) > 0
