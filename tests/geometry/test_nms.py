"""Every way of suppression against one box after the other, on random and on adversarial boxes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import sr3d.geometry.nms as nms_module
from sr3d.geometry.iou import OverlapRule, pairwise_iou
from sr3d.geometry.nms import class_nms, nms
from sr3d.geometry.static_nms import static_nms
from tests.geometry.strategies import boxes as any_boxes
from tests.geometry.strategies import random_boxes
from tests.shared_data import shared

Way = Callable[..., Tensor]


def by_loop(
    boxes: Tensor, scores: Tensor, labels: Tensor, iou_thr: float, rotated: bool, bev: bool = True
) -> list[int]:
    """Greedy suppression, one box after the other."""
    overlap = (pairwise_iou(boxes, boxes, rotated, bev) > iou_thr).tolist()
    result = []
    for label in sorted(set(labels.tolist())):
        members = [i for i in range(len(boxes)) if labels[i] == label]
        kept: list[int] = []
        for i in sorted(members, key=lambda i: (-float(scores[i]), i)):
            if not any(overlap[j][i] for j in kept):
                kept.append(i)
        result += kept
    return result


def in_rounds(
    boxes: Tensor, scores: Tensor, labels: Tensor, iou_thr: float, rotated: bool, bev: bool = True
) -> Tensor:
    """`nms` by the dense tables that a GPU uses."""
    every = torch.ones(len(boxes), 1, dtype=torch.bool)
    keep, settled = static_nms(
        boxes, scores[:, None], every, OverlapRule(iou_thr, rotated, bev), labels
    )
    assert settled
    rows = keep[:, 0].nonzero().squeeze(1)
    order = sorted(rows.tolist(), key=lambda i: (int(labels[i]), -float(scores[i]), i))
    return torch.tensor(order, dtype=torch.long)


def on_gpu(*arguments: Tensor | float | bool) -> Tensor:
    moved = (a.cuda() if isinstance(a, Tensor) else a for a in arguments)
    return nms(*moved).cpu()  # type: ignore[arg-type]


WAYS = [
    pytest.param(nms, id="greedy"),
    pytest.param(in_rounds, id="rounds"),
    pytest.param(
        on_gpu,
        id="gpu",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    ),
]


@pytest.fixture(params=[1024, 7])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nms_module, "_BLOCK", request.param)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("bev", [False, True])
@pytest.mark.usefixtures("block")
def test_equals_the_loop(way: Way, rotated: bool, bev: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = random_boxes(150, seed, spread=1.0)
    scores = torch.randint(0, 40, (150,), generator=generator) / 40  # many equal ones
    labels = torch.randint(0, 3, (150,), generator=generator) * 5
    for iou_thr in (0.05, 0.3):
        kept = way(boxes, scores, labels, iou_thr, rotated, bev).tolist()
        assert kept == by_loop(boxes, scores, labels, iou_thr, rotated, bev)
        assert 3 < len(kept) < 150


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=40)
@given(data=st.data(), count=st.integers(0, 12), rotated=st.booleans(), bev=st.booleans())
def test_equals_the_loop_on_any_boxes(
    way: Way, data: st.DataObject, count: int, rotated: bool, bev: bool
) -> None:
    boxes = data.draw(any_boxes(count)).reshape(-1, 7)
    few = st.lists(st.integers(0, 2), min_size=count, max_size=count)
    scores = torch.tensor(data.draw(few), dtype=torch.float64)
    labels = torch.tensor(data.draw(few), dtype=torch.long)
    arguments = boxes, scores, labels, 0.2718, rotated, bev
    assert way(*arguments).tolist() == by_loop(*arguments)


@pytest.mark.parametrize("way", WAYS)
@given(rows=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=25))
def test_equals_the_loop_where_overlaps_are_the_threshold(
    way: Way, rows: list[tuple[int, int]]
) -> None:
    # Steps of a quarter of the length give exact overlaps of 3/5, 1/3, 1/7; few scores give ties.
    boxes = torch.tensor([[place / 4, 0, 0, 1, 1, 1, 0] for place, _ in rows]).reshape(-1, 7)
    scores = torch.tensor([float(score) for _, score in rows])
    labels = torch.zeros(len(rows), dtype=torch.long)
    for iou_thr in (0.0, 1 / 7, 0.2, 1 / 3, 0.5, 0.6, 1.0):
        kept = way(boxes, scores, labels, iou_thr, False).tolist()
        assert kept == by_loop(boxes, scores, labels, iou_thr, False)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [1, 2, 501, 502])
@pytest.mark.usefixtures("block")
def test_a_chain_keeps_every_second(way: Way, count: int) -> None:
    # Each box overlaps only its neighbours, so each decision waits for the one before.
    boxes = torch.zeros(count, 7)
    boxes[:, 0] = torch.arange(count) / 4
    boxes[:, 3:6] = 1
    scores = -torch.arange(count, dtype=torch.float)
    kept = way(boxes, scores, torch.zeros(count).long(), 0.5, False)
    assert kept.tolist() == list(range(0, count, 2))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rotated", [False, True])
def test_of_the_same_box_the_best_stays_once_a_class(way: Way, rotated: bool) -> None:
    boxes = random_boxes(1, 0).repeat(50, 1)
    scores = torch.ones(50)
    scores[[30, 41]] = 2
    labels = torch.arange(50) % 2 * 7
    assert way(boxes, scores, labels, 0.5, rotated).tolist() == [30, 41]
    scores[:] = 1  # equal scores: the first
    assert way(boxes, scores, labels, 0.5, rotated).tolist() == [0, 1]
    # Even a threshold of 1, which nothing exceeds, is one.
    assert len(way(boxes, scores, labels, 1.0, rotated)) == 50


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rotated", [False, True])
def test_the_threshold_itself_does_not_suppress(way: Way, rotated: bool) -> None:
    boxes = torch.tensor([[0.0, 0, 0, 3, 1, 1, 0], [1.0, 0, 0, 3, 1, 1, 0]])  # IoU 2 / 4
    pair = boxes, torch.tensor([0.5, 0.9]), torch.zeros(2).long()
    assert way(*pair, 0.5, rotated).tolist() == [1, 0]
    assert way(*pair, 0.49, rotated).tolist() == [1]
    boxes[1, 0] = 3.0  # they touch
    assert way(*pair, 0.0, False).tolist() == [1, 0]
    boxes[1, 0] = 2.999
    assert way(*pair, 0.0, False).tolist() == [1]


@pytest.mark.parametrize("way", WAYS)
def test_from_above_stacked_boxes_are_one(way: Way) -> None:
    boxes = torch.tensor([[0.0, 0, 0, 1, 1, 1, 0], [0.0, 0, 5, 1, 1, 1, 0]])
    stacked = boxes, torch.tensor([0.5, 0.9]), torch.zeros(2).long(), 0.5, False
    assert way(*stacked).tolist() == [1]
    assert way(*stacked, False).tolist() == [1, 0]


@pytest.mark.parametrize("way", WAYS)
def test_classes_do_not_meet_and_come_in_order(way: Way) -> None:
    boxes = random_boxes(1, 0).repeat(4, 1)
    labels = torch.tensor([7, 2, 7, 2])
    kept = way(boxes, torch.tensor([0.1, 0.2, 0.3, 0.2]), labels, 0.5, True)
    assert kept.tolist() == [1, 2]  # class 2 first; of its equals the earlier one


@pytest.mark.parametrize("way", WAYS)
def test_nothing_in_nothing_out(way: Way) -> None:
    kept = way(torch.zeros(0, 7), torch.zeros(0), torch.zeros(0).long(), 0.5, True)
    assert kept.dtype == torch.long
    assert kept.tolist() == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rotated", [False, True])
def test_boxes_that_diverged_disturb_no_other(way: Way, rotated: bool) -> None:
    boxes = random_boxes(60, 3, spread=1.0)
    boxes[::10, 3] = torch.tensor([math.inf, math.nan, 1e30, math.inf, 1e38, math.nan])
    boxes[5::20, 0] = torch.tensor([math.nan, math.inf, -1e30])
    scores, labels = torch.arange(60) % 7 / 7, torch.arange(60) % 2
    kept = way(boxes, scores, labels, 0.2, rotated).tolist()
    assert kept == by_loop(boxes, scores, labels, 0.2, rotated)
    assert 12 < len(kept) < 50


@pytest.mark.parametrize("rotated", [False, True])
def test_one_class_of_five_thousand(rotated: bool) -> None:
    boxes = random_boxes(5000, 9, spread=6.0)
    scores = torch.rand(5000, generator=torch.Generator().manual_seed(9))
    overlap = torch.cat([pairwise_iou(part, boxes, rotated, True) for part in boxes.split(250)])
    suppressed_by = (overlap > 0.3).numpy()
    gone, expected = np.zeros(5000, dtype=bool), []
    for i in np.argsort(-scores.numpy(), kind="stable"):
        if not gone[i]:
            expected.append(i)
            gone |= suppressed_by[i]
    kept = nms(boxes, scores, torch.zeros(5000).long(), 0.3, rotated).tolist()
    assert kept == expected
    assert 500 < len(kept) < 4000


def test_twenty_thousand_equal_boxes_need_no_table_of_them_all() -> None:
    boxes = random_boxes(1, 0).repeat(20_000, 1)
    assert nms(boxes, torch.zeros(20_000), torch.zeros(20_000).long(), 0.5, False).tolist() == [0]


def offered(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """80 boxes, each as some of four classes."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 30, (80, 4), generator=generator) / 30
    return random_boxes(80, seed, spread=1.0), scores, scores > 0.2


@pytest.mark.parametrize("most", [4096, 0])  # compared once for all classes, or for each
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.usefixtures("block")
def test_classes_that_share_boxes_equal_each_alone(
    rotated: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nms_module, "_SHARED", most)
    boxes, scores, valid = offered(0)
    keep = class_nms(boxes, scores, valid, 0.2, rotated)
    assert keep.shape == (80, 4)
    for label in range(4):
        rows = valid[:, label].nonzero().squeeze(1)
        single = boxes[rows], scores[rows, label], torch.zeros(len(rows)).long()
        alone = by_loop(*single, 0.2, rotated)
        assert keep[:, label].nonzero().squeeze(1).tolist() == sorted(rows[alone].tolist())
    assert 30 < keep.sum() < valid.sum() / 2


def by_tables(
    boxes: Tensor, scores: Tensor, valid: Tensor, iou_thr: float, rotated: bool, bev: bool,
    groups: Tensor,
) -> Tensor:  # fmt: skip
    return static_nms(boxes, scores, valid, OverlapRule(iou_thr, rotated, bev), groups)[0]


@pytest.mark.parametrize("way", [class_nms, by_tables])
def test_scenes_together_are_scenes_apart(way: Way) -> None:
    scenes = [offered(seed) for seed in (1, 2, 3)]
    boxes, scores, valid = (torch.cat(parts) for parts in zip(*scenes, strict=True))
    groups = torch.tensor([5, 0, 9]).repeat_interleave(80)
    together = way(boxes, scores, valid, 0.2, True, True, groups)
    assert torch.equal(together, torch.cat([class_nms(*scene, 0.2, True) for scene in scenes]))


def test_what_takes_no_part_suppresses_nothing_whatever_its_score() -> None:
    boxes = random_boxes(1, 0).repeat(3, 1)
    scores = torch.tensor([[math.inf, -math.inf], [math.nan, 0.3], [-math.inf, 0.2]])
    valid = torch.tensor([[False, True], [False, True], [True, False]])
    expected = [[False, False], [False, True], [True, False]]
    assert class_nms(boxes, scores, valid, 0.5, False).tolist() == expected
    assert static_nms(boxes, scores, valid, OverlapRule(0.5, False))[0].tolist() == expected
    assert not class_nms(boxes, scores, torch.zeros_like(valid), 0.5, False).any()


def test_no_gradient_is_followed() -> None:
    boxes = random_boxes(10, 0).requires_grad_()
    kept = nms(boxes, torch.rand(10).requires_grad_(), torch.zeros(10).long(), 0.5, rotated=True)
    assert len(kept) > 0


def test_keeps_all_that_mmdet3d_kept_on_a_real_scan() -> None:
    golden = np.load(shared("golden/tr3d_mmdet3d_scene0000_00.npz"))
    boxes, scores, labels = (
        torch.from_numpy(golden[f"det_{name}"]) for name in ("boxes", "scores", "labels")
    )
    kept = nms(boxes, scores, labels, 0.5, rotated=False)
    assert len(kept) == 8917
    # Class by class, scores descending: the same order but for equal scores.
    assert torch.equal(labels[kept], labels)
    assert torch.equal(scores[kept], scores)
    # A worse, slightly moved copy of every box must go again.
    shifted = boxes + torch.tensor([0.001, 0, 0, 0, 0, 0, 0])
    doubled = torch.cat([shifted, boxes]), torch.cat([scores / 2 - 1, scores])
    again = nms(*doubled, labels.repeat(2), 0.5, rotated=False)
    assert len(again) >= 8917
    assert len(again[again < 8917]) < 100
    assert set(range(8917, 2 * 8917)) <= set(again.tolist())
