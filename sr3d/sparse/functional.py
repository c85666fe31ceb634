"""Convolution and pooling over kernel maps, as pure functions of tensors, differentiable.

There are two engines: `torch_engine` runs anywhere, `triton` on a GPU if Triton can run. Their
results are equal up to rounding. `engine` forces one. For a map of MinkowskiEngine, MinkowskiEngine
computes.

Every sum has a fixed order, also on a GPU, so the results are deterministic: an addition by index
names no row twice. Only the gradient of `torch_engine.max_pool` needs deterministic algorithms, and
switches them on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from sr3d.config_groups import EngineName
from sr3d.sparse import torch_engine
from sr3d.sparse.determinism import deterministic_algorithms
from sr3d.sparse.epilogue import NOTHING, Epilogue
from sr3d.sparse.kernel_map import KernelMap
from sr3d.sparse.minkowski import MinkowskiMap
from sr3d.sparse.triton_check import native_engine, require_triton
from sr3d.sparse.windows import Windows

_forced: ContextVar[EngineName | None] = ContextVar("engine", default=None)


@contextmanager
def engine(name: EngineName) -> Iterator[None]:
    """Within the block, one engine computes all operations and their gradients.

    "native" and "minkowski" do not change the choice. "triton" runs on CPU tensors only if
    TRITON_INTERPRET=1 was set before Triton was imported.

    Raises:
        InputError: Triton is requested and cannot run.
    """
    if name == "triton":
        require_triton("model.engine=triton")
    token = _forced.set(name if name in ("torch", "triton") else _forced.get())
    try:
        yield
    finally:
        _forced.reset(token)


def engine_on(device: torch.device) -> EngineName:
    """The engine, torch or triton: of an enclosing block of `engine`, else the device's.

    Raises:
        InputError: SR3D_ENGINE is unknown, or requests Triton where it cannot run.
    """
    return _forced.get() or native_engine(device)


def _engine(x: Tensor) -> ModuleType:
    """The chosen engine if it supports x's data type, else the torch engine."""
    if engine_on(x.device) == "torch":
        return torch_engine
    from sr3d.sparse.triton import engine as triton_engine  # the import takes seconds

    known = x.dtype in triton_engine.DTYPES
    return triton_engine if known or _forced.get() else torch_engine


def sparse_conv(x: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """out[o] = Σ_k x[in_k(o)] · weight[k], over the existing neighbours.

    x: (n_in, Ci). weight: (K, Ci, Co). Returns (n_out, Co). For a transposed convolution pass the
    transposed map. The kernel is not mirrored (MinkowskiEngine's rule). Under `torch.autocast` it
    computes in, and returns, autocast's data type. The gradients have the data types of x and
    weight.
    """
    if isinstance(kernel_map, MinkowskiMap):
        return kernel_map.convolve(x, weight)
    return _SparseConv.apply(x, weight, kernel_map)


class _SparseConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.dtypes = x.dtype, weight.dtype
        x, weight = _autocast(x, weight)
        ctx.save_for_backward(x, weight)
        ctx.kernel_map = kernel_map
        ctx.engine = _engine(x)  # autograd's threads do not see a forced engine
        return ctx.engine.convolve(x, weight, kernel_map)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        grad_x = grad_weight = None
        with deterministic_algorithms(False):  # no engine writes a row twice at once
            if ctx.needs_input_grad[0]:
                grad_x = ctx.engine.input_gradient(grad, weight, ctx.kernel_map).to(ctx.dtypes[0])
            if ctx.needs_input_grad[1]:
                grad_weight = ctx.engine.weight_gradient(x, grad, ctx.kernel_map, ctx.dtypes[1])
        return grad_x, grad_weight, None


def sparse_conv_fused(
    x: Tensor,
    weight: Tensor,
    kernel_map: KernelMap,
    epilogue: Epilogue = NOTHING,
) -> Tensor:
    """`sparse_conv` with its epilogue, for inference: no gradients.

    The result has x's data type, or autocast's.
    """
    x, weight = _autocast(x, weight)
    with torch.no_grad():
        return _engine(x).convolve_fused(x, weight, kernel_map, epilogue)


def max_pool(x: Tensor, kernel_map: KernelMap | Windows) -> Tensor:
    """Channel-wise maximum over the existing neighbours, (n_in, C) to (n_out, C).

    A row without neighbours is zero, as in MinkowskiEngine. Of equal maxima, the first in kernel
    order gets the gradient. In `Windows` they share it.
    """
    if isinstance(kernel_map, MinkowskiMap | Windows):
        return kernel_map.pool(x, "max")
    return _MaxPool.apply(x, kernel_map)


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.engine = _engine(x)
        out, winner = ctx.engine.max_pool(x, kernel_map)
        ctx.save_for_backward(winner)
        ctx.kernel_map = kernel_map
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (winner,) = ctx.saved_tensors
        with deterministic_algorithms(False):  # the torch engine switches them on itself
            return ctx.engine.max_pool_gradient(grad, winner, ctx.kernel_map), None


def sum_pool(x: Tensor, kernel_map: KernelMap | Windows) -> Tensor:
    """Channel-wise sum over the existing neighbours, (n_in, C) to (n_out, C)."""
    if isinstance(kernel_map, MinkowskiMap | Windows):
        return kernel_map.pool(x, "sum")
    if kernel_map.static:
        padded = torch.cat([x, x.new_zeros(1, x.shape[1])])
        return sum((padded[rows] for rows in kernel_map.neighbors.t()), start=x.new_zeros(()))
    out = x.new_zeros(kernel_map.n_out, x.shape[1])
    for _, in_rows, out_rows in kernel_map.offsets():
        out.index_add_(0, out_rows, x.index_select(0, in_rows))
    return out


def average_pool(x: Tensor, kernel_map: KernelMap | Windows) -> Tensor:
    """Channel-wise mean over the existing neighbours (not over the kernel's volume)."""
    if isinstance(kernel_map, MinkowskiMap | Windows):
        return kernel_map.pool(x, "average")
    if kernel_map.static:
        count = (kernel_map.table >= 0).sum(dim=1).clamp(min=1)
    else:
        count = torch.bincount(kernel_map.out_rows, minlength=kernel_map.n_out).clamp_(min=1)
    return sum_pool(x, kernel_map) / count[:, None].to(x.dtype)


def _autocast(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both in autocast's data type, if autocast is on. Double precision is not changed."""
    if not torch.is_autocast_enabled(x.device.type) or x.dtype == torch.float64:
        return x, weight
    dtype = torch.get_autocast_dtype(x.device.type)
    return x.to(dtype), weight.to(dtype)
