"""MinkowskiEngine's rules as slow loops over dictionaries of cells: these tests' reference."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

Cell = tuple[int, int, int, int]


def random_coords(n: int, scenes: int, low: int, high: int, seed: int, stride: int = 1) -> Tensor:
    """Up to n distinct (batch, x, y, z) cells, multiples of the stride, in random order."""
    g = torch.Generator().manual_seed(seed)
    xyz = torch.randint(low, high, (n, 3), generator=g) * stride
    coords = torch.cat([torch.randint(scenes, (n, 1), generator=g), xyz], dim=1).unique(dim=0)
    return coords[torch.randperm(len(coords), generator=g)].int()


def cells(coords: Tensor) -> list[Cell]:
    return [tuple(c) for c in coords.tolist()]  # type: ignore[misc]


def offsets(kernel: int) -> list[tuple[int, int, int]]:
    """Kernel index to offset: x fastest; -1, 0, 1 for 3, 0, 1 for 2."""
    axis = range(-(kernel // 2), kernel // 2 + 1) if kernel % 2 else range(kernel)
    return [(x, y, z) for z, y, x in itertools.product(axis, repeat=3)]


def moved(cell: Cell, offset: tuple[int, int, int], scale: int) -> Cell:
    return (cell[0], *(c + o * scale for c, o in zip(cell[1:], offset, strict=True)))  # type: ignore[return-value]


def strided(coords: Tensor, stride: int) -> set[Cell]:
    return {(b, *(c // stride * stride for c in xyz)) for b, *xyz in cells(coords)}  # type: ignore[misc]


def conv(
    inputs: list[Cell], x: Tensor, outputs: list[Cell], weight: Tensor, kernel: int, in_stride: int
) -> Tensor:
    row = {cell: i for i, cell in enumerate(inputs)}
    result = []
    for out in outputs:
        total = x.new_zeros(weight.shape[2])
        for k, offset in enumerate(offsets(kernel)):
            i = row.get(moved(out, offset, in_stride))
            if i is not None:
                total = total + x[i] @ weight[k]
        result.append(total)
    return torch.stack(result)


def conv_transpose(
    inputs: list[Cell], x: Tensor, outputs: list[Cell], weight: Tensor, kernel: int, out_stride: int
) -> Tensor:
    row = {cell: i for i, cell in enumerate(outputs)}
    result = x.new_zeros(len(outputs), weight.shape[2])
    for i, cell in enumerate(inputs):
        for k, offset in enumerate(offsets(kernel)):
            o = row.get(moved(cell, offset, out_stride))
            if o is not None:
                result[o] = result[o] + x[i] @ weight[k]
    return result
