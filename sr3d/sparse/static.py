"""Sites of fixed capacity on one scene: every shape is known before the data are.

A CUDA graph replays launches, so nothing may depend on how many cells a scene has. Here a set of
cells is a vector of a fixed length whose first `count` entries are real; the count stays on the
device, and what does not fit is only noted (`overflow`), for the caller to fall back on `Sites`.
Same cells, same order and same neighbours as `Sites`; nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from sr3d.sparse.sites import corner_weight, kernel_offsets

T = TypeVar("T")

# Tables up to so many cells are addressed directly; larger boxes are searched.
_TABLE_CELLS = 1 << 24


@dataclass(frozen=True)
class Grid:
    """The box that a scene must fit in, in cells of stride 1, and its coarsest stride.

    It includes a margin of one coarsest cell on every side, so that a step of one cell at any
    stride, or two after a generative layer, never leaves it or wraps into another row.
    """

    extent: tuple[int, int, int]
    coarsest: int

    @staticmethod
    def holding(cells: tuple[int, int, int], coarsest: int) -> Grid:
        """The least grid for a scene of up to so many cells along x, y and z, wherever it lies."""
        x, y, z = (coarsest * (-(-n // coarsest) + 3) for n in cells)
        return Grid((x, y, z), coarsest)

    def shape(self, stride: int) -> tuple[int, int, int]:
        x, y, z = self.extent
        return x // stride, y // stride, z // stride

    def cells(self, stride: int) -> int:
        x, y, z = self.shape(stride)
        return x * y * z

    def number(self, coords: Tensor, stride: int) -> Tensor:
        """(N, 3) coordinates, counted from the grid's corner, to (N,) int64 in order (x, y, z)."""
        _, ny, nz = self.shape(stride)
        x, y, z = torch.div(coords, stride, rounding_mode="floor").long().unbind(dim=1)
        return (x * ny + y) * nz + z

    def shift(self, offset: tuple[int, int, int], stride: int) -> int:
        """What moving by whole cells adds to a number."""
        _, ny, nz = self.shape(stride)
        x, y, z = offset
        return (x * ny + y) * nz + z

    def coords(self, numbers: Tensor, stride: int) -> Tensor:
        """The inverse of `number`: (N, 3) int32."""
        _, ny, nz = self.shape(stride)
        xy = torch.div(numbers, nz, rounding_mode="floor")
        x = torch.div(xy, ny, rounding_mode="floor")
        return (torch.stack([x, xy - x * ny, numbers - xy * nz], dim=1) * stride).to(torch.int32)

    def corner(self, coords: Tensor, valid: Tensor) -> Tensor:
        """Where to lay the grid's corner over (N, 3) coordinates of which some are valid: (3,)."""
        top = torch.iinfo(coords.dtype).max
        low = coords.masked_fill(~valid[:, None], top).amin(dim=0)
        low = torch.where(low == top, torch.zeros_like(low), low)
        coarsest = self.coarsest
        return (torch.div(low, coarsest, rounding_mode="floor") - 1) * coarsest

    def inside(self, coords: Tensor) -> Tensor:
        """Which coordinates, counted from the corner, keep the margin: (N,) bool."""
        within = torch.ones_like(coords[:, 0], dtype=torch.bool)
        for column, cells in zip(coords.unbind(dim=1), self.extent, strict=True):
            within &= (column >= self.coarsest) & (column < cells - self.coarsest)
        return within


class NeighborTable:
    """A map of fixed shapes, in place of a `KernelMap` where no gradient is asked for.

    table: (capacity, K) int32 input rows, -1 for none. n_in: capacity of the input. A row that is
    not real has no neighbours.
    """

    def __init__(self, table: Tensor, n_in: int) -> None:
        self.table, self.n_in = table, n_in
        self.n_out, self.volume = table.shape
        self._derived: dict[Hashable, Any] = {}

    @property
    def neighbors(self) -> Tensor:
        """(n_out, K) int64; a missing neighbour is n_in, one past the last row."""
        return self.table.long().where(self.table >= 0, self.n_in)

    def offsets(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """As `KernelMap.offsets`; waits for the device."""
        for k, rows in enumerate(self.table.t()):
            out_rows = (rows >= 0).nonzero().squeeze(1)
            yield k, rows[out_rows].long(), out_rows

    def cached(self, key: Hashable, build: Callable[[], T]) -> T:
        """As `KernelMap.cached`."""
        if key not in self._derived:
            self._derived[key] = build()
        result: T = self._derived[key]
        return result


class StaticSites:
    """Distinct cells of one scene in ascending order, padded to a capacity.

    numbers: (capacity,) int64 of `grid.number`; `grid.cells(stride)` where there is no cell.
    count: () int64. overflow: () bool, whether a cell was left out here or on the way here.
    """

    def __init__(
        self, numbers: Tensor, count: Tensor, overflow: Tensor, stride: int, grid: Grid
    ) -> None:
        self.numbers, self.count, self.overflow = numbers, count, overflow
        self.stride, self.grid = stride, grid
        self._rows: Tensor | None = None

    @staticmethod
    def unique(
        coords: Tensor, valid: Tensor, stride: int, grid: Grid, capacity: int
    ) -> tuple[StaticSites, Tensor]:
        """Sites of (N, 3) coordinates with repetitions, and the first row of each, (capacity,).

        The row is N for padding. Invalid rows count for nothing.
        """
        within = valid & grid.inside(coords)
        none = grid.cells(stride)
        numbers = grid.number(coords, stride).masked_fill(~within, none)
        overflow = (valid & ~within).any()
        numbers, order = torch.sort(numbers, stable=True)
        new = numbers < none
        new[1:] &= numbers[1:] != numbers[:-1]
        sites = _packed(numbers, new, overflow, stride, grid, capacity)
        first = _pack(order, new, capacity, len(coords))
        return sites, first

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def valid(self) -> Tensor:
        """(capacity,) bool."""
        return torch.arange(len(self), device=self.numbers.device) < self.count

    @property
    def coords(self) -> Tensor:
        """(capacity, 3) int32, counted from the grid's corner; padding lies out of the grid."""
        return self.grid.coords(self.numbers, self.stride)

    def strided(self, factor: int, capacity: int) -> StaticSites:
        """The coarser cells that hold a site, as `Sites.strided`."""
        stride = self.stride * factor
        none = self.grid.cells(stride)
        numbers = self.grid.number(self.coords, stride).masked_fill(~self.valid, none)
        return _distinct(numbers, self.overflow, stride, self.grid, capacity)

    def generated(self, kernel: int, factor: int, capacity: int) -> StaticSites:
        """The finer cells that a generative convolution reaches, as `Sites.generated`."""
        stride = self.stride // factor
        steps = self._offsets(kernel, stride)
        reached = (self.coords[:, None] + steps).reshape(-1, 3)
        hidden = ~self.valid.repeat_interleave(len(steps), dim=0, output_size=len(reached))
        numbers = self.grid.number(reached, stride).masked_fill(hidden, self.grid.cells(stride))
        return _distinct(numbers, self.overflow, stride, self.grid, capacity)

    def union(self, other: StaticSites, capacity: int) -> StaticSites:
        """Cells of either."""
        numbers = torch.cat([self.numbers, other.numbers])
        overflow = self.overflow | other.overflow
        return _distinct(numbers, overflow, self.stride, self.grid, capacity)

    def rows_of(self, other: StaticSites) -> Tensor:
        """(len(other),) int64: this row of each of the other's cells, -1 where it has none."""
        return self._find(other.numbers)

    def best(self, scores: Tensor, most: int) -> tuple[StaticSites, Tensor]:
        """The `most` cells with the highest scores (capacity,), the earlier of equals, and their
        rows here, -1 for padding.
        """
        most = min(most, len(self))
        scores = scores.masked_fill(~self.valid, -torch.inf)
        first = torch.sort(scores, descending=True, stable=True).indices[:most]
        keep = torch.zeros_like(self.valid).scatter_(0, first, True) & self.valid
        sites = _packed(self.numbers, keep, self.overflow, self.stride, self.grid, most)
        every = torch.arange(len(self), device=scores.device)
        return sites, _pack(every, keep, most, -1)

    def interpolated(self, values: Tensor, out: StaticSites) -> Tensor:
        """(len(out),) values (capacity,) of these cells at finer ones, as `interpolate`."""
        share = (out.coords % self.stride).to(values.dtype) / self.stride
        padded = torch.cat([values, values.new_zeros(1)])
        corner = self.grid.number(out.coords, self.stride)  # of the cell that holds the other one
        none = self.grid.cells(self.stride)
        result = values.new_zeros(len(out))
        for offset in kernel_offsets(2):
            near = corner + self.grid.shift(offset, self.stride)
            rows = self._find(near.masked_fill(~out.valid, none))
            result = result + corner_weight(share, offset) * padded[rows]
        return result

    def table(self, out: StaticSites, kernel: int) -> NeighborTable:
        """Neighbours in these sites of a convolution onto `out`, as `Sites.kernel_map`."""
        near = out.coords[:, None] + self._offsets(kernel, self.stride)
        return self._table(out, near.reshape(-1, 3), kernel)

    def transposed_table(self, out: StaticSites, kernel: int) -> NeighborTable:
        """Neighbours in these, coarser sites of a transposed convolution onto `out`."""
        near = (out.coords[:, None] - self._offsets(kernel, out.stride)).reshape(-1, 3)
        return self._table(out, near, kernel, on_lattice=(near % self.stride == 0).all(dim=1))

    def _table(
        self, out: StaticSites, near: Tensor, kernel: int, on_lattice: Tensor | None = None
    ) -> NeighborTable:
        volume = kernel**3
        real = out.valid.repeat_interleave(volume, dim=0, output_size=len(near))
        if on_lattice is not None:
            real = real & on_lattice
        none = self.grid.cells(self.stride)
        rows = self._find(self.grid.number(near, self.stride).masked_fill(~real, none))
        return NeighborTable(rows.view(len(out), volume).to(torch.int32), len(self))

    def _offsets(self, kernel: int, step: int) -> Tensor:
        # What an export traces is no tensor, and must not be kept.
        offsets = _offsets_on.__wrapped__ if torch.compiler.is_exporting() else _offsets_on
        return offsets(self.numbers.device, kernel) * step

    def _find(self, numbers: Tensor) -> Tensor:
        """Rows of cell numbers, -1 where there is none; the number of padding is none."""
        none = self.grid.cells(self.stride)
        if none <= _TABLE_CELLS:
            if self._rows is None:
                rows = torch.arange(len(self), device=numbers.device)
                # Padding goes to a spare cell of its own, so that no place is written twice.
                cells = self.numbers.where(self.valid, none + 1 + rows)
                self._rows = numbers.new_full((none + 1 + len(self),), -1)
                self._rows.scatter_(0, cells, rows.where(self.valid, -1))
            return self._rows[numbers]
        rows = torch.searchsorted(self.numbers, numbers).clamp_(max=len(self) - 1)
        return rows.where((self.numbers[rows] == numbers) & (numbers < none), -1)


@cache
def _offsets_on(device: torch.device, kernel: int) -> Tensor:
    """(K, 3) int32. Copied there once, before anything is recorded: a graph takes no copy."""
    return torch.tensor(kernel_offsets(kernel), dtype=torch.int32, device=device)


def _distinct(
    numbers: Tensor, overflow: Tensor, stride: int, grid: Grid, capacity: int
) -> StaticSites:
    """Sites of cell numbers with repetitions."""
    none = grid.cells(stride)
    if none <= _TABLE_CELLS:
        mark = torch.zeros(none + 1, dtype=torch.bool, device=numbers.device)
        mark.scatter_(0, numbers, True)
        mark[none] = False
        every = torch.arange(none + 1, device=numbers.device)
        return _packed(every, mark, overflow, stride, grid, capacity)
    numbers = torch.sort(numbers).values
    new = numbers < none
    new[1:] &= numbers[1:] != numbers[:-1]
    return _packed(numbers, new, overflow, stride, grid, capacity)


def _packed(
    numbers: Tensor, keep: Tensor, overflow: Tensor, stride: int, grid: Grid, capacity: int
) -> StaticSites:
    total = keep.sum()
    packed = _pack(numbers, keep, capacity, grid.cells(stride))
    return StaticSites(
        packed, total.clamp(max=capacity), overflow | (total > capacity), stride, grid
    )


def _pack(values: Tensor, keep: Tensor, capacity: int, fill: int) -> Tensor:
    """The values to keep, in order, then `fill`: (capacity,)."""
    wanted = torch.arange(1, capacity + 1, device=values.device)
    rows = torch.searchsorted(keep.cumsum(dim=0), wanted)  # past the end where none is left
    return values[rows.clamp(max=len(values) - 1)].where(rows < len(values), fill)
