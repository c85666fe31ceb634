from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import sr3d.geometry.sweep_line as sweep_module
from sr3d.geometry.iou import OverlapRule, pairwise_iou
from sr3d.geometry.sweep_line import SweepLine
from tests.geometry.strategies import boxes as any_boxes
from tests.geometry.strategies import random_boxes

THRESHOLDS = [0.0, 0.1, 0.5, 0.7]


def within(line: SweepLine, members: Tensor) -> list[frozenset[int]]:
    """Pairs, as rows of the input."""
    pairs = [(line.order[p], line.order[q]) for p, q in line.pairs_within(members)]
    return [frozenset(pair) for i, j in pairs for pair in zip(i.tolist(), j.tolist(), strict=True)]


def overlapping(
    boxes: Tensor, groups: Tensor, iou_thr: float, rotated: bool, bev: bool
) -> set[frozenset[int]]:
    """By the whole table."""
    above = pairwise_iou(boxes, boxes, rotated, bev) > max(iou_thr, 1e-9)  # 0 but for rounding
    above &= groups[:, None] == groups
    return {frozenset((i, j)) for i, j in above.nonzero().tolist() if i != j}


@settings(max_examples=200)
@given(
    box=st.integers(0, 9).flatmap(any_boxes),
    iou_thr=st.sampled_from(THRESHOLDS),
    rotated=st.booleans(),
    bev=st.booleans(),
)
def test_finds_every_pair_that_overlaps(
    box: Tensor, iou_thr: float, rotated: bool, bev: bool
) -> None:
    box = box.reshape(-1, 7)
    groups = torch.arange(len(box)) % 2
    line = SweepLine.of(box, groups, OverlapRule(iou_thr, rotated, bev))
    found = within(line, torch.arange(len(box)))
    assert len(set(found)) == len(found)
    assert set(found) >= overlapping(box, groups, iou_thr, rotated, bev)


@pytest.mark.parametrize("iou_thr", THRESHOLDS)
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("bev", [False, True])
def test_finds_every_pair_of_nearly_equal_boxes_and_few_others(
    rotated: bool, bev: bool, iou_thr: float
) -> None:
    some = random_boxes(30, 0, spread=6.0)
    noise = torch.randn(300, 7, generator=torch.Generator().manual_seed(1))
    box = some.repeat(10, 1) + noise * torch.tensor([0.05, 0.05, 0.05, 0, 0, 0, 0.1])
    groups = torch.arange(300) // 30 % 3 * 100
    box[:3, 0] = torch.tensor([math.nan, math.inf, -1e30])  # what diverged costs the others nothing
    found = within(SweepLine.of(box, groups, OverlapRule(iou_thr, rotated, bev)), torch.arange(300))
    expected = overlapping(box, groups, iou_thr, rotated, bev)
    assert set(found) >= expected
    assert len(expected) > 10
    assert len(found) < 300 * 299 / 2 / 3 * 0.25  # of all pairs within a group
    assert all(groups[min(pair)] == groups[max(pair)] for pair in found)


@pytest.mark.parametrize("size", [1 << 15, 50])
def test_pairs_of_two_sets_complete_those_within_each(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_module, "pairs_at_a_time", lambda device, rotated: size)
    box = random_boxes(100, 5, spread=3.0).repeat(2, 1)  # equal ends too
    line = SweepLine.of(box, torch.zeros(200).long(), OverlapRule(0.1, rotated=True, bev=False))
    every = torch.arange(200)
    first, second = every[every % 3 == 0], every[every % 3 != 0]
    between = []
    for p, q in line.pairs_between(first, second):
        assert (p % 3 == 0).all()
        assert (q % 3 != 0).all()
        between += [frozenset(pair) for pair in zip(p.tolist(), q.tolist(), strict=True)]
        assert len(p) <= size + 200  # memory does not grow with the number of pairs
    between = [frozenset(line.order[list(pair)].tolist()) for pair in between]
    apart = within(line, first) + within(line, second)
    both = within(line, every)
    assert len(both) > 500
    assert sorted(map(sorted, between + apart)) == sorted(map(sorted, both))
