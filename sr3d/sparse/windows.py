"""Pools with wide kernels, as pairs of rows without kernel offsets.

A kernel map of 33³ cells has 35,937 offsets, nearly all of them empty where few cells are left.
Here each output cell is compared with each input cell of its scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sr3d.sparse.segments import segment_max, segment_mean, segment_sum

_COMPARISONS = 1 << 22  # of an output cell and an input cell at a time, which bounds the memory


@dataclass(frozen=True)
class Windows:
    """in_rows, out_rows: (P,) int64, output rows ascending, then input rows. n_out: output rows."""

    in_rows: Tensor
    out_rows: Tensor
    n_out: int

    def pool(self, x: Tensor, mode: Literal["max", "sum", "average"]) -> Tensor:
        """(n_in, C) to (n_out, C) over the cells of each window that exist."""
        reduce = {"max": segment_max, "sum": segment_sum, "average": segment_mean}[mode]
        return reduce(x.index_select(0, self.in_rows), self.out_rows, self.n_out)


def windows_of(
    inputs: Tensor,
    in_counts: Sequence[int],
    outputs: Tensor,
    out_counts: Sequence[int],
    reach: tuple[int, int],
) -> Windows:
    """The input cells in a cube at each output cell, of the same scene.

    inputs, outputs: (N, 4) and (M, 4) coordinates, scene by scene. counts: cells of each scene.
    reach: smallest and largest difference of coordinates within the cube.
    """
    low, high = reach
    in_rows, out_rows = [inputs.new_zeros(0).long()], [inputs.new_zeros(0).long()]
    first_in = first_out = 0
    for n, m in zip(in_counts, out_counts, strict=True):
        own = inputs[first_in : first_in + n, 1:]
        block = max(1, _COMPARISONS // max(1, n))
        for start in range(first_out, first_out + m, block):
            centres = outputs[start : min(start + block, first_out + m), 1:]
            apart = own[None] - centres[:, None]
            inside = ((apart >= low) & (apart <= high)).all(dim=2)
            out, row = inside.nonzero().unbind(dim=1)
            in_rows.append(row + first_in)
            out_rows.append(out + start)
        first_in, first_out = first_in + n, first_out + m
    return Windows(torch.cat(in_rows), torch.cat(out_rows), len(outputs))
