"""A labelled box in an upright scene: the same cuboid, whatever frame its file has."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sr3d.data.own.labels import FilePlace, Label, euler_axes, label_of, label_of_corners
from sr3d.data.scans.frame import UNITS, Frame
from sr3d.errors import Kind
from sr3d.geometry.boxes import Boxes
from tests.data.own.making import turn_x, turn_y, turn_z
from tests.refusals import refuses

NOWHERE = FilePlace(Path("a.json"))
UPS = ("z", "y", "x", "-z", "-y", "-x", "0.1,-0.9,0.2")
edges = st.floats(0.1, 3)
places = st.tuples(*[st.floats(-5, 5)] * 3)


def frame_of(up: str, unit: str, origin: tuple[float, ...] = (0, 0, 0)) -> Frame:
    points = np.array([origin, origin], dtype=np.float64)
    return Frame(up, unit, Frame.of(points, up, unit).rotation, np.array(origin))


def label(turn: np.ndarray | float, size: object = (1, 2, 3)) -> Label:
    center, lengths = np.array([1.0, 2.0, 3.0]), np.array(size, dtype=float)
    return Label("chair", center, lengths, turn, FilePlace(Path("a.json"), "[0]"))


def corners(box: np.ndarray) -> np.ndarray:
    """(8, 3), sorted, so that equal cuboids have equal ones."""
    found = Boxes.from_array(box[None]).corners()[0].numpy().round(3) + 0.0
    return found[np.lexsort(found.T)]


@given(
    st.sampled_from(UPS), st.sampled_from(sorted(UNITS)), places, st.tuples(edges, edges, edges),
    st.floats(-3.1, 3.1), places,
)  # fmt: skip
def test_a_box_that_was_put_into_a_file_comes_out_as_the_same_cuboid(
    up: str,
    unit: str,
    center: tuple[float, ...],
    size: tuple[float, ...],
    yaw: float,
    origin: tuple[float, ...],
) -> None:
    frame = frame_of(up, unit, origin)
    box = torch.tensor([[*center, *size, yaw]], dtype=torch.float64)
    there = frame.back(Boxes(box))  # tested by itself
    turn = there.rotations[0]
    found = Label("chair", there.centers[0], there.sizes[0], turn, NOWHERE).placed(frame)
    # Yaws within 0.001 of a quarter turn are none.
    apart = np.linalg.norm(corners(found)[:, None] - corners(box[0].numpy()), axis=2)
    assert max(apart.min(axis=0).max(), apart.min(axis=1).max()) < 0.02
    assert found[5] == pytest.approx(size[2])


@given(st.floats(-3.1, 3.1), st.sampled_from(UPS))
def test_a_yaw_is_about_the_up_axis_of_the_scan(yaw: float, up: str) -> None:
    frame = frame_of(up, "m")
    turned = label(frame.rotation.T @ turn_z(yaw)).placed(frame)
    # Yaws within 0.001 of a quarter turn are none, so that rounding decides at that limit.
    assert label(yaw).placed(frame) == pytest.approx(turned, abs=2e-3)


@pytest.mark.parametrize(("quarters", "size"), [(0, (1, 2, 3)), (1, (2, 1, 3)), (-2, (1, 2, 3))])
def test_a_quarter_turn_is_no_yaw_but_another_size(quarters: int, size: tuple[int, ...]) -> None:
    box = label(turn_z(quarters * math.pi / 2 + 5e-4)).placed(Frame())
    assert box[3:].tolist() == [*size, 0]
    assert not label(turn_z(quarters * math.pi / 2)).is_turned(None)


def test_axes_in_another_order_are_the_same_box() -> None:
    axes, size = turn_z(0.3), np.array([1.0, 2.0, 3.0])
    wanted = corners(label(axes, size).placed(Frame()))
    for order in ([1, 2, 0], [2, 0, 1], [1, 0, 2]):
        assert corners(label(axes[:, order], size[order]).placed(Frame())) == pytest.approx(wanted)


def test_a_box_that_leans_is_refused_with_what_to_do() -> None:
    with refuses(Kind.VALUE, file="a.json", field="[0]", mentions=["10.0", "--upright"]):
        label(turn_x(math.radians(10))).placed(Frame())
    label(turn_x(math.radians(0.9))).placed(Frame())  # as scans by hand do


@given(st.floats(-3, 3), st.floats(-0.6, 0.6), st.floats(-0.6, 0.6))
def test_upright_is_the_smallest_box_of_that_heading_around_one_that_leans(
    yaw: float, pitch: float, roll: float
) -> None:
    axes, size = turn_z(yaw) @ turn_y(pitch) @ turn_x(roll), np.array([2.0, 1.0, 0.5])
    leaning = label(axes, size)
    box = leaning.placed(Frame(), upright=True)
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    there = leaning.center + signs * size / 2 @ axes.T
    own = (there - box[:3]) @ turn_z(box[6])
    lean = math.acos(np.abs(axes[2]).max())
    if lean > math.radians(1.01):
        assert np.abs(own).max(axis=0) == pytest.approx(box[3:6] / 2, abs=0.003)
    assert abs(lean) < 1.6


def test_aligned_is_the_box_around_one_with_a_yaw() -> None:
    box = label(turn_z(math.pi / 6), (2, 1, 3)).placed(Frame(), aligned=True)
    whole = Boxes(torch.tensor([[1.0, 2, 3, 2, 1, 3, math.pi / 6]])).enclosing().tensor[0]
    assert box == pytest.approx(whole.numpy(), abs=1e-6)


def test_turned_is_what_is_parallel_to_no_axes() -> None:
    assert label(0.2).is_turned(None)
    assert not label(math.pi).is_turned(None)
    assert label(turn_z(0.2)).is_turned(None)
    assert not label(turn_x(math.pi / 2)).is_turned(None)  # y may well be up
    tilted = Frame.of(np.zeros((1, 3)), "0,-0.95,-0.3", "m").rotation
    assert label(tilted.T).is_turned(None)
    assert not label(tilted.T).is_turned("0,-0.95,-0.3")
    assert label(tilted.T @ turn_z(0.2)).is_turned("0,-0.95,-0.3")


@given(st.tuples(*[st.floats(-4, 4)] * 3))
def test_eulers_angles_multiply_from_left_to_right(angles: tuple[float, float, float]) -> None:
    x, y, z = angles
    values = np.array(angles)
    assert euler_axes(values, "xyz") == pytest.approx(turn_x(x) @ turn_y(y) @ turn_z(z))
    assert euler_axes(values, "zyx") == pytest.approx(turn_z(z) @ turn_y(y) @ turn_x(x))


def test_corners_that_are_no_cuboids_are_refused() -> None:
    whole = FilePlace(Path("a.json"), "[3]")
    named = whole.at("name")
    cuboid = Boxes(torch.tensor([[0.0, 0, 0, 1, 2, 3, 0.4]])).corners()[0].numpy().astype(float)
    found = label_of_corners("chair", cuboid, (0, 1, 2, 4), whole, named)
    assert found.placed(Frame()) == pytest.approx([0, 0, 0, 1, 2, 3, 0.4], abs=1e-6)
    for i in range(8):
        bent = cuboid.copy()
        bent[i] += 0.5
        with refuses(Kind.VALUE, file="a.json", field="[3]"):
            label_of_corners("chair", bent, (0, 1, 2, 4), whole, named)


@pytest.mark.parametrize("size", [(1, 0, 1), (1, -2, 1), (1, math.nan, 1)])
def test_a_box_without_extent_is_refused(size: tuple[float, ...]) -> None:
    with refuses(Kind.EMPTY, file="a.json", field="[0]"):
        label_of(
            "chair", np.zeros(3), np.array(size), 0.0, FilePlace(Path("a.json"), "[0]"), NOWHERE
        )
