"""Sites of one scene in static shapes: every shape is known before the data.

A CUDA graph replays launches, so no shape may depend on the number of cells. So a set of cells is
padded to its capacity: its first `count` rows are valid. The count stays on the device. If a cell
does not fit, `overflow` is set, and the caller uses `Sites`. Cells, order and neighbours equal
those of `Sites`. Nothing here needs a sync.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from sr3d.sparse.kernel_map import KernelMap
from sr3d.sparse.norms import masked_instance_norm
from sr3d.sparse.sites import Sites, corner_weight, kernel_offsets

# Up to this many cells, tables are addressed directly. Larger boxes are searched.
_TABLE_CELLS = 1 << 24


@dataclass(frozen=True)
class Grid:
    """The box that a scene must fit into, in cells of stride 1, and its coarsest stride.

    It includes a margin of one coarsest cell on every side. So a step of one cell at any stride, or
    of two after a generative layer, never leaves it or wraps into another row.
    """

    extent: tuple[int, int, int]
    coarsest: int

    @staticmethod
    def holding(cells: tuple[int, int, int], coarsest: int) -> Grid:
        """The smallest grid for scenes of up to this many cells along x, y and z, at any place."""
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
        """The change of a number when its cell moves by whole cells."""
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
        """The grid's corner for (N, 3) coordinates, of which some are valid: (3,)."""
        top = torch.iinfo(coords.dtype).max
        low = coords.masked_fill(~valid[:, None], top).amin(dim=0)
        low = torch.where(low == top, torch.zeros_like(low), low)
        coarsest = self.coarsest
        return (torch.div(low, coarsest, rounding_mode="floor") - 1) * coarsest

    def inside(self, coords: Tensor) -> Tensor:
        """(N,) bool: whether coordinates, counted from the corner, keep the margin."""
        within = torch.ones_like(coords[:, 0], dtype=torch.bool)
        for column, cells in zip(coords.unbind(dim=1), self.extent, strict=True):
            within &= (column >= self.coarsest) & (column < cells - self.coarsest)
        return within


class NeighborTable(KernelMap):
    """A map of static shapes, for inference. A padded row has no neighbours."""

    static = True

    def __init__(self, table: Tensor, n_in: int) -> None:
        n_out, volume = table.shape
        super().__init__(n_in, n_out, volume)
        self.table = table


class StaticSites(Sites):
    """Distinct cells of one scene in ascending order, padded to a capacity.

    numbers: (capacity,) int64 of `grid.number`, or `grid.cells(stride)` for padding. count: ()
    int64. overflow: () bool, whether a cell was dropped here or in a set that these sites derive
    from. capacities: of the sets requested from here on, in the order of `sites.recorded`. All
    derived sets share this list.
    """

    def __init__(
        self,
        numbers: Tensor,
        count: Tensor,
        overflow: Tensor,
        stride: int,
        grid: Grid,
        capacities: Iterator[int],
    ) -> None:
        super().__init__(numbers, stride, batch_size=1)
        self.numbers, self.count, self.overflow = numbers, count, overflow
        self.grid, self.capacities = grid, capacities
        self._rows: Tensor | None = None

    @classmethod
    def padded(
        cls, coords: Tensor, valid: Tensor, grid: Grid, capacities: Iterator[int]
    ) -> tuple[StaticSites, Tensor]:
        """Sites of stride 1 of (N, 3) coordinates with repetitions, and the first row of each site,
        (capacity,). They take the first capacity.

        The row is N for padding. Invalid rows are ignored.
        """
        within = valid & grid.inside(coords)
        none, capacity = grid.cells(1), next(capacities)
        numbers = grid.number(coords, 1).masked_fill(~within, none)
        overflow = (valid & ~within).any()
        numbers, order = torch.sort(numbers, stable=True)
        new = numbers < none
        new[1:] &= numbers[1:] != numbers[:-1]
        packed, count, over = _packed(numbers, new, capacity, none)
        sites = cls(packed, count, overflow | over, 1, grid, capacities)
        return sites, _pack(order, new, capacity, len(coords))

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def valid(self) -> Tensor:
        """(capacity,) bool."""
        return torch.arange(len(self), device=self.numbers.device) < self.count

    @property
    def coords(self) -> Tensor:
        """(capacity, 4) int32: batch index 0, and `places`."""
        places = self.places
        return torch.cat([torch.zeros_like(places[:, :1]), places], dim=1)

    @property
    def places(self) -> Tensor:
        """(capacity, 3) int32, counted from the grid's corner. Padding is outside the grid."""
        return self.grid.coords(self.numbers, self.stride)

    def pool_map(self, out: Sites, kernel: int) -> KernelMap:
        return self.kernel_map(out, kernel)

    def transposed_map(self, out: Sites, kernel: int) -> KernelMap:
        out = _static(out)
        near = (out.places[:, None] - self._offsets(kernel, out.stride)).reshape(-1, 3)
        return self._table(out, near, kernel, on_lattice=(near % self.stride == 0).all(dim=1))

    def added(self, features: Tensor, other: Sites, others: Tensor) -> tuple[Tensor, Sites]:
        union, mine, theirs = self.union(other)
        return _rows_of(features, mine) + _rows_of(others, theirs), union

    def within(self, most: int) -> bool:
        return len(self) <= most

    def best(self, features: Tensor, scores: Tensor, most: int) -> tuple[Tensor, Sites]:
        most = min(most, len(self))
        scores = scores.masked_fill(~self.valid, -torch.inf)
        first = torch.sort(scores, descending=True, stable=True).indices[:most]
        keep = torch.zeros_like(self.valid).scatter_(0, first, True) & self.valid
        sites = self._like(_packed(self.numbers, keep, most, self.grid.cells(self.stride)))
        rows = _pack(torch.arange(len(self), device=scores.device), keep, most, -1)
        return _rows_of(features, rows), sites

    def normed(self, features: Tensor) -> Tensor:
        return masked_instance_norm(features, self.valid)

    def interpolated(self, features: Tensor, out: Sites) -> Tensor:
        out = _static(out)
        places = out.places
        share = (places % self.stride).to(features.dtype) / self.stride
        corner = self.grid.number(places, self.stride)  # of the cell of the other site
        none = self.grid.cells(self.stride)
        padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
        result = features.new_zeros(len(out), features.shape[1])
        for offset in kernel_offsets(2):
            near = corner + self.grid.shift(offset, self.stride)
            rows = self._find(near.masked_fill(~out.valid, none))
            result = result + corner_weight(share, offset)[:, None] * padded[rows]
        return result

    def _next_capacity(self) -> int:
        return next(self.capacities)

    def _build_strided(self, factor: int, capacity: int) -> Sites:
        stride = self.stride * factor
        none = self.grid.cells(stride)
        numbers = self.grid.number(self.places, stride).masked_fill(~self.valid, none)
        return self._like(_distinct(numbers, none, capacity), stride)

    def _build_generated(self, kernel: int, factor: int, capacity: int) -> Sites:
        stride = self.stride // factor
        none, steps = self.grid.cells(stride), self._offsets(kernel, stride)
        reached = (self.places[:, None] + steps).reshape(-1, 3)
        hidden = ~self.valid.repeat_interleave(len(steps), dim=0, output_size=len(reached))
        numbers = self.grid.number(reached, stride).masked_fill(hidden, none)
        return self._like(_distinct(numbers, none, capacity), stride)

    def _build_union(self, other: Sites, capacity: int) -> tuple[Sites, Tensor, Tensor]:
        """The union, and the row of each of its cells in both sets, -1 for none."""
        other = _static(other)
        numbers = torch.cat([self.numbers, other.numbers])
        union = self._like(_distinct(numbers, self.grid.cells(self.stride), capacity))
        union.overflow = union.overflow | other.overflow
        return union, self._find(union.numbers), other._find(union.numbers)

    def _build_map(self, out: Sites, kernel: int) -> KernelMap:
        out = _static(out)
        near = out.places[:, None] + self._offsets(kernel, self.stride)
        return self._table(out, near.reshape(-1, 3), kernel)

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

    def _like(
        self, packed: tuple[Tensor, Tensor, Tensor], stride: int | None = None
    ) -> StaticSites:
        """Derived sites, of `_packed` numbers."""
        numbers, count, over = packed
        overflow = self.overflow | over
        stride = stride or self.stride
        return StaticSites(numbers, count, overflow, stride, self.grid, self.capacities)

    def _offsets(self, kernel: int, step: int) -> Tensor:
        # A tracer of an export is not a tensor and must not be cached.
        offsets = _offsets_on.__wrapped__ if torch.compiler.is_exporting() else _offsets_on
        return offsets(self.numbers.device, kernel) * step

    def _find(self, numbers: Tensor) -> Tensor:
        """Rows of cell numbers, -1 for none. The number of padding has no row."""
        none = self.grid.cells(self.stride)
        if none <= _TABLE_CELLS:
            if self._rows is None:
                rows = torch.arange(len(self), device=numbers.device)
                # Padding writes to a separate spare cell, so no place is written twice.
                cells = self.numbers.where(self.valid, none + 1 + rows)
                self._rows = numbers.new_full((none + 1 + len(self),), -1)
                self._rows.scatter_(0, cells, rows.where(self.valid, -1))
            return self._rows[numbers]
        rows = torch.searchsorted(self.numbers, numbers).clamp_(max=len(self) - 1)
        return rows.where((self.numbers[rows] == numbers) & (numbers < none), -1)


@cache
def _offsets_on(device: torch.device, kernel: int) -> Tensor:
    """(K, 3) int32. Copied once, before any recording, because a graph must not copy it."""
    return torch.tensor(kernel_offsets(kernel), dtype=torch.int32, device=device)


def _static(sites: Sites) -> StaticSites:
    assert isinstance(sites, StaticSites), "sites of static and of dynamic shapes are mixed"
    return sites


def _rows_of(x: Tensor, rows: Tensor) -> Tensor:
    """Rows of x. The row -1 is zero."""
    return torch.cat([x, x.new_zeros(1, x.shape[1])])[rows]


def _distinct(numbers: Tensor, none: int, capacity: int) -> tuple[Tensor, Tensor, Tensor]:
    """`_packed` cell numbers without repetitions. `none` is the number of padding."""
    if none <= _TABLE_CELLS:
        mark = torch.zeros(none + 1, dtype=torch.bool, device=numbers.device)
        mark.scatter_(0, numbers, True)
        mark[none] = False
        return _packed(torch.arange(none + 1, device=numbers.device), mark, capacity, none)
    numbers = torch.sort(numbers).values
    new = numbers < none
    new[1:] &= numbers[1:] != numbers[:-1]
    return _packed(numbers, new, capacity, none)


def _packed(
    numbers: Tensor, keep: Tensor, capacity: int, none: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The numbers to keep, padded with `none`, their count, and whether one was dropped."""
    total = keep.sum()
    return _pack(numbers, keep, capacity, none), total.clamp(max=capacity), total > capacity


def _pack(values: Tensor, keep: Tensor, capacity: int, fill: int) -> Tensor:
    """The values to keep, in order, padded with `fill`: (capacity,)."""
    wanted = torch.arange(1, capacity + 1, device=values.device)
    rows = torch.searchsorted(keep.cumsum(dim=0), wanted)  # past the end for padding
    return values[rows.clamp(max=len(values) - 1)].where(rows < len(values), fill)
