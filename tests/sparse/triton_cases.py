"""Maps and tolerances of the Triton engine's tests, which run on a GPU if there is one.

Without one, Triton's interpreter runs the kernels; it must be asked for before Triton is imported,
so every test of the engine imports this first.
"""

import os
import sys

import pytest
import torch
from torch import Tensor

if torch.cuda.is_available():
    DEVICE = torch.device("cuda")
else:
    asked = os.environ.setdefault("TRITON_INTERPRET", "1") == "1"
    assert asked, "these tests need TRITON_INTERPRET=1 where there is no GPU"
    if "triton" in sys.modules:
        from sr3d.sparse.triton.engine import INTERPRETED

        assert INTERPRETED, "something imported Triton before these tests were collected"
    DEVICE = torch.device("cpu")
pytest.importorskip("triton")  # only now

from sr3d.sparse import Sites
from sr3d.sparse.kernel_map import KernelMap
from tests.sparse.brute_force import random_coords

# Largest error over the largest value: the products are exact to fp32, what is stored is rounded.
TOLERANCE = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


def sites(n: int, seed: int = 0, stride: int = 1, low: int = -4, high: int = 5) -> Sites:
    """At most n cells in two scenes, on both sides of the origin."""
    coords = random_coords(n, 2, low, high, seed, stride)
    return Sites.from_coords(coords.to(DEVICE), stride, batch_size=2)


def rows(n: int) -> Sites:
    """Exactly n cells: a slab one cell thick, wide enough that most lack some neighbours."""
    at = torch.arange(n)
    zero = torch.zeros_like(at)
    coords = torch.stack([zero, at % 9 - 4, at // 9 - 3, at * at % 2], dim=1)
    return Sites.from_coords(coords.to(DEVICE), batch_size=1)


def kernel_map(kind: str) -> KernelMap:
    """A small map of each kind that the networks have."""
    fine = sites(90)
    if kind == "submanifold":
        return fine.kernel_map(fine, 3)
    if kind == "5³ submanifold":
        return fine.kernel_map(fine, 5)
    if kind == "strided":
        return fine.kernel_map(fine.strided(2), 3)
    if kind == "pointwise strided":
        return fine.kernel_map(fine.strided(2), 1)
    if kind == "2³ strided":
        return fine.kernel_map(fine.strided(2), 2)
    if kind == "transposed":
        return fine.kernel_map(fine.strided(2), 3).transposed()
    assert kind == "generative"
    coarse = sites(6, stride=4)
    return coarse.generated(3, 2).kernel_map(coarse, 3).transposed()


KINDS = (
    "submanifold",
    "5³ submanifold",
    "strided",
    "pointwise strided",
    "2³ strided",
    "transposed",
    "generative",
)


def random(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers that every data type here holds exactly, on the device."""
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=g) * 16).round().clamp(-64, 64).div(16).to(DEVICE)


def error(result: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest value."""
    assert result.shape == expected.shape
    if expected.numel() == 0:
        return 0.0
    result, expected = result.detach().double(), expected.detach().double()
    return float((result - expected).abs().max() / expected.abs().max().clamp(min=1e-30))
