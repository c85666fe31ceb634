"""Table 6's oracles: foreground, centerness and replaced scores, against worked cases and loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d.detectors.common.oracle_scores import inside_smallest, with_scores
from sr3d.geometry.boxes import Boxes, centerness

BOX = [[0.0, 0, 0, 2, 4, 6, 0]]


def test_centerness_by_hand():
    points = torch.tensor([[0.0, 0, 0], [0.5, 1, 0], [1, 0, 0], [2, 0, 0]])
    found = centerness(points, torch.tensor(BOX).expand(4, 7))
    # At x = 0.5 of ±1: 0.5 / 1.5; at y = 1 of ±2: 1 / 3; at z = 0: 1.
    assert found.tolist() == pytest.approx([1, math.sqrt(1 / 9), 0, 0])


def test_centerness_turns_with_the_box():
    turned = torch.tensor([[0.0, 0, 0, 2, 4, 6, math.pi / 2]])
    found = centerness(torch.tensor([[-1.0, 0.5, 0]]), turned)
    assert found.item() == pytest.approx(math.sqrt(1 / 9), rel=1e-5)


def test_an_anchor_in_two_boxes_belongs_to_the_smaller():
    boxes = torch.tensor([[0.0, 0, 0, 4, 4, 4, 0], [1, 0, 0, 1, 1, 1, 0]])
    anchors = torch.tensor([[0.0, 0, 0], [1, 0.2, 0], [3, 0, 0]])
    assert inside_smallest(anchors, boxes).tolist() == [0, 1, -1]
    assert inside_smallest(anchors, torch.zeros(0, 7)).tolist() == [-1, -1, -1]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_foreground_equals_a_search_by_loops(seed):
    draw = torch.Generator().manual_seed(seed)
    boxes = torch.rand(5, 7, generator=draw) * 2 + 0.2
    anchors = torch.rand(40, 3, generator=draw) * 3
    inside = Boxes(boxes).contains(anchors)
    expected = []
    for row in inside:
        holders = row.nonzero().flatten().tolist()
        volumes = [(boxes[i, 3:6].prod().item(), i) for i in holders]
        expected.append(min(volumes)[1] if volumes else -1)
    assert inside_smallest(anchors, boxes).tolist() == expected


def test_only_the_true_class_of_the_foreground_changes():
    logits = torch.zeros(3, 2)
    changed = with_scores(
        logits, torch.tensor([1, -1, 0]), torch.tensor([0, 1]), torch.tensor([0.9, 0.0])
    )
    assert changed.sigmoid()[0].tolist() == pytest.approx([0.5, 0.9])
    assert changed[1].tolist() == [0, 0]
    assert changed.sigmoid()[2].tolist() == pytest.approx([0.0, 0.5], abs=1e-5)
    assert logits.abs().sum() == 0  # the given ones are left alone
