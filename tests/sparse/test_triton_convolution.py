from tests.sparse.triton_cases import (  # isort: skip
    KINDS,
    TOLERANCE,
    error,
    kernel_map,
    random,
    rows,
    sites,
)

import pytest
import torch
from torch import Tensor

from sr3d.sparse import Sites, torch_engine
from sr3d.sparse.epilogue import Epilogue
from sr3d.sparse.functional import engine, sparse_conv, sparse_conv_fused
from sr3d.sparse.kernel_map import KernelMap
from sr3d.sparse.triton.engine import run_convolution, run_weight_gradient
from sr3d.sparse.triton.tuning import KernelConfig
from tests.sparse import brute_force
from tests.sparse.brute_force import cells


def run(
    name: str, m: KernelMap, ci: int, co: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The output and both gradients of one engine."""
    x = random(m.n_in, ci, seed=1).to(dtype).requires_grad_()
    weight = random(len(m.sizes), ci, co, seed=2).to(dtype).requires_grad_()
    with engine(name):  # type: ignore[arg-type]
        y = sparse_conv(x, weight, m)
    y.backward(random(m.n_out, co, seed=3).to(dtype))
    return y.detach(), x.grad, weight.grad


def assert_engines_agree(m: KernelMap, ci: int, co: int, dtype: torch.dtype) -> None:
    expected = run("torch", m, ci, co, torch.float64)  # of the same numbers: `random` is exact
    for one, other in zip(run("triton", m, ci, co, dtype), expected, strict=True):
        assert one is not None
        assert other is not None
        assert one.dtype == dtype
        assert error(one, other) < TOLERANCE[dtype]


@pytest.mark.parametrize("kind", KINDS)
def test_forward_and_gradients_of_every_kind_of_map(kind: str) -> None:
    assert_engines_agree(kernel_map(kind), 32, 24, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["submanifold", "transposed"])
def test_half_precision(kind: str, dtype: torch.dtype) -> None:
    assert_engines_agree(kernel_map(kind), 24, 20, dtype)


@pytest.mark.parametrize(("ci", "co"), [(3, 5), (6, 64), (16, 16), (40, 100), (1, 1)])
def test_channels_that_are_no_multiple_of_a_tile(ci: int, co: int) -> None:
    assert_engines_agree(kernel_map("strided"), ci, co, torch.float32)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 229])
def test_ragged_rows(n: int) -> None:
    fine = rows(n)
    assert_engines_agree(fine.kernel_map(fine, 3), 8, 8, torch.float32)


def test_equals_brute_force() -> None:
    fine = sites(60)
    out = fine.strided(2)
    x, weight = random(len(fine), 4), random(27, 4, 6)
    with engine("triton"):
        y = sparse_conv(x, weight, fine.kernel_map(out, 3))
    expected = brute_force.conv(cells(fine.coords), x, cells(out.coords), weight, 3, 1)
    assert error(y, expected) < TOLERANCE[torch.float32]


@pytest.mark.parametrize(("groups", "block"), [(1, 16), (1, 128), (2, 32), (3, 64), (9, 16)])
def test_every_tiling_gives_the_same(groups: int, block: int) -> None:
    m = kernel_map("transposed")
    x, weight = random(m.n_in, 40), random(27, 40, 24)
    config = KernelConfig(block, 16, 16, warps=4, stages=2, groups=groups)
    y = run_convolution(config, x, weight, m)
    assert error(y, torch_engine.convolve(x, weight, m)) < TOLERANCE[torch.float32]


@pytest.mark.parametrize(
    ("block_m", "block_n", "pairs"), [(16, 16, 16), (32, 32, 32), (16, 64, 48), (32, 16, 4096)]
)
def test_every_split_of_the_weight_gradient(block_m: int, block_n: int, pairs: int) -> None:
    m = kernel_map("submanifold")
    x, grad = random(m.n_in, 24), random(m.n_out, 20, seed=4)
    config = KernelConfig(block_m, block_n, 16, warps=4, stages=2, pairs=pairs)
    result = run_weight_gradient(config, x, grad, m)
    expected = torch_engine.weight_gradient(x, grad, m)
    assert error(result, expected) < TOLERANCE[torch.float32]


def test_offsets_without_pairs_have_zero_weight_gradient() -> None:
    fine = rows(1)
    grad = run("triton", fine.kernel_map(fine, 3), 8, 8, torch.float32)[2]
    assert grad is not None
    assert grad[13].abs().sum() > 0
    grad[13] = 0
    assert not grad.any()


def test_the_same_bits_twice() -> None:
    def once() -> tuple[Tensor | None, ...]:
        # A new map, so the tables are made anew.
        return run("triton", kernel_map("submanifold"), 20, 24, torch.float32)

    for one, other in zip(once(), once(), strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


def test_batch_is_the_concatenation_of_its_scenes() -> None:
    both = sites(100)
    x, weight = random(len(both), 8), random(27, 8, 8)
    with engine("triton"):
        whole = sparse_conv(x, weight, both.kernel_map(both, 3))
        for scene in range(2):
            own = both.coords[:, 0] == scene
            alone = Sites.from_coords(both.coords[own], batch_size=2)
            part = sparse_conv(x[own], weight, alone.kernel_map(alone, 3))
            assert error(part, whole[own]) < 1e-6


@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_empty_scenes(kernel: int) -> None:
    none, some = sites(0), sites(40)
    for m in (
        none.kernel_map(none, kernel),
        none.kernel_map(some, kernel),
        some.kernel_map(none, kernel),
    ):
        y, grad_x, grad_weight = run("triton", m, 8, 8, torch.float32)
        assert y.shape == (m.n_out, 8)
        assert not y.any()
        assert grad_x is not None
        assert grad_x.shape == (m.n_in, 8)
        assert not grad_x.any()
        assert grad_weight is not None
        assert not grad_weight.any()


@pytest.mark.parametrize("needed", ["x", "weight"])
def test_only_the_gradient_that_is_asked_for(needed: str) -> None:
    m = kernel_map("pointwise strided")
    x, weight = random(m.n_in, 8), random(1, 8, 8)
    {"x": x, "weight": weight}[needed].requires_grad_()
    with engine("triton"):
        sparse_conv(x, weight, m).sum().backward()
    assert (x.grad is not None) == (needed == "x")
    assert (weight.grad is not None) == (needed == "weight")


def test_strided_inputs_are_read_rightly() -> None:
    m = kernel_map("strided")
    x, weight = random(8, m.n_in).t(), random(27, 6, 8).transpose(1, 2)
    with engine("triton"):
        y = sparse_conv(x, weight, m)
    expected = torch_engine.convolve(x.contiguous(), weight.contiguous(), m)
    assert error(y, expected) < TOLERANCE[torch.float32]
    residual = random(6, m.n_out).t()
    with engine("triton"):
        fused = sparse_conv_fused(x, weight, m, Epilogue(residual=residual))
    assert error(fused, expected + residual) < TOLERANCE[torch.float32]
