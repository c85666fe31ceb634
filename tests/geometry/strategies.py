"""Boxes for hypothesis: general ones, and ones that share edges, corners or axes."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st
from torch import Tensor


def _real(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_subnormal=False)


# Multiples of a half metre and of 45° make edges and corners coincide exactly or almost so.
_COORDINATE = _real(-3, 3) | st.integers(-6, 6).map(lambda i: i / 2)
_SIZE = _real(0.01, 4) | st.integers(1, 8).map(lambda i: i / 2)
_YAW = _real(-7, 7) | st.integers(-8, 8).map(lambda i: i * math.pi / 4)
_BOX = st.tuples(*[_COORDINATE] * 3, *[_SIZE] * 3, _YAW)


def boxes(count: int) -> st.SearchStrategy[Tensor]:
    """(count, 7) float64."""
    rows = st.lists(_BOX, min_size=count, max_size=count)
    return rows.map(lambda value: torch.tensor(value, dtype=torch.float64))


@st.composite
def close_pairs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Two (1, 7) boxes that are the same but for a little turn, shift or stretch, or for none."""
    a = draw(boxes(1))
    tiny = st.sampled_from([0.0, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3])
    b = a.clone()
    b[0, 6] += draw(st.integers(-4, 4)) * math.pi / 2 + draw(tiny)
    # By a whole size along A's own axis the two touch along an edge, along both in a corner.
    along, across = (draw(st.sampled_from([-1, 0, 1])) * float(a[0, i]) for i in (3, 4))
    along, across = along + draw(tiny), across + draw(tiny)
    cos, sin = math.cos(a[0, 6]), math.sin(a[0, 6])
    b[0, 0] += along * cos - across * sin
    b[0, 1] += along * sin + across * cos
    b[0, 3:5] *= 1 + draw(tiny)
    return a, b


def random_boxes(count: int, seed: int, spread: float = 4.0) -> Tensor:
    """(count, 7) float32 boxes of furniture size."""
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(count, 7, generator=generator)
    low = torch.tensor([0, 0, 0, 0.2, 0.2, 0.2, -math.pi])
    high = torch.tensor([spread, spread, 2, 1.7, 1.7, 1.7, math.pi])
    return low + unit * (high - low)
