"""Where a view shows points and edges, against geometry that is worked out one by one."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from sr3d.geometry.box_set import BoxSet
from sr3d.geometry.boxes import Boxes
from sr3d.study.report.figures.scene_choice import ConfidentBoxes
from sr3d.study.report.figures.views import (
    ABOVE,
    OBLIQUE,
    SceneView,
    draw_boxes,
    oblique,
    place_apart,
)
from sr3d.study.report.scene_pictures import outlines

NO_BOXES = BoxSet(np.zeros(0, dtype=str), np.zeros(0, np.int64), np.zeros((0, 7), np.float32))
number = st.floats(-3, 3, width=32)
size = st.floats(0.25, 4, width=32)


@given(st.floats(-180, 180), st.floats(1, 90))
def test_a_view_is_a_turn_and_changes_no_length(turn, height):
    axes = oblique(turn, height).axes
    assert np.allclose(axes @ axes.T, np.eye(3))
    assert np.cross(axes[0], axes[1]) == pytest.approx(axes[2])
    assert axes[0, 2] == 0  # upright things stand upright


def test_heights_are_seen_obliquely_and_not_from_above():
    foot, tip = np.array([[1.0, 2.0, 0.0], [1.0, 2.0, 1.0]])
    assert ABOVE.project(tip - foot) == pytest.approx([0, 0, 1])
    assert OBLIQUE.project(tip - foot)[:2] == pytest.approx([0, math.cos(math.radians(45))])
    # From the right and in front: a step to the left or away goes up the picture.
    _, away, above = OBLIQUE.project(np.array([0.0, 1.0, 0.0]))
    assert away > 0
    assert above < 0  # away from the eye
    assert OBLIQUE.project(np.array([-1.0, 0.0, 0.0]))[1] > 0


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(number, number, number, size, size, size, st.floats(-4, 4)),
    st.floats(-180, 180),
    st.floats(1, 90),
)
def test_an_edge_is_visible_where_the_box_does_not_lie_before_it(box, turn, height):
    view, boxes = oblique(turn, height), Boxes.from_array([box])
    corners = boxes.corners()[0].numpy()
    towards = view.axes[2]
    sides = [(corners[1 << axis] - corners[0]) / box[3 + axis] @ towards for axis in range(3)]
    assume(min(abs(side) for side in sides) > 0.02)  # none is seen edge-on
    lines, visible = view.wireframes(boxes)
    pairs = [(i, j) for i in range(8) for j in range(i + 1, 8) if (i ^ j).bit_count() == 1]
    expected = {}
    for i, j in pairs:
        middle = (corners[i] + corners[j]) / 2
        before = torch.tensor(middle + 0.02 * towards, dtype=torch.float32)[None]
        ends = [view.project(corners[k])[:2] for k in (i, j)]
        expected[tuple(np.round(np.concatenate(ends), 3) + 0.0)] = not boxes.contains(before).item()
    found = {
        tuple(np.round(line.reshape(4), 3) + 0.0): bool(seen)
        for line, seen in zip(lines[0], visible[0], strict=True)
    }
    for line, seen in found.items():
        nearest = min(expected, key=lambda other: np.abs(np.subtract(other, line)).max())
        assert np.abs(np.subtract(nearest, line)).max() < 0.01
        assert seen == expected[nearest]
    assert visible.sum() == 9


def points_of(lines: np.ndarray) -> set[tuple[float, ...]]:
    return {tuple(point) for point in np.round(lines.astype(float), 3).tolist()}


def test_from_above_the_upper_side_alone_is_seen():
    boxes = Boxes.from_array([[1, 2, 0.5, 1, 2, 3, 0.4], [0, 0, 0, 1, 1, 1, 0]])
    lines, visible = ABOVE.wireframes(boxes)
    assert visible.sum(axis=1).tolist() == [4, 4]
    for k, outline in enumerate(outlines(boxes, (0, 1))):
        seen = lines[k][visible[k]].reshape(-1, 2)
        assert points_of(seen) == points_of(outline)
    assert [part.shape for part in ABOVE.wireframes(Boxes.empty())] == [(0, 12, 2, 2), (0, 12)]


def test_ceiling_and_near_walls_are_left_out():
    draw = np.random.default_rng(0)
    room = draw.uniform([0, 0, 0], [4, 6, 2.5], (50_000, 3))
    probes = {
        "middle": (2, 3, 1), "ceiling": (2, 3, 2.4), "near": (2, 0.05, 1), "right": (3.95, 3, 1),
        "far": (2, 5.95, 1), "left": (0.05, 3, 1), "floor": (2, 3, 0.01),
    }  # fmt: skip
    points = np.concatenate([room, list(probes.values())])

    def hidden(view: SceneView) -> set[str]:
        shown = view.shows(points)[-len(probes) :]
        return {name for name, there in zip(probes, shown, strict=True) if not there}

    assert hidden(ABOVE) == {"ceiling"}
    assert hidden(OBLIQUE) == {"ceiling", "near", "right"}
    assert hidden(oblique(-25, 45)) == {"ceiling", "near", "left"}


def test_from_above_the_highest_point_below_the_ceiling_is_seen():
    points = [[0.5, 0.5, 0.0], [0.5, 0.5, 1.0], [0.5, 0.5, 3.0], [1.5, 0.5, 0.5], [9.0, 9.0, 0.5]]
    colors = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0, 0, 0.0], [0, 0, 0.0]]
    picture = ABOVE.picture(
        np.array(points), np.array(colors), np.array([0.0, 0.0]), np.array([2.0, 1.0])
    )
    height, width, _ = picture.shape
    assert width == 2 * height
    at = {
        (x, y): picture[int(y * height), int(x * width / 2)] for x in (0.5, 1.5) for y in (0.5, 0.1)
    }
    assert at[0.5, 0.5] == pytest.approx([0.4, 1.0, 0.4])  # green, not red below nor blue above
    assert at[1.5, 0.5] == pytest.approx([0.4] * 3)  # black, paler
    assert at[0.5, 0.1] == pytest.approx([1.0] * 3)
    assert (picture < 1).any(axis=2).sum() == 2  # the one outside is nowhere


def test_obliquely_a_thing_in_front_hides_what_is_behind_it():
    behind = np.array([2.0, 3.0, 0.5])
    points = np.array([behind + 0.8 * OBLIQUE.axes[2], behind, [0, 0, 0], [4, 6, 2.5]])
    colors = np.array([[1.0, 0, 0], [0, 1, 0], *[[1, 1, 1]] * 2])
    low = OBLIQUE.project(behind)[:2] - 0.5
    picture = OBLIQUE.picture(points, colors, low, low + 1)
    drawn = picture[(picture < 1).any(axis=2)]
    assert drawn.tolist() == [pytest.approx([1.0, 0.4, 0.4])]


def drawn_boxes(view: SceneView) -> tuple[Any, list[Any]]:
    """A right chair (label 2) above a wrong one (label 11), and one that is nowhere."""
    box = np.array(
        [[0, 0, 2, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1, 0], [np.nan, 0, 0, 1, 1, 1, 0]], np.float32
    )
    boxes = BoxSet(
        np.array(["a"] * 3), np.array([2, 11, 3]), box, np.array([0.9, 0.8, 0.7], np.float32)
    )
    axes = Figure().subplots()
    draw_boxes(axes, ConfidentBoxes(boxes, np.array([True, False, True])), view, inches=0.5)
    (lines,) = axes.collections
    return lines, list(axes.texts)


def test_right_boxes_show_thin_what_they_hide_and_wrong_ones_are_dotted():
    lines, texts = drawn_boxes(OBLIQUE)
    widths, dashes = lines.get_linewidths(), [pattern for _, pattern in lines.get_linestyles()]
    halo = [tuple(color) == (1.0, 1.0, 1.0, 0.8) for color in lines.get_colors()]
    dotted = [pattern is not None for pattern in dashes]
    assert len(widths) == 2 * 9 + 3 + 2 * 9
    assert sum(dotted) == 9
    assert dotted.index(True) < 18  # the wrong one lies below
    thin = [i for i, width in enumerate(widths) if width < 1]
    assert len(thin) == 3
    assert all(not halo[i] and not dotted[i] for i in thin)
    assert [(text.get_text(), text.get_weight()) for text in texts] == [
        ("3", "bold"), ("12", "normal"),
    ]  # fmt: skip


def test_numbers_stand_on_their_boxes():
    for view in (ABOVE, OBLIQUE):
        _, texts = drawn_boxes(view)
        for text, z in zip(texts, (2, 0), strict=True):
            x, y = text.get_position()
            middle = view.project(np.array([0.0, 0.0, z + 0.5]))[:2]
            assert np.abs(np.array([x, y]) - middle).max() <= math.sqrt(0.5) + 1e-6


def test_nothing_to_draw_is_drawn_as_nothing():
    axes = Figure().subplots()
    draw_boxes(axes, ConfidentBoxes(NO_BOXES, np.zeros(0, dtype=bool)), OBLIQUE, 1.0)
    assert not axes.texts


def test_labels_stand_on_the_first_place_that_is_free():
    places = np.array(
        [[[0, 0], [5, 0]], [[0.5, 0], [9, 9]], [[0.2, 0], [8.5, 9]], [[5, 0], [6, 6]]]
    )
    sizes = np.array([[2.0, 1]] * 4)
    # The third covers the second by 1.5 of its area on one place, the first by 1.8 on the other.
    expected = [(0, 0), (9, 9), (8.5, 9), (5, 0)]
    assert [tuple(place) for place in place_apart(places, sizes)] == expected
    assert place_apart(np.zeros((0, 5, 2)), np.zeros((0, 2))).shape == (0, 2)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_labels_agree_with_measuring_each_overlap(seed):
    draw = np.random.default_rng(seed)
    places, sizes = draw.uniform(0, 4, (6, 3, 2)), draw.uniform(0.2, 1.5, (6, 2))
    stood = []
    for own, (width, height) in zip(places, sizes, strict=True):
        costs = []
        for x, y in own:
            cost = 0.0
            for (a, b), (w, h) in stood:
                across = min(x + width / 2, a + w / 2) - max(x - width / 2, a - w / 2)
                along = min(y + height / 2, b + h / 2) - max(y - height / 2, b - h / 2)
                cost += max(across, 0) * max(along, 0)
            costs.append(cost)
        stood.append((tuple(own[int(np.argmin(costs))]), (width, height)))
    assert place_apart(places, sizes) == pytest.approx(np.array([place for place, _ in stood]))
