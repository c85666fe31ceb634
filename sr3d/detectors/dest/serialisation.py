"""The orders in which layers scan the seeds: along Hilbert curves with other axes first.

Source: OpenSpaceAI/DEST3D (models/dest_module.py). Its table of the curve is not published. The
curve here is that of Skilling (AIP Conf. Proc. 707, 2004), as in gwenzhang/Voxel-Mamba, from which
the table's name and indexing come.
"""

from __future__ import annotations

import torch
from torch import Tensor

CELL = 0.02  # metres
BITS = 9  # of a coordinate. Seeds beyond 512 cells are in the last one
_X, _Y, _Z = range(3)
# The axes of each layer's curve, the slowest last. After twelve layers they begin again.
_AXES = (
    (_Z, _Y, _X), (_Z, _X, _Y), (_X, _Z, _Y), (_X, _Y, _Z), (_Y, _X, _Z), (_Y, _Z, _X),
)  # fmt: skip


def scan_order(seeds: Tensor, layer: int) -> Tensor:
    """(B, S) int64: which seed comes at each place of the scan in a layer. seeds: (B, S, 3).

    Seeds in one cell keep their order.
    """
    low = seeds.amin(dim=1, keepdim=True)
    cells = ((seeds - low) / CELL).long().clamp(max=2**BITS - 1)
    slowest_first = [*reversed(_AXES[layer % len(_AXES)])]
    return hilbert_index(cells[..., slowest_first]).argsort(dim=1, stable=True)


def hilbert_index(cells: Tensor, bits: int = BITS) -> Tensor:
    """(…) int64: places of cells (…, 3) along the Hilbert curve through a cube of 2^bits cells.

    Neighbours along the curve share a face. The first axis is the slowest.
    """
    x, y, z = cells.long().unbind(dim=-1)
    for bit in reversed(range(1, bits)):
        low = (1 << bit) - 1
        x = x ^ torch.where(_has(x, bit), low, 0)
        x, y = _turned(x, y, bit, low)
        x, z = _turned(x, z, bit, low)
    y = y ^ x
    z = z ^ y
    flips = torch.zeros_like(z)
    for bit in range(1, bits):
        flips ^= torch.where(_has(z, bit), (1 << bit) - 1, 0)
    index = torch.zeros_like(z)
    for bit in reversed(range(bits)):
        for axis in (x, y, z):
            index = 2 * index + (((axis ^ flips) >> bit) & 1)
    return index


def _turned(first: Tensor, other: Tensor, bit: int, low: int) -> tuple[Tensor, Tensor]:
    """The bits below `bit`: inverted in `first` if `other` has this bit, else exchanged."""
    inverted = _has(other, bit)
    exchanged = torch.where(inverted, 0, (first ^ other) & low)
    return first ^ torch.where(inverted, low, exchanged), other ^ exchanged


def _has(value: Tensor, bit: int) -> Tensor:
    return (value >> bit) & 1 == 1
