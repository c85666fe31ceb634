"""Upright metres and back again, by direct computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sr3d.data.scans.frame import UNITS, Frame, turn_upright, up_vector
from sr3d.geometry.boxes import Boxes

reach = st.floats(-5, 5, allow_nan=False)
directions = st.one_of(
    st.sampled_from(["x", "y", "z", "-x", "-y", "-z"]),
    st.tuples(reach, reach, reach)
    .filter(lambda v: math.hypot(*v) > 0.1)
    .map(lambda v: ",".join(map(repr, v))),
)


@given(directions)
def test_the_turn_is_a_rotation_that_brings_up_onto_z(up: str) -> None:
    turn = turn_upright(up)
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(turn) == pytest.approx(1)
    assert np.allclose(turn @ up_vector(up), [0, 0, 1], atol=1e-6)


def test_y_up_turns_about_x_as_people_expect() -> None:
    assert np.array_equal(turn_upright("y"), [[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    assert np.array_equal(turn_upright("z"), np.eye(3))


@given(directions, st.sampled_from(list(UNITS)), st.floats(-3, 3), st.booleans())
def test_boxes_come_back_where_their_points_are(up: str, unit: str, yaw: float, far: bool) -> None:
    """A box around points of the file, found upright, holds the same points in the file."""
    draw = np.random.default_rng(0)
    box = torch.tensor([[1.0, -2.0, 0.5, 0.8, 1.6, 0.4, yaw]], dtype=torch.float64)
    upright = draw.normal(size=(200, 3)) * 0.6 + box[0, :3].numpy()
    middle = np.array([500_000.0, 4_000_000.0, 90.0]) if far else np.zeros(3)
    in_file = upright @ turn_upright(up) / UNITS[unit] + middle
    frame = Frame.of(in_file, up, unit)
    assert frame.origin.any() or not far

    moved = frame.upright(in_file)
    assert moved.dtype == np.float32
    shift = moved[0] - upright[0]  # the origin's, the same for all
    assert np.allclose(moved - upright, shift, atol=1e-3)
    back = frame.back(Boxes(box + torch.tensor([*shift, 0, 0, 0, 0], dtype=torch.float64)))
    inside = Boxes(box).contains(torch.from_numpy(upright))[:, 0].numpy()
    own = (in_file - back.centers[0]) @ back.rotations[0]  # along the box's axes
    clear = np.abs(np.abs(own) - back.sizes[0] / 2).min(axis=1) * UNITS[unit] > 2e-3
    assert np.array_equal((np.abs(own) <= back.sizes[0] / 2).all(axis=1)[clear], inside[clear])
    assert inside.any()


@given(directions, st.floats(-3, 3))
def test_corners_are_centre_and_half_sizes_along_the_axes(up: str, yaw: float) -> None:
    box = torch.tensor([[1.0, -2.0, 0.5, 0.8, 1.6, 0.4, yaw]])
    back = Frame(up, "mm", turn_upright(up)).back(Boxes(box))
    assert np.allclose(back.sizes, [[800, 1600, 400]])
    assert np.allclose(back.rotations[0][:, 2], up_vector(up), atol=1e-6)  # up stays up
    for i in range(8):
        signs = np.array([(i >> k & 1) - 0.5 for k in range(3)])
        corner = back.centers[0] + back.rotations[0] @ (signs * back.sizes[0])
        assert np.allclose(back.corners[0, i], corner)


def test_an_upright_scan_in_metres_is_untouched() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    frame = Frame.of(points, "z", "m")
    assert np.array_equal(frame.upright(points), points)
    boxes = torch.tensor([[1.0, 2, 3, 1, 1, 1, 0.3]])
    back = frame.back(Boxes(boxes))
    assert np.allclose(back.corners, Boxes(boxes).corners())
    assert frame.back(Boxes.empty()).corners.shape == (0, 8, 3)
