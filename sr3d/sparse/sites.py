"""Occupied cells of a batch of scenes, and the sets of cells that layers derive from them.

Every derived set and map is built once and cached on its source. Layers that share a tensor's sites
share its maps, and the cache is freed with the tensors.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from sr3d.sparse.kernel_map import KernelMap, Pairs
from sr3d.sparse.lookup import Bounds, CellNumbering, RowLookup, cell, joined, unique_numbers
from sr3d.sparse.norms import instance_norm
from sr3d.sparse.windows import Windows, windows_of

_WIDE = 3  # widest kernel of a pool that is made as a kernel map

_requests: ContextVar[list[Sites] | None] = ContextVar("requests", default=None)


@contextmanager
def recorded() -> Iterator[list[Sites]]:
    """The sets of cells requested within the block, one entry per request.

    A set that is requested twice is listed twice. So the order depends only on the network, not on
    sets that are equal by chance in a scene.
    """
    requests: list[Sites] = []
    token = _requests.set(requests)
    try:
        yield requests
    finally:
        _requests.reset(token)


def kernel_offsets(kernel: int) -> list[tuple[int, int, int]]:
    """Offsets of a cubic kernel in cells, x fastest: centred if odd, from 0 up if even.

    Source: MinkowskiEngine src/kernel_region.hpp.
    """
    return [(x, y, z) for z, y, x in itertools.product(_axis_offsets(kernel), repeat=3)]


def _axis_offsets(kernel: int) -> range:
    start = -(kernel // 2) if kernel % 2 else 0
    return range(start, start + kernel)


def corner_weight(share: Tensor, offset: tuple[int, int, int]) -> Tensor:
    """(N,) trilinear weights of one corner of the cells of N points.

    offset: the corner, as zeros and ones. share: (N, 3) position of a point in its cell, in [0, 1).
    """
    parts = [share[:, axis] if up else 1 - share[:, axis] for axis, up in enumerate(offset)]
    return torch.stack(parts, dim=1).prod(dim=1)


class Sites:
    """Distinct cells, ordered by (batch, x, y, z). `MinkowskiSites` have another order.

    bounds: lowest and highest coordinates, if known. Derived sites inherit them, so a GPU needs
    only one sync for them. counts: number of sites of each scene, if known.
    """

    def __init__(
        self,
        coords: Tensor,
        stride: int,
        batch_size: int,
        bounds: Bounds | None = None,
        counts: list[int] | None = None,
    ) -> None:
        self._coords = coords
        self._bounds, self._counts = bounds, counts
        self.stride = stride
        self.batch_size = batch_size
        self._strided: dict[int, Sites] = {}
        self._generated: dict[tuple[int, int], Sites] = {}
        self._unions: WeakKeyDictionary[Sites, tuple[Sites, Tensor, Tensor]] = WeakKeyDictionary()
        self._maps: WeakKeyDictionary[Sites, dict[tuple[int, int], KernelMap]] = WeakKeyDictionary()
        self._windows: WeakKeyDictionary[Sites, dict[int, Windows]] = WeakKeyDictionary()

    @classmethod
    def from_coords(cls, coords: Tensor, stride: int = 1, batch_size: int | None = None) -> Sites:
        """From (N, 4) integer coordinates in any order, without repetitions.

        Raises:
            ValueError: a cell occurs twice, or is not a multiple of the stride.
        """
        sites, order = cls.unique(coords, stride, batch_size)
        if len(order) != len(coords):
            raise ValueError(f"{len(coords) - len(order)} of {len(coords)} cells occur twice")
        if stride > 1 and (coords[:, 1:] % stride != 0).any():
            raise ValueError(f"coordinates must be multiples of the stride {stride}")
        return sites

    @staticmethod
    def unique(
        coords: Tensor, stride: int = 1, batch_size: int | None = None
    ) -> tuple[Sites, Tensor]:
        """Sites of (N, 4) coordinates with repetitions, and the first row of each site, (M,)."""
        if batch_size is None:
            batch_size = int(coords[:, 0].max()) + 1 if len(coords) else 0
        if len(coords) == 0:
            return Sites(coords.to(torch.int32), stride, batch_size), coords.new_zeros(0).long()
        bounds = _bounds_of(coords)
        numbering = CellNumbering(bounds, batch_size, stride, reach=0)
        numbers, order = torch.sort(numbering.number(coords), stable=True)
        first = torch.ones(len(numbers), dtype=torch.bool, device=coords.device)
        first[1:] = numbers[1:] != numbers[:-1]
        order = order[first]
        return Sites(coords[order].to(torch.int32), stride, batch_size, bounds), order

    def beside(self, coords: Tensor, stride: int) -> tuple[Sites, Tensor]:
        """`unique` for other coordinates of the same batch, in the same engine."""
        return Sites.unique(coords, stride, self.batch_size)

    def __len__(self) -> int:
        return len(self.coords)

    @property
    def coords(self) -> Tensor:
        """(N, 4) int32: batch index and integer coordinates that are multiples of `stride`."""
        return self._coords

    @property
    def counts(self) -> list[int]:
        """Number of sites of each scene. On a GPU, the first access needs a sync, unless
        `count_scenes` was called before.
        """
        count_scenes([self])
        assert self._counts is not None
        return self._counts

    @property
    def in_order(self) -> Tensor | slice:
        """Index that sorts the rows by (batch, x, y, z)."""
        return slice(None)

    @property
    def bounds(self) -> Bounds:
        """Lowest and highest coordinates over the batch, or a little beyond."""
        if self._bounds is None:
            self._bounds = _bounds_of(self.coords) if len(self) else ((0, 0, 0), (0, 0, 0))
        return self._bounds

    def rows_of(self, coords: Tensor) -> Tensor:
        """(N,) int64: the row of each coordinate (N, 4), -1 if it is no site."""
        if len(self) == 0 or len(coords) == 0:
            return coords.new_full((len(coords),), -1, dtype=torch.int64)
        bounds = joined(self.bounds, _bounds_of(coords))
        numbering = CellNumbering(bounds, self.batch_size, self.stride, reach=0)
        order = self.in_order
        lookup = RowLookup(numbering, numbering.number(self.coords[order]))
        rows = lookup.rows(numbering.number(coords)).long()
        return order[rows].where(rows >= 0, -1) if isinstance(order, Tensor) else rows

    def strided(self, factor: int) -> Sites:
        """The coarser cells that hold a site: floor(c / s) · s, each once (coordinate_map.hpp)."""
        if factor == 1:
            return self
        capacity = self._next_capacity()
        if factor not in self._strided:
            self._strided[factor] = self._build_strided(factor, capacity)
        return _noted(self._strided[factor])

    def generated(self, kernel: int, factor: int) -> Sites:
        """The finer cells that a generative convolution reaches: c + offset · s/factor."""
        capacity = self._next_capacity()
        if (kernel, factor) not in self._generated:
            self._generated[kernel, factor] = self._build_generated(kernel, factor, capacity)
        return _noted(self._generated[kernel, factor])

    def union(self, other: Sites) -> tuple[Sites, Tensor, Tensor]:
        """Cells of either, and the rows of this and of the other sites among them.

        If one set includes the other, the union is the larger object itself, so its maps are
        shared.
        """
        capacity = self._next_capacity()
        if other not in self._unions:
            self._unions[other] = self._build_union(other, capacity)
        _noted(self._unions[other][0])
        return self._unions[other]

    def kernel_map(self, out: Sites, kernel: int, dilation: int = 1) -> KernelMap:
        """The map of a convolution from these sites to `out`: in = out + offset · dilation · this
        stride.
        """
        maps, key = self._maps.setdefault(out, {}), (kernel, dilation)
        if key not in maps:
            maps[key] = self._build_map(out, kernel, dilation)
        return maps[key]

    def pool_map(self, out: Sites, kernel: int) -> KernelMap | Windows:
        """The pairs of a pool from these sites to `out`: `Windows` for a wide kernel."""
        if kernel <= _WIDE:
            return self.kernel_map(out, kernel)
        found = self._windows.setdefault(out, {})
        if kernel not in found:
            offsets = _axis_offsets(kernel)
            reach = offsets[0] * self.stride, offsets[-1] * self.stride
            found[kernel] = windows_of(self.coords, self.counts, out.coords, out.counts, reach)
        return found[kernel]

    def transposed_map(self, out: Sites, kernel: int) -> KernelMap:
        """The map of a transposed convolution from these sites to the finer sites `out`."""
        return out.kernel_map(self, kernel).transposed()

    def added(self, features: Tensor, other: Sites, others: Tensor) -> tuple[Tensor, Sites]:
        """The sum of features (N, C) of these sites and (M, C) of the other ones over the union,
        and the union. A missing row counts as zero.
        """
        union, mine, theirs = self.union(other)
        total = features.new_zeros(len(union), features.shape[1])
        return total.index_add_(0, mine, features).index_add_(0, theirs, others), union

    def pruned(
        self, features: Tensor, rows: Tensor, counts: list[int] | None = None
    ) -> tuple[Tensor, Sites]:
        """(N, C) features and their cells at some rows, ascending. counts: number of rows of each
        scene, if known.
        """
        sites = Sites(self.coords[rows], self.stride, self.batch_size, self.bounds, counts)
        return features[rows], sites

    def within(self, most: int) -> bool:
        """Whether every scene certainly has at most `most` cells."""
        return max(self.counts, default=0) <= most

    def best(self, features: Tensor, scores: Tensor, most: int) -> tuple[Tensor, Sites]:
        """Features (N, C) and cells of the `most` cells per scene with the highest scores (N,).

        Of equal scores the earlier cell wins.
        """
        order = self.in_order
        rows = best_rows(scores[order], self.counts, most)
        if isinstance(order, Tensor):
            rows = order[rows].sort().values
        return self.pruned(features, rows, [min(count, most) for count in self.counts])

    def normed(self, features: Tensor) -> Tensor:
        """Features (N, C) with zero mean and unit variance of each channel in each scene."""
        order = self.in_order
        normed = torch.empty_like(features)
        normed[order] = instance_norm(features[order], self.counts)
        return normed

    def interpolated(self, features: Tensor, out: Sites) -> Tensor:
        """Features (N, C) at the coordinates of other, usually finer, sites: trilinear, (M, C).

        The cells at the 8 corners around a coordinate count by their nearness. A missing cell
        counts as zero, and the other weights are not scaled up (features_at_coordinates of
        MinkowskiEngine, src/coordinate_map_gpu.cu).
        """
        result = features.new_zeros(len(out), features.shape[1])
        if len(self) == 0 or len(out) == 0:
            return result
        numbering = CellNumbering(
            joined(self.bounds, out.bounds), self.batch_size, self.stride, reach=1
        )
        lookup = RowLookup(numbering, numbering.number(self.coords))
        corner = numbering.number(out.coords)  # of the cell that holds the coordinate
        share = (out.coords[:, 1:] % self.stride).to(features.dtype) / self.stride
        padded = torch.cat([features, features.new_zeros(1, features.shape[1])])  # -1: missing
        for offset in kernel_offsets(2):
            rows = lookup.rows(corner + numbering.shift(offset))
            result = result + corner_weight(share, offset)[:, None] * padded[rows]
        return result

    def _next_capacity(self) -> int:
        """Rows of the next requested set, for sites of static shapes."""
        return 0

    def _build_strided(self, factor: int, capacity: int) -> Sites:
        numbering = CellNumbering(self.bounds, self.batch_size, self.stride * factor, reach=0)
        return _sites(unique_numbers(numbering, [numbering.number(self.coords)]), numbering)

    def _build_generated(self, kernel: int, factor: int, capacity: int) -> Sites:
        stride = self.stride // factor
        numbering = CellNumbering(self.bounds, self.batch_size, stride, reach=kernel // 2 + 1)
        base = numbering.number(self.coords)
        reached = [base + numbering.shift(offset) for offset in kernel_offsets(kernel)]
        return _sites(unique_numbers(numbering, reached), numbering)

    def _build_union(self, other: Sites, capacity: int) -> tuple[Sites, Tensor, Tensor]:
        numbering = CellNumbering(
            joined(self.bounds, other.bounds), self.batch_size, self.stride, reach=0
        )
        mine, others = numbering.number(self.coords), numbering.number(other.coords)
        numbers = unique_numbers(numbering, [mine, others])
        if len(numbers) == len(self):
            union = self
        elif len(numbers) == len(other):
            union = other
        else:
            union = _sites(numbers, numbering)
        return union, torch.searchsorted(numbers, mine), torch.searchsorted(numbers, others)

    def _build_map(self, out: Sites, kernel: int, dilation: int) -> KernelMap:
        offsets = [(x * dilation, y * dilation, z * dilation) for x, y, z in kernel_offsets(kernel)]
        if len(self) == 0 or len(out) == 0:
            none = self.coords.new_zeros(0).long()
            return KernelMap.from_pairs([(none, none)] * len(offsets), len(self), len(out))
        bounds = joined(self.bounds, out.bounds)
        reach = dilation * (kernel // 2) + 1
        numbering = CellNumbering(bounds, self.batch_size, self.stride, reach)
        numbers = numbering.number(self.coords)
        lookup = RowLookup(numbering, numbers)
        base = numbers if out is self else numbering.number(out.coords)
        mirrored = out is self and kernel % 2 == 1
        identity = len(offsets) // 2 if mirrored else None
        if _whole_tables(self.coords.device):
            steps = _steps(kernel, self.coords.device)
            _, *weights = numbering.weights
            shifts = dilation * sum(
                step * weight for step, weight in zip(steps, weights, strict=True)
            )
            return KernelMap.from_table(lookup.rows(base[:, None] + shifts), len(self), identity)
        pairs: Pairs = []
        for k, offset in enumerate(offsets):
            if mirrored and k > len(offsets) // 2:
                # The offset -o has the same pairs, with input and output exchanged.
                out_rows, in_rows = pairs[len(offsets) - 1 - k]
            else:
                out_rows, in_rows = lookup.find(base + numbering.shift(offset))
            pairs.append((in_rows, out_rows))
        return KernelMap.from_pairs(pairs, len(self), len(out), identity)


def count_scenes(sets: Sequence[Sites]) -> None:
    """Fill in the `counts` of several sets of sites of one batch, with one sync for all."""
    sets = list(dict.fromkeys(sets))
    for sites in sets:
        if sites.batch_size == 1:
            sites._counts = [len(sites)]
    unknown = [sites for sites in sets if sites._counts is None]
    if not unknown:
        return
    scenes = [sites.coords[sites.in_order, 0].contiguous() for sites in unknown]
    batch = torch.arange(unknown[0].batch_size + 1, device=scenes[0].device).to(torch.int32)
    starts = [torch.searchsorted(scene, batch) for scene in scenes]
    for sites, counts in zip(unknown, torch.stack(starts).diff(dim=1).tolist(), strict=True):
        sites._counts = counts


@torch.no_grad()
def best_rows(scores: Tensor, counts: list[int], most: int) -> Tensor:
    """Rows of the `most` best of each scene, ascending. Of equal scores the earlier row wins.

    scores: (N,). counts: number of rows of each scene.
    """
    best, start = [], 0
    for score in scores.split(counts):
        order = score.sort(descending=True, stable=True).indices
        best.append(order[:most].sort().values + start)
        start += len(score)
    return torch.cat(best)


def _noted(sites: Sites) -> Sites:
    requests = _requests.get()
    if requests is not None:
        requests.append(sites)
    return sites


def _sites(numbers: Tensor, numbering: CellNumbering) -> Sites:
    """Sites of a numbering's cells, ascending."""
    return Sites(
        numbering.coords(numbers), numbering.stride, numbering.batch_size, numbering.bounds
    )


def _bounds_of(coords: Tensor) -> Bounds:
    """Lowest and highest coordinates of (N, 4), N > 0. Needs a sync."""
    low, high = torch.stack([coords[:, 1:].amin(dim=0), coords[:, 1:].amax(dim=0)]).tolist()
    return cell(low), cell(high)


def _whole_tables(device: torch.device) -> bool:
    """Whether to make maps as tables, because pairs would need a sync at every offset on a GPU."""
    return device.type == "cuda"


@cache
def _steps(kernel: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """The kernel's offsets along x, y and z, (K,) int64 each."""
    x, y, z = torch.tensor(kernel_offsets(kernel), device=device).unbind(dim=1)
    return x, y, z
