"""How much arithmetic a network needs in a scene, and how fast this machine could do it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from sr3d.runs.folder import synchronise
from sr3d.sparse.nn import SparseConv, SparseConvTranspose
from sr3d.sparse.tensor import PlannedTensor, SparseTensor

_ROUNDS = 10
_EDGE = {"cpu": 1024, "cuda": 8192}  # of the dense matrices: large enough to reach the peak


@contextmanager
def counted_flop(model: nn.Module) -> Iterator[list[int]]:
    """Yield a list that fills, while it lasts, with each sparse convolution's useful operations.

    A multiplication and an addition for every pair of rows that a kernel map has, times input
    times output channels; a missing neighbour counts nothing, and neither do norms and pooling.
    """
    counts: list[int] = []

    def count(module: nn.Module, args: tuple[Any, ...], out: SparseTensor) -> None:
        if isinstance(out, PlannedTensor):
            return
        assert isinstance(module, SparseConv | SparseConvTranspose)
        channels_in, channels_out = module.kernel.shape[-2:]
        counts.append(2 * _pairs(module, args[0], out) * channels_in * channels_out)

    convolutions = [m for m in model.modules() if isinstance(m, SparseConv | SparseConvTranspose)]
    hooks = [module.register_forward_hook(count) for module in convolutions]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def _pairs(module: SparseConv | SparseConvTranspose, x: SparseTensor, out: SparseTensor) -> int:
    """From the maps that the convolution has just used."""
    if isinstance(module, SparseConvTranspose):
        return len(out.sites.kernel_map(x.sites, module.kernel_size).in_rows)
    if module.pointwise:
        return len(x.sites)
    return len(x.sites.kernel_map(out.sites, module.kernel_size).in_rows)


def dense_peak(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """GFLOP/s of the best of some products of large square matrices."""
    edge = _EDGE[device.type]
    a, b = torch.rand(2, edge, edge, device=device).to(dtype)
    best = float("inf")
    for _ in range(_ROUNDS):
        synchronise(device)
        started = time.perf_counter()
        torch.mm(a, b)
        synchronise(device)
        best = min(best, time.perf_counter() - started)
    return 2 * edge**3 / best / 1e9
