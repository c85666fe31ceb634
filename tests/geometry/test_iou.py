from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from torch import Tensor

import sr3d.geometry.iou as iou_module
from sr3d.geometry.boxes import Boxes, corners
from sr3d.geometry.iou import (
    enclosing_diagonal,
    paired_diou_loss,
    paired_iou,
    pairwise_iou,
    static_pairwise_iou,
)
from tests.geometry.strategies import boxes, close_pairs, random_boxes

A = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0]])
B = torch.tensor([[1.0, 1, 1, 2, 2, 2, 0]])


@pytest.mark.parametrize("rotated", [False, True])
def test_by_hand(rotated: bool) -> None:
    assert paired_iou(A, B, rotated).item() == pytest.approx(1 / 15)
    assert pairwise_iou(A, B, rotated).item() == pytest.approx(1 / 15)
    assert pairwise_iou(A, B, rotated, bev=True).item() == pytest.approx(1 / 7)
    # Enclosing cube of 3 m: squared diagonal 27; squared distance of centres 3.
    assert paired_diou_loss(A, B, rotated).item() == pytest.approx(1 - 1 / 15 + 3 / 27)
    assert enclosing_diagonal(A, B, rotated).item() == pytest.approx(math.sqrt(27))


def test_aligned_overlap_ignores_yaw() -> None:
    turned = B.clone()
    turned[0, 6] = 0.4
    assert paired_iou(A, turned, rotated=False).item() == pytest.approx(1 / 15)
    assert paired_diou_loss(A, turned, rotated=False).item() == pytest.approx(14 / 15 + 1 / 9)
    # A square turned about A's corner still has a quarter in A; put its centre on A's face.
    turned[0, :3] = torch.tensor([1.0, 0, 0])
    assert paired_iou(A, turned, rotated=False).item() == pytest.approx(1 / 3)
    assert paired_iou(A, turned, rotated=True).item() < 0.33


def test_rotated_volume_equals_monte_carlo() -> None:
    a, b = random_boxes(40, 0, spread=0.8), random_boxes(40, 1, spread=0.8)
    count = 40_000
    unit = torch.rand(count, 3, generator=torch.Generator().manual_seed(2))
    estimate = []
    for first, second in zip(a, b, strict=True):
        around = Boxes(first[None]).enclosing().tensor[0]
        points = around[:3] + (unit - 0.5) * around[3:6]
        in_a, in_b = Boxes(torch.stack([first, second])).contains(points).unbind(1)
        shared = (in_a & in_b).float().mean() * around[3:6].prod()
        estimate.append(shared / (first[3:6].prod() + second[3:6].prod() - shared))
    assert min(estimate) < 0.05
    assert max(estimate) > 0.3
    exact = paired_iou(a, b, rotated=True)
    torch.testing.assert_close(exact, torch.stack(estimate), atol=0.015, rtol=0)


@given(boxes(2))
def test_is_a_symmetric_share(box: Tensor) -> None:
    a, b = box[:1], box[1:]
    for rotated in (False, True):
        value = paired_iou(a, b, rotated)
        assert 0 <= value <= 1
        torch.testing.assert_close(paired_iou(b, a, rotated), value, atol=1e-9, rtol=0)
        assert paired_iou(a, a, rotated) == 1
        assert paired_diou_loss(a, a, rotated) == 0


@given(boxes(2))
def test_upright_boxes_have_one_iou(box: Tensor) -> None:
    box[:, 6] = 0
    a, b = box[:1], box[1:]
    for bev in (False, True):
        upright, turned = (pairwise_iou(a, b, rotated, bev) for rotated in (False, True))
        torch.testing.assert_close(turned, upright, atol=1e-9, rtol=0)
    aligned, rotated = (paired_diou_loss(a, b, flag) for flag in (False, True))
    torch.testing.assert_close(rotated, aligned, atol=1e-9, rtol=0)


@given(close_pairs())
def test_the_same_cuboid_in_other_words(pair: tuple[Tensor, Tensor]) -> None:
    a, _ = pair
    half, quarter = a.clone(), a[:, [0, 1, 2, 4, 3, 5, 6]].clone()
    half[:, 6] += math.pi
    quarter[:, 6] -= math.pi / 2
    assert paired_iou(a, half, rotated=True).item() == pytest.approx(1, abs=1e-9)
    assert paired_iou(a, quarter, rotated=True).item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("bev", [False, True])
@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("size", [1 << 15, 50, 7])
def test_pairwise_is_paired_on_every_pair(
    rotated: bool, bev: bool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(iou_module, "pairs_at_a_time", lambda device, rotated: size)
    a, b = random_boxes(30, 3), random_boxes(20, 4)
    table = pairwise_iou(a, b, rotated, bev)
    first, second = a.repeat_interleave(20, 0), b.repeat(30, 1)
    if bev:  # the same height makes volumes compare as footprints do
        first[:, [2, 5]] = second[:, [2, 5]] = torch.tensor([0.0, 1.0])
    expected = paired_iou(first, second, rotated).reshape(30, 20)
    assert ((expected > 0).sum() > 20) & ((expected == 0).sum() > 20)
    torch.testing.assert_close(table, expected)
    scenes = a.reshape(2, 15, 7), b[:16].reshape(2, 8, 7)
    stacked = static_pairwise_iou(*scenes, rotated, bev)
    for i in range(2):
        assert torch.allclose(stacked[i], pairwise_iou(scenes[0][i], scenes[1][i], rotated, bev))


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (3, 0), (0, 0)])
def test_no_boxes(rotated: bool, rows: int, columns: int) -> None:
    a, b = random_boxes(rows, 0), random_boxes(columns, 1)
    assert pairwise_iou(a, b, rotated).shape == (rows, columns)
    assert static_pairwise_iou(a, b, rotated).shape == (rows, columns)
    assert paired_iou(a[:0], b[:0], rotated).shape == (0,)
    assert paired_diou_loss(a[:0], b[:0], rotated).shape == (0,)


@given(boxes(2))
def test_enclosing_diagonal_is_that_of_all_corners(box: Tensor) -> None:
    corner = corners(box).reshape(-1, 3)
    expected = (corner.amax(0) - corner.amin(0)).norm()
    torch.testing.assert_close(enclosing_diagonal(box[0], box[1], rotated=True), expected)
    box[:, 6] = 0
    corner = corners(box).reshape(-1, 3)
    expected = (corner.amax(0) - corner.amin(0)).norm()
    torch.testing.assert_close(enclosing_diagonal(box[0], box[1], rotated=False), expected)


def test_enclosing_diagonal_broadcasts() -> None:
    a, b = random_boxes(6, 0), random_boxes(4, 1)
    table = enclosing_diagonal(a[:, None], b[None], rotated=True)
    assert table.shape == (6, 4)
    torch.testing.assert_close(table[5, 2], enclosing_diagonal(a[5], b[2], rotated=True))


def test_legacy_diou_takes_the_widths_for_the_heights() -> None:
    a, b = random_boxes(9, 5, 1.0).double(), random_boxes(9, 6, 1.0).double()
    corner = torch.cat([corners(a), corners(b)], dim=1)
    diagonal = ((corner.amax(1) - corner.amin(1)) ** 2).sum(1)
    difference = (a - b) ** 2
    for legacy, third in ((True, 3), (False, 2)):
        distance = difference[:, 0] + difference[:, 1] + difference[:, third]
        expected = 1 - paired_iou(a, b, rotated=True) + distance / diagonal
        torch.testing.assert_close(paired_diou_loss(a, b, True, legacy=legacy), expected)
    # The aligned loss never had the bug.
    assert torch.equal(paired_diou_loss(a, b, False, legacy=True), paired_diou_loss(a, b, False))


@pytest.mark.parametrize("rotated", [False, True])
def test_gradcheck(rotated: bool) -> None:
    a, b = random_boxes(12, seed=0, spread=1.0).double().chunk(2)
    assert (paired_iou(a, b, rotated) > 0).sum() >= 3
    a.requires_grad_(), b.requires_grad_()
    assert torch.autograd.gradcheck(lambda p, t: paired_diou_loss(p, t, rotated), (a, b))
    assert torch.autograd.gradcheck(lambda p, t: pairwise_iou(p, t, rotated), (a, b))
    assert torch.autograd.gradcheck(lambda p, t: enclosing_diagonal(p, t, rotated), (a, b))


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_are_finite_at_a_perfect_and_at_a_hopeless_match(
    rotated: bool, dtype: torch.dtype
) -> None:
    target = random_boxes(4, 7).to(dtype)
    pred = target.clone()
    pred[1, :3] += 30  # apart
    pred[2, 3:6] = 1e-30  # a point
    pred[3, 6] += math.pi / 2
    pred.requires_grad_()
    loss = paired_diou_loss(pred, target, rotated)
    assert loss.dtype == dtype
    loss.sum().backward()
    assert pred.grad is not None
    assert pred.grad.isfinite().all()
    assert loss[0] == 0


def test_two_points_enclose_no_diagonal_but_a_finite_gradient() -> None:
    point = torch.tensor([[1.0, 2, 3, 0, 0, 0, 0]], requires_grad=True)
    for rotated in (False, True):
        value = paired_diou_loss(point, point.detach(), rotated).sum()
        value = value + enclosing_diagonal(point, point.detach(), rotated).sum()
        assert value.isfinite()
        (gradient,) = torch.autograd.grad(value, point)
        assert gradient.isfinite().all()
