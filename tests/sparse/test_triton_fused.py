from tests.sparse.triton_cases import (  # isort: skip
    DEVICE,
    TOLERANCE,
    error,
    kernel_map,
    random,
    sites,
)

import itertools
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

import pytest
import torch

from sr3d.sparse import torch_engine
from sr3d.sparse.epilogue import Activation, Epilogue
from sr3d.sparse.functional import engine, max_pool, sparse_conv, sparse_conv_fused
from sr3d.sparse.kernel_map import KernelMap
from sr3d.sparse.triton import engine as triton_engine
from sr3d.sparse.triton.engine import INTERPRETED, run_convolution
from sr3d.sparse.triton.tuning import KernelConfig

WITH = list(itertools.product([True, False], repeat=3))  # scale, shift, residual
ACTIVATIONS: tuple[Activation, ...] = ("relu", "elu", "none")
KINDS = list(zip(WITH, itertools.cycle(ACTIVATIONS), strict=False))


def epilogue(
    parts: tuple[bool, bool, bool], activation: Activation, n_out: int, co: int, dtype: torch.dtype
) -> Epilogue:
    scale, shift, residual = parts
    return Epilogue(
        random(co, seed=5) if scale else None,
        random(1, co, seed=6) if shift else None,
        random(n_out, co, seed=7).to(dtype) if residual else None,
        activation,
    )


@pytest.mark.parametrize(("parts", "activation"), KINDS)
@pytest.mark.parametrize("name", ["torch", "triton"])
def test_fused_is_one_after_the_other(
    name: Any, parts: tuple[bool, bool, bool], activation: Activation
) -> None:
    m = kernel_map("strided")
    x, weight = random(m.n_in, 12), random(27, 12, 20)
    more = epilogue(parts, activation, m.n_out, 20, torch.float32)
    with engine(name):
        y = sparse_conv_fused(x, weight, m, more)
    expected = sparse_conv(x.double(), weight.double(), m)
    if more.scale is not None:
        expected = expected * more.scale
    if more.shift is not None:
        expected = expected + more.shift
    if more.residual is not None:
        expected = expected + more.residual
    if activation == "relu":
        expected = expected.clamp(min=0)
    if activation == "elu":
        expected = torch.where(expected > 0, expected, expected.exp() - 1)
    assert (expected < 0).any() == (activation != "relu")
    assert error(y, expected) < TOLERANCE[torch.float32]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("groups", [1, 3])
def test_half_precision_is_rounded_once(groups: int, dtype: torch.dtype) -> None:
    m = kernel_map("submanifold")
    x, weight = random(m.n_in, 16).to(dtype), random(27, 16, 24).to(dtype)
    more = epilogue((True, True, True), "relu", m.n_out, 24, dtype)
    y = run_convolution(KernelConfig(32, 32, 16, 4, 2, groups), x, weight, m, more)
    assert y.dtype == dtype
    assert more.residual is not None
    wide = replace(more, residual=more.residual.float())
    expected = torch_engine.convolve_fused(x.float(), weight.float(), m, wide)
    unit = torch.finfo(dtype).eps
    if not (INTERPRETED and dtype == torch.bfloat16):  # the interpreter rounds bfloat16 down
        unit /= 2
    assert bool(((y - expected).abs() <= expected.abs() * unit * 1.01 + 1e-5).all())


def test_rows_without_any_neighbour_still_have_their_epilogue() -> None:
    m = sites(0).kernel_map(sites(20), 3)
    shift, residual = random(8), random(20, 8, seed=1)[: m.n_out]
    last = Epilogue(shift=shift, residual=residual, activation="relu")
    for groups in (1, 3):
        config = KernelConfig(16, 16, 16, 4, 2, groups)
        y = run_convolution(config, random(0, 4), random(27, 4, 8), m, last)
        assert torch.equal(y, (shift + residual).clamp(min=0))


class Padded:
    """The table of a map with rows to spare, as a graph of fixed capacity has it."""

    def __init__(self, m: KernelMap, capacity: int) -> None:
        self.table = torch.nn.functional.pad(m.table, (0, 0, 0, capacity - m.n_out), value=-1)
        self.volume, self.n_in, self.n_out = m.volume, m.n_in, capacity
        self.built: dict[Hashable, Any] = {}

    def cached(self, key: Hashable, build: Callable[[], Any]) -> Any:
        return self.built[key] if key in self.built else self.built.setdefault(key, build())


def test_a_table_with_spare_rows_will_do() -> None:
    m = kernel_map("strided")
    padded = Padded(m, capacity=m.n_out + 70)
    x, weight, shift = random(m.n_in, 8), random(27, 8, 8), random(8)
    y = triton_engine.convolve_fused(x, weight, padded, Epilogue(shift=shift))
    expected = triton_engine.convolve_fused(x, weight, m, Epilogue(shift=shift))
    assert torch.equal(y[: m.n_out], expected)
    assert torch.equal(y[m.n_out :], shift.expand(70, 8))
    assert torch.equal(triton_engine.max_pool(x, padded)[0][: m.n_out], max_pool(x, m))


def test_fused_has_no_gradient() -> None:
    m = kernel_map("strided")
    x = random(m.n_in, 4).requires_grad_()
    for name in ("torch", "triton"):
        with engine(name):  # type: ignore[arg-type]
            assert not sparse_conv_fused(x, random(27, 4, 4), m).requires_grad


@pytest.mark.parametrize("name", ["torch", "triton"])
def test_autocast_computes_in_half_and_returns_each_gradient_in_its_own_type(name: Any) -> None:
    m = kernel_map("strided")
    x = random(m.n_in, 12).requires_grad_()
    weight = random(27, 12, 8).requires_grad_()
    with engine(name), torch.autocast(DEVICE.type, dtype=torch.bfloat16):
        y = sparse_conv(x, weight, m)
        fused = sparse_conv_fused(x, weight, m, Epilogue(activation="relu"))
    y.sum().backward()
    assert y.dtype == fused.dtype == torch.bfloat16
    assert torch.equal(fused, torch.relu(y.detach()))
    assert x.grad is not None
    assert weight.grad is not None
    assert x.grad.dtype == weight.grad.dtype == torch.float32
    wide = [v.detach().clone().requires_grad_() for v in (x, weight)]
    expected = sparse_conv(wide[0], wide[1], m)
    expected.sum().backward()
    assert error(y, expected) < 2 * TOLERANCE[torch.bfloat16]
    for one, other in zip((x, weight), wide, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert error(one.grad, other.grad) < TOLERANCE[torch.bfloat16]
    if name == "triton":  # the weight gradient was never rounded to half
        assert error(weight.grad, wide[1].grad) < TOLERANCE[torch.float32]  # type: ignore[arg-type]


def test_double_is_left_alone_by_autocast() -> None:
    m = kernel_map("strided")
    with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
        y = sparse_conv(random(m.n_in, 3).double(), random(27, 3, 3).double(), m)
    assert y.dtype == torch.float64
