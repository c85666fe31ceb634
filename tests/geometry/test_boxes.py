from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sr3d.geometry.boxes import Boxes, corners, enclosing_boxes, rotate_z
from tests.geometry.strategies import boxes

UNIT = Boxes(torch.tensor([[1.0, 2.0, 3.0, 4.0, 2.0, 6.0, 0.0]]))


def same_cuboids(a: Tensor, b: Tensor) -> bool:
    """Whether the corners are the same sets of points, box by box."""
    distance = torch.cdist(corners(a), corners(b))
    return bool((distance.amin(1) < 1e-9).all() and (distance.amin(2) < 1e-9).all())


def test_corners_of_an_upright_box_by_hand() -> None:
    expected = [[x, y, z] for z in (0.0, 6.0) for y in (1.0, 3.0) for x in (-1.0, 3.0)]
    assert UNIT.corners().tolist() == [expected]


def test_a_quarter_turn_takes_the_length_from_x_to_y() -> None:
    turned = Boxes(torch.tensor([[0.0, 0.0, 0.0, 4.0, 2.0, 6.0, math.pi / 2]]))
    # Counter-clockwise: the front face (corner 7 has +x, +y in the box's frame) now looks to +y.
    torch.testing.assert_close(turned.corners()[0, 7], torch.tensor([-1.0, 2.0, 3.0]))
    torch.testing.assert_close(turned.enclosing().sizes, torch.tensor([[2.0, 4.0, 6.0]]))


@given(boxes(3))
def test_enclosing_boxes_span_the_corners(box: Tensor) -> None:
    around = enclosing_boxes(box)
    corner = corners(box)
    torch.testing.assert_close(around[:, :3] - around[:, 3:6] / 2, corner.amin(1))
    torch.testing.assert_close(around[:, :3] + around[:, 3:6] / 2, corner.amax(1))
    assert not around[:, 6].any()
    assert torch.equal(Boxes(box).enclosing().tensor, around)


@given(boxes(2), st.floats(-7, 7), st.integers(0, 1))
def test_moving_a_box_moves_its_corners(box: Tensor, angle: float, axis: int) -> None:
    corner = corners(box)
    turned = rotate_z(corner, torch.tensor(angle, dtype=torch.float64))
    torch.testing.assert_close(Boxes(box).rotated(angle).corners(), turned)
    torch.testing.assert_close(Boxes(box).scaled(1.5).corners(), 1.5 * corner)
    offset = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    torch.testing.assert_close(Boxes(box).translated(offset).corners(), corner + offset)

    mirrored = corner.clone()
    mirrored[..., axis] *= -1
    distance = torch.cdist(Boxes(box).flipped(axis).corners(), mirrored)
    assert distance.amin(1).max() < 1e-9  # the same eight points in another order
    assert distance.amin(2).max() < 1e-9


@given(boxes(2), st.integers(0, 1))
def test_a_mirrored_box_can_keep_its_front(box: Tensor, axis: int) -> None:
    ahead = torch.tensor([1.0, 0, 0], dtype=box.dtype)
    front = rotate_z(ahead, box[:, 6])
    front[:, axis] *= -1
    mirrored = Boxes(box).flipped(axis, keep_front=True)
    torch.testing.assert_close(rotate_z(ahead, mirrored.yaw), front)
    assert same_cuboids(mirrored.tensor, Boxes(box).flipped(axis).tensor)


@given(boxes(1))
def test_turning_by_pi_or_swapping_sizes_gives_the_same_cuboid(box: Tensor) -> None:
    half, quarter = box.clone(), box[:, [0, 1, 2, 4, 3, 5, 6]].clone()
    half[:, 6] += math.pi
    quarter[:, 6] += math.pi / 2
    assert same_cuboids(box, half)
    assert same_cuboids(box, quarter)


@given(boxes(2), st.floats(0.5, 1.5), st.integers(0, 7))
def test_contains_is_a_matter_of_how_far_towards_a_corner(
    box: Tensor, share: float, corner: int
) -> None:
    point = box[:, :3] + share * (corners(box)[:, corner] - box[:, :3])
    inside = Boxes(box).contains(point).diagonal()
    if abs(share - 1) > 1e-6:
        assert inside.tolist() == [share < 1] * 2


def test_contains_counts_the_faces() -> None:
    points = torch.tensor([[3.0, 3.0, 6.0], [3.0, 2.0, 3.0], [3.001, 2.0, 3.0]])
    assert UNIT.contains(points)[:, 0].tolist() == [True, True, False]


def test_corners_are_differentiable() -> None:
    box = torch.tensor([[0.3, -1, 2, 1.5, 0.7, 1, 0.4]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(corners, (box,))


def test_six_numbers_are_an_upright_box_and_nothing_is_no_box() -> None:
    six = [[0, 0, 0, 1, 2, 3]]
    assert Boxes.from_array(six).tensor.tolist() == [[0, 0, 0, 1, 2, 3, 0]]
    assert len(Boxes.from_array([])) == 0
    assert Boxes.empty().corners().shape == (0, 8, 3)
    with pytest.raises(ValueError, match=r"\(K, 7\)"):
        Boxes.from_array([[1.0, 2.0, 3.0]])


def test_indexing_gives_boxes() -> None:
    seven = Boxes(torch.arange(49.0).reshape(7, 7))
    assert torch.equal(seven[2].tensor, seven.tensor[2:3])
    assert torch.equal(seven[torch.tensor([6, 0])].tensor, seven.tensor[[6, 0]])
    assert len(seven[seven.yaw < 0]) == 0
    assert len(seven[1:3]) == 2
    with pytest.raises(ValueError, match=r"\(K, 7\)"):
        seven[:, :3]
