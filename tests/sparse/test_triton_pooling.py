from tests.sparse.triton_cases import (  # isort: skip
    DEVICE,
    KINDS,
    kernel_map,
    random,
    rows,
    sites,
)

import pytest
import torch
from torch import Tensor

from sr3d.sparse import Sites
from sr3d.sparse.functional import engine, max_pool
from sr3d.sparse.kernel_map import KernelMap


def run(name: str, x: Tensor, m: KernelMap) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    with engine(name):  # type: ignore[arg-type]
        y = max_pool(x, m)
    y.backward(random(*y.shape, seed=9).to(x.dtype))
    assert x.grad is not None
    return y.detach(), x.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_maximum_and_gradient_equal_the_torch_engine(kind: str, dtype: torch.dtype) -> None:
    m = kernel_map(kind)
    x = random(m.n_in, 20, seed=3).to(dtype)  # few distinct values: ties are many
    for one, other in zip(run("triton", x, m), run("torch", x.double(), m), strict=True):
        assert one.dtype == dtype
        # A gradient is a sum of up to 125 multiples of 1/16: exact in fp32, then rounded.
        assert torch.equal(one, other.to(dtype))


@pytest.mark.parametrize("n", [1, 63, 64, 65])
@pytest.mark.parametrize("channels", [1, 3, 70])
def test_ragged_rows_and_channels(n: int, channels: int) -> None:
    fine = rows(n)
    m = fine.kernel_map(fine.strided(2), 2)
    x = random(n, channels)
    for one, other in zip(run("triton", x, m), run("torch", x, m), strict=True):
        assert torch.equal(one, other)


def test_the_first_of_equal_maxima_has_the_gradient() -> None:
    pair = Sites.from_coords(torch.tensor([[0, 0, 0, 0], [0, 1, 1, 1]], device=DEVICE))
    m = pair.kernel_map(pair.strided(2), 2)
    x = torch.ones(2, 1, device=DEVICE, requires_grad=True)
    with engine("triton"):
        max_pool(x, m).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1.0, 0.0]


def test_negative_and_infinite_features() -> None:
    m = kernel_map("2³ strided")
    x = -random(m.n_in, 4).abs() - 1
    x[0], x[1] = -torch.inf, torch.nan
    for one, other in zip(run("triton", x, m), run("torch", x, m), strict=True):
        assert torch.equal(one, other)


def test_empty_scenes() -> None:
    none, some = sites(0), sites(30)
    for m in (none.kernel_map(none, 2), none.kernel_map(some, 2), some.kernel_map(none, 2)):
        y, grad = run("triton", random(m.n_in, 4), m)
        assert y.shape == (m.n_out, 4)
        assert grad.shape == (m.n_in, 4)
        assert not y.any()
        assert not grad.any()
