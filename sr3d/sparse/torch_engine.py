"""The sparse operations in plain PyTorch: the reference, and the engine without a GPU.

The density of a kernel map decides between two strategies. If most neighbours exist, blocks of rows
with all their neighbours go into one matrix product (missing neighbours are zero rows). Otherwise
there is one product per kernel offset, over the existing pairs. Both are deterministic.
`benchmarks/sparse_network.py` measures them on a real scan.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor

from sr3d.sparse.determinism import deterministic_algorithms
from sr3d.sparse.epilogue import Epilogue
from sr3d.sparse.kernel_map import KernelMap

_DENSE = 0.85  # density from which the first strategy is faster
_BLOCK = 256  # rows of a block. The block and its neighbours stay in the cache


class _Workspace(threading.local):
    """Reused scratch memory, because fresh pages cost more than the gather into them."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[int, torch.dtype, torch.device], Tensor] = {}

    def take(self, slot: int, rows: int, columns: int, like: Tensor) -> Tensor:
        """An uninitialised (rows, columns) matrix. The next `take` of the slot overwrites it."""
        key = (slot, like.dtype, like.device)
        buffer = self._buffers.get(key)
        if buffer is None or buffer.numel() < rows * columns:
            # A buffer made in inference mode cannot be written outside it.
            with torch.inference_mode(False):
                buffer = torch.empty(rows * columns, dtype=like.dtype, device=like.device)
            self._buffers[key] = buffer
        return buffer[: rows * columns].view(rows, columns)


_workspace = _Workspace()


def convolve(x: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """x (n_in, Ci), weight (K, Ci, Co), to (n_out, Co)."""
    if kernel_map.static or kernel_map.density >= _DENSE:
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
        size = kernel_map.sizes[k]
        rows = torch.index_select(x, 0, in_rows, out=inputs[:size])
        out.index_add_(0, out_rows, torch.mm(rows, weight[k], out=products[:size]))
    return out


def input_gradient(grad: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """grad (n_out, Co), weight (K, Ci, Co), to (n_in, Ci)."""
    return convolve(grad, weight.transpose(1, 2).contiguous(), kernel_map.transposed())


def convolve_fused(x: Tensor, weight: Tensor, kernel_map: KernelMap, epilogue: Epilogue) -> Tensor:
    """`convolve` with its epilogue, in place. No gradients."""
    total = convolve(x, weight, kernel_map)
    total = total.to(torch.promote_types(x.dtype, torch.float32))
    if epilogue.scale is not None:
        total *= epilogue.scale
    if epilogue.shift is not None:
        total += epilogue.shift
    if epilogue.residual is not None:
        total += epilogue.residual
    if epilogue.activation == "relu":
        torch.relu_(total)
    elif epilogue.activation == "elu":
        torch.nn.functional.elu_(total)
    return total.to(x.dtype)


def _apply_dense(x: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    volume, channels, out_channels = weight.shape
    flat = weight.reshape(volume * channels, out_channels)
    out = x.new_empty(kernel_map.n_out, out_channels)
    for start, columns in _blocks(x, kernel_map):
        torch.mm(columns, flat, out=out[start : start + len(columns)])
    return out


def weight_gradient(
    x: Tensor, grad: Tensor, kernel_map: KernelMap, dtype: torch.dtype | None = None
) -> Tensor:
    """x (n_in, Ci), grad (n_out, Co), to (K, Ci, Co) in `dtype`, by default x's."""
    return _weight_gradient(x, grad, kernel_map).to(dtype or x.dtype)


def _weight_gradient(x: Tensor, grad: Tensor, kernel_map: KernelMap) -> Tensor:
    volume, channels, out_channels = kernel_map.volume, x.shape[1], grad.shape[1]
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
        size = kernel_map.sizes[k]
        rows = torch.index_select(x, 0, in_rows, out=inputs[:size])
        grad_rows = torch.index_select(grad, 0, out_rows, out=grads[:size])
        torch.mm(rows.t(), grad_rows, out=result[k])
    return result


def _blocks(x: Tensor, kernel_map: KernelMap) -> Any:
    """Yield (first row, (rows, K · C) matrix of all neighbours' features) block by block."""
    volume, channels = kernel_map.volume, x.shape[1]
    padded = torch.cat([x, x.new_zeros(1, channels)])  # the row of missing neighbours
    neighbors = kernel_map.neighbors
    buffer = _workspace.take(0, _BLOCK * volume, channels, x)
    for start in range(0, kernel_map.n_out, _BLOCK):
        rows = neighbors[start : start + _BLOCK]
        columns = buffer[: rows.numel()]
        torch.index_select(padded, 0, rows.reshape(-1), out=columns)
        yield start, columns.view(len(rows), volume * channels)


def max_pool(x: Tensor, kernel_map: KernelMap) -> tuple[Tensor, Tensor]:
    """(n_out, C) maxima, and the input row of each, int64. Without neighbours: zero and -1."""
    if kernel_map.static:
        padded = torch.cat([x, x.new_full((1, x.shape[1]), -torch.inf)])
        best, place = padded[kernel_map.neighbors].max(dim=1)
        winner = kernel_map.table.long().gather(1, place)
        return best.where(winner >= 0, 0), winner
    best = x.new_full((kernel_map.n_out, x.shape[1]), -torch.inf)
    winner = torch.full_like(best, -1, dtype=torch.int64)
    for _, in_rows, out_rows in kernel_map.offsets():
        value, current = x[in_rows], best[out_rows]
        better = value > current
        best[out_rows] = torch.where(better, value, current)
        winner[out_rows] = torch.where(better, in_rows[:, None], winner[out_rows])
    return torch.where(winner < 0, best.new_zeros(()), best), winner


def max_pool_gradient(grad: Tensor, winner: Tensor, kernel_map: KernelMap) -> Tensor:
    """grad (n_out, C) to (n_in, C). An input row sums the gradients of all maxima that it gave."""
    result = grad.new_zeros(kernel_map.n_in + 1, grad.shape[1])  # the last row: no winner
    with deterministic_algorithms(True):
        result.scatter_add_(0, winner.where(winner >= 0, kernel_map.n_in), grad)
    return result[:-1]
