"""Tables of a kernel map for the kernels: row orders, tiles with their live offsets, pair lists.

They are made on the map's device without sync, once, and kept on the map.

A tile can skip an offset only if none of its rows has that neighbour. So rows with equal sets of
neighbours belong together: they are sorted by a mask of K bits. For strided and transposed layers,
equal masks mean equal parity of coordinates, so this also groups by parity. The masks are ranked as
Gray codes, with the corners of the kernel, the rarest neighbours, as the highest bits. Number of
computed products per needed product on a real scan, with 64 rows per tile:

    layer            coordinate order   by mask   ranked so   and in 3 groups of 9 offsets
    8 cm, 64 ch            2.17           1.61       1.50                1.08
    16 cm, 128 ch          1.93           1.60       1.54                1.16
    4 to 8 cm              4.42           3.16       2.77                1.20
    neck, up to 16 cm      4.82           1.06       1.05                1.02

Each group is sorted separately. Their partial sums are added afterwards (see `engine`).
"""

# mypy: allow-untyped-decorators

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
import triton
import triton.language as tl
from torch import Tensor

from sr3d.sparse.kernel_map import KernelMap
from sr3d.sparse.packing import kept_first
from sr3d.sparse.sites import kernel_offsets

_MAX_BITS = 60  # beyond it, offsets share bits: the rank only has to put equal masks together
_ROWS = 64  # rows per program of the ranking


class Neighbors(Protocol):
    """The part of a map that the forward kernels need. In a graph there may be only the table."""

    @property
    def table(self) -> Tensor:
        """(n_out, K) int32 input rows. -1 is a missing neighbour."""

    @property
    def volume(self) -> int: ...

    @property
    def n_in(self) -> int: ...

    @property
    def n_out(self) -> int: ...

    def cached(self, key: Hashable, build: Callable[[], Any]) -> Any: ...


@dataclass(frozen=True)
class Tiles:
    """Output rows in tiles of `block`, for each group of `per_group` consecutive offsets.

    With T = groups · padded / block tiles in all: order: (groups, padded) int32, the output row at
    each place, n_out for padding. lists: (T, per_group) int32, the live offsets of each tile,
    ascending. counts: (T,) their number. sources: (T, per_group, block) int32, the input rows at
    those offsets, -1 if missing. Entries after the live offsets are undefined.
    """

    block: int
    groups: int
    per_group: int
    padded: int
    order: Tensor
    lists: Tensor
    counts: Tensor
    sources: Tensor

    @property
    def per_column(self) -> int:
        """Number of tiles of one group."""
        return self.padded // self.block


@dataclass(frozen=True)
class SortedPairs:
    """Pairs of rows by offset, output rows ascending. Offset k has [starts[k], starts[k + 1]).

    in_rows, out_rows: int32, as long as if every neighbour existed, because only the device knows
    the number of pairs. Rows after the last pair are undefined.
    """

    in_rows: Tensor
    out_rows: Tensor
    starts: Tensor


def pairs(kernel_map: KernelMap) -> SortedPairs:
    return kernel_map.cached(SortedPairs, lambda: _build_pairs(kernel_map.table))


def tiles(kernel_map: Neighbors, block: int, groups: int) -> Tiles:
    """Tiles of `block` rows, a power of two. n_out must not be 0."""
    result: Tiles = kernel_map.cached(
        (Tiles, block, groups), lambda: _build_tiles(kernel_map, block, groups)
    )
    return result


def _build_pairs(table: Tensor) -> SortedPairs:
    n_out, volume = table.shape
    columns = table.t().reshape(-1)
    present = columns >= 0
    ends = present.view(volume, n_out).sum(dim=1).cumsum(dim=0)
    starts = torch.cat([ends.new_zeros(1), ends]).to(torch.int32)
    order = kept_first(present)
    return SortedPairs(columns[order], (order % max(1, n_out)).to(torch.int32), starts)


def _build_tiles(kernel_map: Neighbors, block: int, groups: int) -> Tiles:
    table = kernel_map.table
    n_out, volume = table.shape
    per_group = triton.cdiv(volume, groups)
    count = triton.cdiv(n_out, block)
    padded = count * block
    ranked = kernel_map.cached((_sorted_rows, groups), lambda: _sorted_rows(table, groups))
    order = table.new_empty(groups, padded)
    lists = table.new_empty(groups * count, per_group)
    counts = table.new_empty(groups * count)
    sources = table.new_empty(groups * count, per_group, block)
    _fill_tiles[(groups * count,)](
        table,
        ranked,
        order,
        lists,
        counts,
        sources,
        n_out,
        padded,
        count,
        VOLUME=volume,
        PER_GROUP=per_group,
        WIDTH=triton.next_power_of_2(max(2, per_group)),  # Triton 3.3 cannot interpret a sum of one
        BLOCK_M=block,
    )
    return Tiles(block, groups, per_group, padded, order, lists, counts, sources)


def _sorted_rows(table: Tensor, groups: int) -> Tensor:
    """(groups · n_out,) int64: for each group, its number · n_out + its rows in order."""
    n_out, volume = table.shape
    per_group = triton.cdiv(volume, groups)
    bits = min(per_group, _MAX_BITS, 63 - (groups - 1).bit_length())  # the group comes above
    narrow = bits + (groups - 1).bit_length() <= 31
    ranks = table.new_empty(groups * n_out, dtype=torch.int32 if narrow else torch.int64)
    _rank_rows[(triton.cdiv(n_out, _ROWS),)](
        table,
        _significance(volume, per_group, bits, table.device),
        ranks,
        n_out,
        VOLUME=volume,
        PER_GROUP=per_group,
        GROUPS=groups,
        BITS=bits,
        WIDTH=triton.next_power_of_2(volume),
        BLOCK_M=_ROWS,
    )
    return torch.sort(ranks, stable=True).indices


@cache
def _significance(volume: int, per_group: int, bits: int, device: torch.device) -> Tensor:
    return torch.tensor(kernel_bits(volume, per_group, bits), dtype=torch.int32, device=device)


def kernel_bits(volume: int, per_group: int, bits: int) -> list[int]:
    """The bit of each offset within its group. Offsets far from the origin get high bits."""
    edge = round(volume ** (1 / 3))
    if edge**3 == volume:
        far = [sum(c * c for c in offset) for offset in kernel_offsets(edge)]
    else:
        far = [0] * volume
    result = [0] * volume
    for start in range(0, volume, per_group):
        members = range(start, min(start + per_group, volume))
        for place, k in enumerate(sorted(members, key=lambda k: (far[k], k))):
            result[k] = place % bits
    return result


@triton.jit(do_not_specialize=["n_out"])
def _rank_rows(  # type: ignore[no-untyped-def]
    table,
    significance,
    ranks,
    n_out,
    VOLUME: tl.constexpr,
    PER_GROUP: tl.constexpr,
    GROUPS: tl.constexpr,
    BITS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    k = tl.arange(0, WIDTH)
    real = (rows < n_out)[:, None] & (k < VOLUME)[None, :]
    present = tl.load(table + rows[:, None] * VOLUME + k[None, :], mask=real, other=-1) >= 0
    bit = tl.load(significance + k, mask=k < VOLUME, other=0).to(ranks.dtype.element_ty)
    for group in tl.static_range(GROUPS):
        member = present & (k // PER_GROUP == group)[None, :]
        # Offsets of a large kernel share bits. Their sum must not reach the number of the group.
        mask = tl.sum((member.to(bit.dtype) << bit[None, :]), axis=1) & ((1 << BITS) - 1)
        # The rank of the mask in the Gray sequence: each bit is the parity of the bits above it.
        mask ^= mask >> 1
        mask ^= mask >> 2
        mask ^= mask >> 4
        mask ^= mask >> 8
        mask ^= mask >> 16
        if BITS > 31:
            mask ^= mask >> 32
        if GROUPS > 1:
            mask += tl.full((BLOCK_M,), group, bit.dtype) << BITS
        tl.store(ranks + group * n_out + rows, mask, mask=rows < n_out)


@triton.jit(do_not_specialize=["n_out", "count"])
def _fill_tiles(  # type: ignore[no-untyped-def]
    table,
    ranked,
    order,
    lists,
    counts,
    sources,
    n_out,
    padded,
    count,
    VOLUME: tl.constexpr,
    PER_GROUP: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    tile = tl.program_id(0)
    group = tile // count
    position = (tile % count) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = position < n_out
    rows = tl.load(ranked + group * n_out + position, mask=inside, other=0) - group * n_out
    tl.store(order + group * padded + position, tl.where(inside, rows, n_out).to(tl.int32))
    member = tl.arange(0, WIDTH)
    k = group * PER_GROUP + member
    real = (member < PER_GROUP) & (k < VOLUME)
    source = tl.load(
        table + rows[:, None] * VOLUME + k[None, :],
        mask=inside[:, None] & real[None, :],
        other=-1,
    )
    live = tl.max(source, axis=0) >= 0
    place = tile * PER_GROUP + tl.cumsum(live.to(tl.int32), 0) - 1
    tl.store(lists + place, k, mask=live)
    tl.store(counts + tile, tl.sum(live.to(tl.int32), 0))
    lane = tl.arange(0, BLOCK_M)[:, None]
    tl.store(sources + place.to(tl.int64)[None, :] * BLOCK_M + lane, source, mask=live[None, :])
