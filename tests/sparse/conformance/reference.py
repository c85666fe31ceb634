"""What each layer is, cell by cell: slow, literal, differentiable, and without any engine."""

from __future__ import annotations

import torch
from torch import Tensor

from sr3d.sparse.nn import SparseConv, SparseConvTranspose, SparseInstanceNorm, SparsePool
from tests.sparse.brute_force import Cell, conv, conv_transpose, moved, offsets

Rows = dict[Cell, Tensor]  # features of each cell


def convolved(layer: SparseConv, x: Rows, stride: int) -> Rows:
    kernel = layer.kernel if layer.kernel.ndim == 3 else layer.kernel[None]
    outputs = coarser(x, stride * layer.stride)
    features, step = torch.stack(list(x.values())), stride * layer.dilation
    rows = conv(list(x), features, outputs, kernel, layer.kernel_size, step)
    return _with_bias(outputs, rows, layer.bias)


def transposed(layer: SparseConvTranspose, x: Rows, stride: int, outputs: list[Cell]) -> Rows:
    """stride: of the outputs."""
    features = torch.stack(list(x.values()))
    rows = conv_transpose(list(x), features, outputs, layer.kernel, layer.kernel_size, stride)
    return _with_bias(outputs, rows, layer.bias)


def pooled(layer: SparsePool, x: Rows, stride: int) -> Rows:
    result = {}
    for cell in coarser(x, stride * layer.stride):
        near = (moved(cell, offset, stride) for offset in offsets(layer.kernel_size))
        found = torch.stack([x[c] for c in near if c in x] or [0 * next(iter(x.values()))])
        result[cell] = {"max": found.amax(0), "sum": found.sum(0), "average": found.mean(0)}[
            layer.mode
        ]
    return result


def instance_normed(layer: SparseInstanceNorm, x: Rows) -> Rows:
    result = {}
    for scene in {cell[0] for cell in x}:
        own = {cell: row for cell, row in x.items() if cell[0] == scene}
        rows = torch.stack(list(own.values()))
        deviation = (rows.var(0, unbiased=False) + 1e-8).sqrt()
        for cell, row in own.items():
            result[cell] = (row - rows.mean(0)) / deviation * layer.weight[0] + layer.bias[0]
    return result


def added(x: Rows, y: Rows) -> Rows:
    return {
        cell: x[cell] + y[cell] if cell in x and cell in y else (x | y)[cell]
        for cell in x.keys() | y.keys()
    }


def interpolated(x: Rows, stride: int, at: list[Cell]) -> Rows:
    """Trilinear between the corners that exist; the others count as zero."""
    result = {}
    for cell in at:
        scene, *place = cell
        total = 0 * next(iter(x.values()))
        for offset in offsets(2):
            corner = [(p // stride + o) * stride for p, o in zip(place, offset, strict=True)]
            share = 1.0
            for p, c in zip(place, corner, strict=True):
                share *= 1 - abs(p - c) / stride
            total = total + share * x.get((scene, corner[0], corner[1], corner[2]), 0 * total)
        result[cell] = total
    return result


def coarser(cells: Rows | list[Cell], stride: int) -> list[Cell]:
    """floor(c / stride) · stride, each once."""
    found = {(b, *(c // stride * stride for c in xyz)) for b, *xyz in cells}
    return sorted(found)  # type: ignore[arg-type]


def finer(cells: Rows, kernel: int, stride: int) -> list[Cell]:
    """What a generative convolution reaches. stride: of the result."""
    return sorted({moved(cell, offset, stride) for cell in cells for offset in offsets(kernel)})


def _with_bias(cells: list[Cell], rows: Tensor, bias: Tensor | None) -> Rows:
    return dict(zip(cells, rows if bias is None else rows + bias, strict=True))
