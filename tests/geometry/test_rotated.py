"""Footprint intersection against shapely, exact arithmetic, by hand, and in its derivatives."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
import shapely  # type: ignore[import-untyped]
import torch
from hypothesis import given, settings
from torch import Tensor

from sr3d.geometry.boxes import corners
from sr3d.geometry.rotated import footprint_intersection
from tests.geometry.strategies import boxes, close_pairs, random_boxes

Point = tuple[Fraction, Fraction]


def outline(box: Tensor) -> list[list[float]]:
    """Corners of the footprint, counter-clockwise."""
    return corners(box)[[0, 1, 3, 2], :2].tolist()


def by_shapely(a: Tensor, b: Tensor) -> float:
    return float(shapely.Polygon(outline(a)).intersection(shapely.Polygon(outline(b))).area)


def by_exact_clipping(a: Tensor, b: Tensor) -> float:
    """Sutherland and Hodgman in rational numbers, because nearly coincident edges break GEOS: it
    gives all of a square as its intersection with one that it touches from outside.
    """
    clip, polygon = ([(Fraction(x), Fraction(y)) for x, y in outline(box)] for box in (a, b))
    for p, q in itertools.pairwise([*clip, clip[0]]):
        left = [_cross(p, q, point) for point in polygon]
        result: list[Point] = []
        for i, (x, y) in enumerate(polygon):
            before, here = left[i - 1], left[i]
            if before * here < 0:
                share = before / (before - here)
                u, v = polygon[i - 1]
                result.append((u + share * (x - u), v + share * (y - v)))
            if here >= 0:
                result.append((x, y))
        polygon = result
    origin = (Fraction(0), Fraction(0))
    pairs = zip(polygon, polygon[1:] + polygon[:1], strict=True)
    return float(sum((_cross(origin, p, q) for p, q in pairs), Fraction(0)) / 2)


def _cross(o: Point, p: Point, q: Point) -> Fraction:
    return (p[0] - o[0]) * (q[1] - o[1]) - (p[1] - o[1]) * (q[0] - o[0])


def test_equals_shapely_in_general_position() -> None:
    a, b = random_boxes(500, 0, spread=1.5).double(), random_boxes(500, 1, spread=1.5).double()
    shared = [by_shapely(p, q) for p, q in zip(a, b, strict=True)]
    expected = torch.tensor(shared, dtype=torch.float64)
    assert 0.05 < (expected > 0.2).float().mean() < 0.95
    area = footprint_intersection(a, b)
    torch.testing.assert_close(area, expected, atol=1e-6, rtol=0)


@settings(max_examples=300)
@given(boxes(2))
def test_equals_exact_clipping(box: Tensor) -> None:
    a, b = box
    area = float(footprint_intersection(a, b))
    assert area == pytest.approx(by_exact_clipping(a, b), abs=1e-9)
    assert float(footprint_intersection(b, a)) == pytest.approx(area, abs=1e-9)


@settings(max_examples=300)
@given(close_pairs())
def test_equals_exact_clipping_where_edges_nearly_coincide(pair: tuple[Tensor, Tensor]) -> None:
    a, b = pair
    area = float(footprint_intersection(a, b))
    assert area == pytest.approx(by_exact_clipping(a[0], b[0]), abs=1e-9)


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
