"""Convolution and pooling over kernel maps, as pure functions of tensors, differentiable.

Two strategies, chosen by how many of a row's possible neighbours exist: where most do, blocks of
rows with all their neighbours side by side and one matrix product (missing ones are zero rows);
elsewhere one product for each kernel offset over the pairs that exist. Both are deterministic.
Measured on a real scan: `benchmarks/sparse_network.py`.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor

from sr3d.sparse.kernel_map import KernelMap

_DENSE = 0.85  # density from which the first strategy is faster
_BLOCK = 256  # its rows at a time: the block and its neighbours stay in the cache


class _Workspace(threading.local):
    """Scratch memory that is kept, because fresh pages cost more than the gather into them."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[int, torch.dtype, torch.device], Tensor] = {}

    def take(self, slot: int, rows: int, columns: int, like: Tensor) -> Tensor:
        """An uninitialised (rows, columns) matrix; the next `take` of the slot overwrites it."""
        key = (slot, like.dtype, like.device)
        buffer = self._buffers.get(key)
        if buffer is None or buffer.numel() < rows * columns:
            buffer = like.new_empty(rows * columns)
            self._buffers[key] = buffer
        return buffer[: rows * columns].view(rows, columns)


_workspace = _Workspace()


def sparse_conv(x: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """out[o] = Σ_k x[in_k(o)] · weight[k], over the neighbours that exist.

    x: (n_in, Ci). weight: (K, Ci, Co). Returns (n_out, Co). For a transposed convolution pass the
    transposed map; the kernel is not mirrored (MinkowskiEngine's rule).
    """
    return _SparseConv.apply(x, weight, kernel_map)


class _SparseConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.kernel_map = kernel_map
        return _apply(x, weight, kernel_map)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            flipped = weight.transpose(1, 2).contiguous()
            grad_x = _apply(grad, flipped, ctx.kernel_map.transposed())
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_gradient(x, grad, ctx.kernel_map)
        return grad_x, grad_weight, None


def _apply(x: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    if kernel_map.density >= _DENSE:
        return _apply_dense(x, weight, kernel_map)
    centre = kernel_map.identity
    shape = kernel_map.n_out, weight.shape[2]
    out = x.new_zeros(shape) if centre is None else x @ weight[centre]
    largest = max(kernel_map.sizes)
    inputs = _workspace.take(0, largest, weight.shape[1], x)
    products = _workspace.take(1, largest, weight.shape[2], x)
    for k, in_rows, out_rows in kernel_map.offsets():
        if k == centre:
            continue
        size = len(in_rows)
        torch.index_select(x, 0, in_rows, out=inputs[:size])
        torch.mm(inputs[:size], weight[k], out=products[:size])
        out.index_add_(0, out_rows, products[:size])
    return out


def _apply_dense(x: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    volume, channels, out_channels = weight.shape
    flat = weight.reshape(volume * channels, out_channels)
    out = x.new_empty(kernel_map.n_out, out_channels)
    for start, columns in _blocks(x, kernel_map):
        torch.mm(columns, flat, out=out[start : start + len(columns)])
    return out


def _weight_gradient(x: Tensor, grad: Tensor, kernel_map: KernelMap) -> Tensor:
    volume, channels, out_channels = len(kernel_map.sizes), x.shape[1], grad.shape[1]
    result = x.new_zeros(volume, channels, out_channels)
    if kernel_map.density >= _DENSE:
        flat = result.view(volume * channels, out_channels)
        for start, columns in _blocks(x, kernel_map):
            flat.addmm_(columns.t(), grad[start : start + len(columns)])
        return result
    largest = max(kernel_map.sizes)
    inputs = _workspace.take(0, largest, channels, x)
    grads = _workspace.take(1, largest, out_channels, x)
    for k, in_rows, out_rows in kernel_map.offsets():
        if k == kernel_map.identity:
            torch.mm(x.t(), grad, out=result[k])
            continue
        size = len(in_rows)
        torch.index_select(x, 0, in_rows, out=inputs[:size])
        torch.index_select(grad, 0, out_rows, out=grads[:size])
        torch.mm(inputs[:size].t(), grads[:size], out=result[k])
    return result


def _blocks(x: Tensor, kernel_map: KernelMap) -> Any:
    """Yield (first row, (rows, K · C) matrix of all neighbours' features) block by block."""
    volume, channels = len(kernel_map.sizes), x.shape[1]
    padded = torch.cat([x, x.new_zeros(1, channels)])  # the row that stands for a missing neighbour
    neighbors = kernel_map.neighbors
    buffer = _workspace.take(0, _BLOCK * volume, channels, x)
    for start in range(0, kernel_map.n_out, _BLOCK):
        rows = neighbors[start : start + _BLOCK]
        columns = buffer[: rows.numel()]
        torch.index_select(padded, 0, rows.reshape(-1), out=columns)
        yield start, columns.view(len(rows), volume * channels)


def max_pool(x: Tensor, kernel_map: KernelMap) -> Tensor:
    """Channel-wise maximum over the neighbours that exist; (n_in, C) to (n_out, C).

    The gradient goes to one of equal maxima: the first in kernel order.
    """
    return _MaxPool.apply(x, kernel_map)


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel_map: KernelMap) -> Tensor:
        best = x.new_full((kernel_map.n_out, x.shape[1]), -torch.inf)
        winner = torch.full_like(best, -1, dtype=torch.int64)
        for _, in_rows, out_rows in kernel_map.offsets():
            value, current = x[in_rows], best[out_rows]
            better = value > current
            best[out_rows] = torch.where(better, value, current)
            winner[out_rows] = torch.where(better, in_rows[:, None], winner[out_rows])
        ctx.save_for_backward(winner)
        ctx.n_in = kernel_map.n_in
        # A row without any neighbour has no maximum; MinkowskiEngine leaves zero there.
        return torch.where(winner < 0, best.new_zeros(()), best)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (winner,) = ctx.saved_tensors
        result = grad.new_zeros(
            ctx.n_in + 1, grad.shape[1]
        )  # the last row takes what has no winner
        result.scatter_add_(0, winner.where(winner >= 0, winner.new_tensor(ctx.n_in)), grad)
        return result[:-1], None


def sum_pool(x: Tensor, kernel_map: KernelMap) -> Tensor:
    """Channel-wise sum over the neighbours that exist; (n_in, C) to (n_out, C)."""
    out = x.new_zeros(kernel_map.n_out, x.shape[1])
    return out.index_add(0, kernel_map.out_rows, x.index_select(0, kernel_map.in_rows))


def average_pool(x: Tensor, kernel_map: KernelMap) -> Tensor:
    """Channel-wise mean over the neighbours that exist (not over the kernel's volume)."""
    count = torch.bincount(kernel_map.out_rows, minlength=kernel_map.n_out).clamp_(min=1)
    return sum_pool(x, kernel_map) / count[:, None].to(x.dtype)


def instance_norm(x: Tensor, scene: Tensor, batch_size: int, eps: float = 1e-8) -> Tensor:
    """Each scene's rows to zero mean and unit (biased) variance a channel.

    x: (N, C). scene: (N,) index of the scene of each row. eps is MinkowskiEngine's.
    """
    count = torch.bincount(scene, minlength=batch_size).clamp_(min=1)[:, None].to(x.dtype)
    zeros = x.new_zeros(batch_size, x.shape[1])
    centred = x - (zeros.index_add(0, scene, x) / count)[scene]
    variance = zeros.index_add(0, scene, centred * centred) / count
    return centred * (variance + eps).rsqrt()[scene]
