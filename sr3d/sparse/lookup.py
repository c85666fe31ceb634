"""From integer coordinates to rows, by a direct-address table or by search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from sr3d.errors import InputError, Kind

# Up to this many cells per site, a table is faster to fill than a search is to run (on a CPU, over
# the levels of a real scan). The second bound limits it to 256 MiB of int32.
_CELLS_PER_SITE = 400
_MAX_CELLS = 1 << 26


Cell = tuple[int, int, int]
Bounds = tuple[Cell, Cell]  # lowest and highest coordinates


def joined(a: Bounds, b: Bounds) -> Bounds:
    """The smallest bounds that include both."""
    return cell(map(min, a[0], b[0])), cell(map(max, a[1], b[1]))


def cell(values: Iterable[int]) -> Cell:
    """Three numbers, x, y and z."""
    x, y, z = values
    return x, y, z


class CellNumbering:
    """Numbers the cells of a box, padded by `reach`, in the order (batch, x, y, z).

    A move by (dx, dy, dz) cells, each at most `reach`, adds a constant to a cell's number. Thanks
    to the padding it never leaves the box or wraps into another row.
    Raises:
        InputError: more cells than an int64 can number, or coordinates beyond int32.
    """

    def __init__(self, bounds: Bounds, batch_size: int, stride: int, reach: int) -> None:
        self.stride = stride
        self.batch_size = batch_size
        low, high = ([n // stride for n in corner] for corner in bounds)
        self.low = [n - reach for n in low]
        self.extent = [b - a + 1 + 2 * reach for a, b in zip(low, high, strict=True)]
        x, y, z = self.extent
        self.weights = (x * y * z, y * z, z, 1)
        self.cells = batch_size * x * y * z
        if self.cells >= 1 << 63 or max(map(abs, (*bounds[0], *bounds[1]))) >= 1 << 31:
            raise InputError(
                f"the points span {x:,} × {y:,} × {z:,} voxels, more than can be numbered",
                field="points",
                kind=Kind.VALUE,
                remedy="Remove stray points, or give metres.",
            )

    def number(self, coords: Tensor) -> Tensor:
        """(N, 4) coordinates, multiples of the stride, to (N,) int64."""
        cells = torch.div(coords[:, 1:], self.stride, rounding_mode="floor").long()
        scenes, wx, wy, _ = self.weights
        x, y, z = cells.unbind(dim=1)
        # Plain numbers, not a tensor: copying a tensor to a GPU would be a sync.
        return coords[:, 0].long() * scenes + x * wx + y * wy + z - self.shift(self.low)

    def shift(self, offset: Sequence[int]) -> int:
        """The change of a number when its cell moves by whole cells."""
        (x, y, z), (_, wx, wy, wz) = offset, self.weights
        return x * wx + y * wy + z * wz

    def coords(self, numbers: Tensor) -> Tensor:
        """The inverse of `number`: (N, 4) int32."""
        columns, rest = [], numbers
        for weight in self.weights:
            columns.append(torch.div(rest, weight, rounding_mode="floor"))
            rest = rest - columns[-1] * weight
        scene, *xyz = columns
        xyz = [(c + low) * self.stride for c, low in zip(xyz, self.low, strict=True)]
        return torch.stack([scene, *xyz], dim=1).to(torch.int32)

    @property
    def bounds(self) -> Bounds:
        """Lowest and highest coordinates that the box holds."""
        last = (low + n - 1 for low, n in zip(self.low, self.extent, strict=True))
        return cell(n * self.stride for n in self.low), cell(n * self.stride for n in last)

    def affordable(self, sites: int) -> bool:
        """Whether a table over the whole box is worth its memory for this many sites."""
        return self.cells <= min(_MAX_CELLS, _CELLS_PER_SITE * sites + (1 << 16))


class RowLookup:
    """Rows of sites by cell number. `numbers` must ascend strictly."""

    def __init__(self, frame: CellNumbering, numbers: Tensor) -> None:
        self._numbers = numbers
        self._table: Tensor | None = None
        if frame.affordable(len(numbers)):
            self._table = torch.full((frame.cells,), -1, dtype=torch.int32, device=numbers.device)
            self._table[numbers] = torch.arange(
                len(numbers), dtype=torch.int32, device=numbers.device
            )

    def find(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """The queries that hit, and the rows they hit: two int64 vectors of equal length."""
        rows = self.rows(queries)
        hit = (rows >= 0).nonzero().squeeze(1)
        return hit, rows.index_select(0, hit).long()

    def rows(self, queries: Tensor) -> Tensor:
        """The row of each query, int32, -1 for none. Without sync."""
        if self._table is not None:
            return self._table.index_select(0, queries.flatten()).view_as(queries)
        rows = torch.searchsorted(self._numbers, queries).clamp_(max=len(self._numbers) - 1)
        return rows.where(self._numbers[rows] == queries, -1).to(torch.int32)


def unique_numbers(frame: CellNumbering, numbers: list[Tensor]) -> Tensor:
    """Ascending distinct cell numbers of several vectors."""
    if frame.affordable(sum(len(n) for n in numbers)):
        mark = torch.zeros(frame.cells, dtype=torch.bool, device=numbers[0].device)
        for some in numbers:
            mark.index_fill_(0, some, True)
        return mark.nonzero().squeeze(1)
    return torch.unique(torch.cat(numbers))
