"""Floor and walls: on rooms whose floor and walls are known, turned and moved at random."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d.data.rooms.generate import generate_room
from sr3d.geometry.room import find_floor, find_walls
from tests.shared_data import shared


def room(seed: int) -> np.ndarray:
    return generate_room(900_000 + seed, points=12_000).points.numpy()


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    """Counter-clockwise about z."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return points @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])


def off_by(degrees: float, angle: float) -> float:
    """Degrees between two directions of walls, which repeat after a quarter turn."""
    return abs((degrees - math.degrees(angle) + 45) % 90 - 45)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 60), st.floats(-180, 180), st.floats(-3, 3), st.floats(-50, 50))
def test_rooms_however_they_lie(seed: int, degrees: float, height: float, away: float) -> None:
    points = turned(room(seed), degrees) + np.array([away, -away, height])
    walls = find_walls(points)
    assert walls.clear
    assert off_by(degrees, walls.angle) < 1.5
    assert -math.pi / 4 <= walls.angle < math.pi / 4
    assert find_floor(points) == pytest.approx(height, abs=0.02)


def test_stray_points_and_holes_do_not_move_the_floor() -> None:
    points = room(1)
    rng = np.random.default_rng(0)
    below = np.concatenate([points, rng.uniform([-3, -3, -4], [3, 3, -0.2], (60, 3))])
    assert find_floor(below) == pytest.approx(0, abs=0.02)
    far = np.concatenate([points, [[0, 0, -1e5]]])
    assert find_floor(far) == pytest.approx(0, abs=0.02)
    seen = points[(points[:, 2] > 0.1) | (rng.random(len(points)) < 0.3)]  # most of it unseen
    assert find_floor(seen) == pytest.approx(0, abs=0.02)


def test_what_has_no_walls_is_not_said_to_have_some() -> None:
    rng = np.random.default_rng(1)
    angle, height = rng.uniform(0, 2 * math.pi, 20_000), rng.uniform(0, 2.5, 20_000)
    tower = np.stack([3 * np.cos(angle), 3 * np.sin(angle), height], axis=1)
    blob = rng.normal(0, 1, (20_000, 3))
    plate = np.stack([*rng.uniform(0, 4, (2, 20_000)), np.zeros(20_000)], axis=1)
    for points in (tower, blob, plate, rng.random((3, 3)), np.zeros((1, 3))):
        assert not find_walls(points).clear
        assert math.isfinite(find_floor(points))


@pytest.mark.parametrize(
    ("scene", "turn", "height"),
    # By `axis_align_matrix` of these scans, whose angles are whole degrees.
    [("scene0000_00", 19.0, 0.0644), ("scene0113_00", 3.0, 0.0282)],
)
def test_real_scans_as_their_own_alignment_has_them(scene: str, turn: float, height: float) -> None:
    path = shared(f"real/scannet/points/{scene}.bin")
    points = np.fromfile(path, np.float32).reshape(-1, 6)[:, :3]
    walls = find_walls(points)
    assert walls.clear
    assert off_by(turn, walls.angle) < 2.5
    assert find_floor(points) == pytest.approx(height, abs=0.03)
