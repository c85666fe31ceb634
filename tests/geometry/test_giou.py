"""Generalised IoU."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from torch import Tensor

from sr3d.geometry.boxes import corners
from sr3d.geometry.iou import footprint_overlap, generalized_iou, paired_iou
from tests.geometry.strategies import close_pairs, random_boxes

A = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0]])


def giou(a: Tensor, b: Tensor, rotated: bool = True) -> Tensor:
    return generalized_iou(a, b, footprint_overlap(a, b, rotated), rotated)


@pytest.mark.parametrize("rotated", [False, True])
def test_by_hand(rotated: bool) -> None:
    near = torch.tensor([[1.0, 1, 1, 2, 2, 2, 0]])
    assert giou(A, near, rotated).item() == pytest.approx(1 / 15 - 12 / 27)
    far = torch.tensor([[8.0, 0, 0, 2, 2, 2, 0]])
    assert giou(A, far, rotated).item() == pytest.approx(16 / 40 - 1)
    assert giou(A, A, rotated).item() == pytest.approx(1)
    inside = torch.tensor([[0.0, 0, 0, 1, 1, 1, 0]])
    assert giou(A, inside, rotated).item() == pytest.approx(1 / 8)


def test_a_turned_square_is_enclosed_by_a_larger_one() -> None:
    turned = A.clone()
    turned[0, 6] = torch.pi / 4
    octagon = 8 * (2**0.5 - 1)
    union = 8 - octagon
    expected = octagon / union - 1 + union / 8
    assert giou(A, turned).item() == pytest.approx(expected)
    assert giou(A, turned, rotated=False).item() == pytest.approx(1)


@given(close_pairs())
def test_it_is_iou_less_the_empty_share_of_the_enclosing_box(pair: tuple[Tensor, Tensor]) -> None:
    a, b = pair
    if min(a[:, 3:6].min(), b[:, 3:6].min()) < 2e-3:
        return  # edges count as at least a millimetre
    iou = paired_iou(a, b, rotated=True).double()
    both = torch.cat([corners(a.double()), corners(b.double())], dim=1)
    around = (both.amax(dim=1) - both.amin(dim=1)).prod(dim=1)
    volumes = a[:, 3:6].double().prod(dim=1) + b[:, 3:6].double().prod(dim=1)
    union = volumes / (1 + iou)
    expected = iou - (around - union) / around
    torch.testing.assert_close(giou(a, b).double(), expected, atol=2e-5, rtol=1e-4)


def test_gradients() -> None:
    a, b = random_boxes(20, 0, spread=0.5).double(), random_boxes(20, 1, spread=0.5).double()
    for rotated in (False, True):
        of_a = a.clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda x, r=rotated: giou(x, b, r), of_a)  # type: ignore


def test_flat_boxes_have_a_value() -> None:
    flat = torch.tensor([[0.0, 0, 0, 0, 0, 0, 0]], requires_grad=True)
    value = giou(A, flat)
    value.sum().backward()
    assert value.isfinite().all()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()
