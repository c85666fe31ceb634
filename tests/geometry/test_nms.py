from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sr3d.geometry.iou import pairwise_iou
from sr3d.geometry.nms import nms
from tests.geometry.strategies import random_boxes
from tests.shared_data import shared


def by_loop(
    boxes: Tensor, scores: Tensor, labels: Tensor, iou_thr: float, rotated: bool, bev: bool
) -> list[int]:
    """Greedy suppression, one box after the other."""
    overlap = pairwise_iou(boxes, boxes, rotated, bev)
    result = []
    for label in sorted(set(labels.tolist())):
        members = [i for i in range(len(boxes)) if labels[i] == label]
        kept: list[int] = []
        for i in sorted(members, key=lambda i: (-float(scores[i]), i)):
            if all(overlap[j, i] <= iou_thr for j in kept):
                kept.append(i)
        result += kept
    return result


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("bev", [False, True])
def test_equals_the_loop(rotated: bool, bev: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = random_boxes(150, seed, spread=1.0)
    scores = torch.randint(0, 40, (150,), generator=generator) / 40  # many equal ones
    labels = torch.randint(0, 3, (150,), generator=generator) * 5
    for iou_thr in (0.05, 0.3):
        kept = nms(boxes, scores, labels, iou_thr, rotated, bev).tolist()
        assert kept == by_loop(boxes, scores, labels, iou_thr, rotated, bev)
        assert 3 < len(kept) < 150


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), max_size=25))
def test_equals_the_loop_on_a_line(rows: list[tuple[int, int]]) -> None:
    # Steps of a quarter of the length give exact overlaps of 3/5, 1/3, 1/7; few scores give ties.
    boxes = torch.tensor([[place / 4, 0, 0, 1, 1, 1, 0] for place, _ in rows]).reshape(-1, 7)
    scores = torch.tensor([float(score) for _, score in rows])
    labels = torch.zeros(len(rows), dtype=torch.long)
    for iou_thr in (0.2, 0.5):
        kept = nms(boxes, scores, labels, iou_thr, rotated=False).tolist()
        assert kept == by_loop(boxes, scores, labels, iou_thr, False, True)


@pytest.mark.parametrize("count", [1, 2, 501, 502])
def test_a_chain_keeps_every_second(count: int) -> None:
    # Each box overlaps only its neighbours, so each decision waits for the one before.
    boxes = torch.zeros(count, 7)
    boxes[:, 0] = torch.arange(count) / 4
    boxes[:, 3:6] = 1
    scores = -torch.arange(count, dtype=torch.float)
    kept = nms(boxes, scores, torch.zeros(count).long(), 0.5, rotated=False)
    assert kept.tolist() == list(range(0, count, 2))


@pytest.mark.parametrize("rotated", [False, True])
def test_equals_the_loop_where_classes_share_boxes(rotated: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = random_boxes(40, 0, spread=1.0).repeat(4, 1)
    labels = torch.arange(4).repeat_interleave(40)
    pick = torch.randperm(160, generator=generator)[:130]
    arguments = boxes[pick], torch.rand(130, generator=generator), labels[pick], 0.2, rotated, True
    kept = nms(*arguments).tolist()
    assert kept == by_loop(*arguments)
    assert 12 < len(kept) < 130


def test_the_threshold_itself_does_not_suppress() -> None:
    boxes = torch.tensor([[0.0, 0, 0, 3, 1, 1, 0], [1.0, 0, 0, 3, 1, 1, 0]])  # IoU 2 / 4
    arguments = boxes, torch.tensor([0.5, 0.9]), torch.zeros(2).long()
    assert nms(*arguments, iou_thr=0.5, rotated=False).tolist() == [1, 0]
    assert nms(*arguments, iou_thr=0.49, rotated=False).tolist() == [1]


def test_from_above_stacked_boxes_are_one() -> None:
    boxes = torch.tensor([[0.0, 0, 0, 1, 1, 1, 0], [0.0, 0, 5, 1, 1, 1, 0]])
    arguments = boxes, torch.tensor([0.5, 0.9]), torch.zeros(2).long()
    assert nms(*arguments, iou_thr=0.5, rotated=False).tolist() == [1]
    assert nms(*arguments, iou_thr=0.5, rotated=False, bev=False).tolist() == [1, 0]


def test_classes_do_not_meet_and_come_in_order() -> None:
    boxes = random_boxes(1, 0).repeat(4, 1)
    labels = torch.tensor([7, 2, 7, 2])
    kept = nms(boxes, torch.tensor([0.1, 0.2, 0.3, 0.2]), labels, 0.5, rotated=True)
    assert kept.tolist() == [1, 2]  # class 2 first; of its equals the earlier one


def test_nothing_in_nothing_out() -> None:
    kept = nms(torch.zeros(0, 7), torch.zeros(0), torch.zeros(0).long(), 0.5, rotated=True)
    assert kept.dtype == torch.long
    assert kept.tolist() == []


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
