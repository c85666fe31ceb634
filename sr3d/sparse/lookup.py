"""From integer coordinates to rows: a direct-address table where the box allows, else a search."""

from __future__ import annotations

import torch
from torch import Tensor

# A table of up to so many cells per site is faster to fill than a search is to run (on a CPU, over
# the levels of a real scan), and the second bound keeps it below 256 MiB of int32.
_CELLS_PER_SITE = 400
_MAX_CELLS = 1 << 26


class Frame:
    """A box of cells, padded by `reach`, that numbers them so that order is (batch, x, y, z).

    Because of the padding, moving by (dx, dy, dz) cells, each at most `reach`, adds a constant to a
    cell's number and never leaves the box or wraps into another row.
    """

    def __init__(self, low: Tensor, high: Tensor, batch_size: int, stride: int, reach: int) -> None:
        self.stride = stride
        self.batch_size = batch_size
        self.low = torch.div(low, stride, rounding_mode="floor") - reach
        self.extent = torch.div(high, stride, rounding_mode="floor") + reach + 1 - self.low
        x, y, z = self.extent.tolist()
        self.weights = (x * y * z, y * z, z, 1)
        self.cells = batch_size * x * y * z

    def number(self, coords: Tensor) -> Tensor:
        """(N, 4) coordinates, multiples of the stride, to (N,) int64."""
        batch, cell = coords[:, 0], torch.div(coords[:, 1:], self.stride, rounding_mode="floor")
        cell = (cell - self.low).long()
        _, wx, wy, wz = self.weights
        return batch.long() * self.weights[0] + cell[:, 0] * wx + cell[:, 1] * wy + cell[:, 2] * wz

    def shift(self, offset: tuple[int, int, int]) -> int:
        """What moving by whole cells adds to a number."""
        return sum(o * w for o, w in zip(offset, self.weights[1:], strict=True))

    def coords(self, numbers: Tensor) -> Tensor:
        """The inverse of `number`: (N, 4) int32."""
        columns, rest = [], numbers
        for weight in self.weights:
            columns.append(torch.div(rest, weight, rounding_mode="floor"))
            rest = rest - columns[-1] * weight
        coords = torch.stack(columns, dim=1).to(torch.int32)
        coords[:, 1:] = (coords[:, 1:] + self.low) * self.stride
        return coords

    def affordable(self, sites: int) -> bool:
        """Whether a table over the whole box is worth its memory for so many sites."""
        return self.cells <= min(_MAX_CELLS, _CELLS_PER_SITE * sites + (1 << 16))


class RowLookup:
    """Rows of sites by cell number. `numbers` must ascend strictly."""

    def __init__(self, frame: Frame, numbers: Tensor) -> None:
        self._numbers = numbers
        self._table: Tensor | None = None
        if frame.affordable(len(numbers)):
            self._table = torch.full((frame.cells,), -1, dtype=torch.int32, device=numbers.device)
            self._table[numbers] = torch.arange(
                len(numbers), dtype=torch.int32, device=numbers.device
            )

    def find(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Which queries hit, and the rows they hit: two int64 vectors of equal length."""
        if self._table is not None:
            rows = self._table[queries]
            hit = (rows >= 0).nonzero().squeeze(1)
            return hit, rows[hit].long()
        rows = torch.searchsorted(self._numbers, queries).clamp_(max=len(self._numbers) - 1)
        hit = (self._numbers[rows] == queries).nonzero().squeeze(1)
        return hit, rows[hit]


def unique_numbers(frame: Frame, numbers: list[Tensor]) -> Tensor:
    """Ascending distinct cell numbers of several vectors."""
    if frame.affordable(sum(len(n) for n in numbers)):
        mark = torch.zeros(frame.cells, dtype=torch.bool, device=numbers[0].device)
        for some in numbers:
            mark[some] = True
        return mark.nonzero().squeeze(1)
    return torch.unique(torch.cat(numbers))
