"""Footprint intersection against shapely, by hand, and in its derivatives."""

from __future__ import annotations

import math

import pytest
import shapely  # type: ignore[import-untyped]
import torch
from hypothesis import given, settings
from torch import Tensor

from sr3d.geometry.boxes import corners
from sr3d.geometry.rotated import footprint_intersection
from tests.geometry.strategies import boxes, close_pairs, random_boxes


def polygon(box: Tensor) -> shapely.Polygon:
    return shapely.Polygon(corners(box)[[0, 1, 3, 2], :2].tolist())


def by_shapely(a: Tensor, b: Tensor) -> float:
    # Without a grid GEOS itself fails on nearly coincident edges (touching squares share all).
    return float(shapely.intersection(polygon(a), polygon(b), grid_size=1e-12).area)


@settings(max_examples=300)
@given(boxes(2))
def test_equals_shapely(box: Tensor) -> None:
    a, b = box
    area = float(footprint_intersection(a, b))
    assert area == pytest.approx(by_shapely(a, b), abs=1e-6)
    assert float(footprint_intersection(b, a)) == pytest.approx(area, abs=1e-9)


@settings(max_examples=300)
@given(close_pairs())
def test_equals_shapely_where_edges_nearly_coincide(pair: tuple[Tensor, Tensor]) -> None:
    a, b = pair
    area = float(footprint_intersection(a, b))
    assert area == pytest.approx(by_shapely(a[0], b[0]), abs=1e-6)


SQUARE = [0.0, 0, 0, 2, 2, 1, 0]


@pytest.mark.parametrize(
    ("other", "area"),
    [
        (SQUARE, 4.0),
        ([0, 0, 0, 2, 2, 1, math.pi / 2], 4.0),
        ([0, 0, 0, 2, 2, 1, math.pi / 4], 8 * (math.sqrt(2) - 1)),  # a regular octagon
        ([0, 0, 0, 1, 1, 1, math.pi / 4], 1.0),  # within
        ([0, 0, 0, 9, 9, 1, 0.3], 4.0),  # around
        ([0, 0, 0, 10, 1, 1, 0], 2.0),  # a cross
        ([0, 0, 0, 10, 1, 1, math.pi / 4], 2 * math.sqrt(2) - 0.5),  # a bar over the diagonal
        ([2, 0, 0, 2, 2, 1, 0], 0.0),  # a shared edge from outside
        ([1.5, 0, 0, 1, 2, 1, math.pi], 0.0),
        ([2, 2, 0, 2, 2, 1, 0], 0.0),  # a shared corner
        ([1, 0, 0, 2, 2, 1, 0], 2.0),  # two edges on common lines
        ([9, 0, 0, 2, 2, 1, 1], 0.0),
    ],
)
def test_by_hand(other: list[float], area: float) -> None:
    a, b = torch.tensor(SQUARE), torch.tensor(other, dtype=torch.float64)
    assert float(footprint_intersection(a, b)) == pytest.approx(area, abs=1e-12)
    # The same scene, turned and far from the origin.
    turned = [torch.cat([v[:6].double(), v[6:].double() + 0.5]) for v in (a, b)]
    x, y = b[0].item(), b[1].item()
    turned[1][0] = x * math.cos(0.5) - y * math.sin(0.5)
    turned[1][1] = x * math.sin(0.5) + y * math.cos(0.5)
    for box in turned:
        box[:2] += 100
    assert float(footprint_intersection(*turned)) == pytest.approx(area, abs=1e-11)


@settings(max_examples=50)
@given(close_pairs())
def test_gradients_are_finite_where_edges_coincide(pair: tuple[Tensor, Tensor]) -> None:
    a, b = (box.requires_grad_() for box in pair)
    footprint_intersection(a, b).sum().backward()
    for box in (a, b):
        assert box.grad is not None
        assert box.grad.isfinite().all()
        assert box.grad.abs().max() < 100  # no more than perimeter or lever arm


def test_gradcheck_in_general_position() -> None:
    a, b = random_boxes(12, seed=0, spread=0.5).double().chunk(2)
    area = footprint_intersection(a, b)
    assert (area > 0).all()
    a.requires_grad_(), b.requires_grad_()
    assert torch.autograd.gradcheck(footprint_intersection, (a, b))


@pytest.mark.parametrize("yaw", [0.0, 0.3])
@pytest.mark.parametrize("depth", [3.0, 0.6])  # B's long edges outside A, and one of them inside
def test_the_gradient_of_parallel_boxes_is_the_true_one(depth: float, yaw: float) -> None:
    # Where all edges are parallel every edge degenerates in some quotient, yet the area is smooth.
    a = torch.tensor([[0.0, 0, 0, 2, 1, 1, yaw]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[0.7, 0.3, 0, 1.5, depth, 1, yaw]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(footprint_intersection, (a, b))


def test_broadcasts_and_takes_no_boxes() -> None:
    a, b = random_boxes(5, 1), random_boxes(3, 2)
    table = footprint_intersection(a[:, None], b[None])
    assert table.shape == (5, 3)
    assert table.dtype == torch.float64
    torch.testing.assert_close(table[4, 1], footprint_intersection(a[4], b[1]))
    assert footprint_intersection(a[:0], b[:0]).shape == (0,)
