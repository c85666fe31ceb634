from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from sr3d.sparse.segments import segment_max, segment_mean, segment_sizes, segment_sum

REDUCTIONS = {
    segment_sum: lambda rows: rows.sum(0),
    segment_mean: lambda rows: rows.mean(0),
    segment_max: lambda rows: rows.amax(0),
}


def rows_of(seed: int, n: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=g, dtype=torch.float64)
    return x, torch.randint(count, (n,), generator=g)


@given(seed=st.integers(0, 10_000), n=st.integers(0, 40), count=st.integers(1, 12))
@settings(deadline=None, max_examples=60)
def test_equals_a_loop_over_segments(seed: int, n: int, count: int) -> None:
    x, segment = rows_of(seed, n, count)
    for function, reduce in REDUCTIONS.items():
        found = function(x, segment, count)
        assert found.shape == (count, 3)
        for i, value in enumerate(found):
            own = x[segment == i]
            assert torch.allclose(value, reduce(own) if len(own) else torch.zeros_like(value))
    assert (
        segment_sizes(segment, count).tolist() == torch.bincount(segment, minlength=count).tolist()
    )


def test_sums_equal_a_dense_product() -> None:
    x, segment = rows_of(0, 50, 7)
    members = F.one_hot(segment, 9).double().t()
    assert torch.allclose(segment_sum(x, segment, 9), members @ x)


@pytest.mark.parametrize("function", REDUCTIONS)
def test_gradients(function: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    x, segment = rows_of(1, 12, 5)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: function(x, segment, 6), (x,))


def test_equal_maxima_share_the_gradient() -> None:
    x = torch.tensor([[1.0], [1.0], [0.0], [2.0]], requires_grad=True)
    segment_max(x, torch.tensor([0, 0, 0, 1]), 2).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0.5, 0.5, 0, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_types_stay(dtype: torch.dtype) -> None:
    x, segment = rows_of(2, 20, 4)
    for function in REDUCTIONS:
        assert function(x.to(dtype), segment, 4).dtype == dtype
