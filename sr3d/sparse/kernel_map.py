"""Kernel maps: the pairs of input row and output row at each kernel offset."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


Pairs = list[tuple[Tensor, Tensor]]  # input and output rows of each offset, int64


class KernelMap:
    """Pairs of rows, grouped by kernel offset. Within an offset each row occurs at most once.

    It is made from pairs, which the torch engine reads, or from a table, which the Triton engine
    reads and a GPU makes without sync. Each form is converted to the other on first access.
    identity: the offset that pairs every row with itself, if there is one. static: the map has
    static shapes, so an engine must not read its pairs.
    """

    static = False

    def __init__(self, n_in: int, n_out: int, volume: int, identity: int | None = None) -> None:
        self.n_in, self.n_out, self.volume, self.identity = n_in, n_out, volume, identity
        self._transposed: KernelMap | None = None
        self._derived: dict[Hashable, Any] = {}

    @staticmethod
    def from_pairs(pairs: Pairs, n_in: int, n_out: int, identity: int | None = None) -> KernelMap:
        """From the rows of each offset, output rows ascending."""
        result = KernelMap(n_in, n_out, len(pairs), identity)
        result._pairs = pairs
        return result

    @staticmethod
    def from_table(table: Tensor, n_in: int, identity: int | None = None) -> KernelMap:
        """From (n_out, K) int32 input rows. -1 is a missing neighbour."""
        n_out, volume = table.shape
        result = KernelMap(n_in, n_out, volume, identity)
        result.table = table
        return result

    @cached_property
    def _pairs(self) -> Pairs:
        columns = self.table.t()
        offset, out_rows = (columns >= 0).nonzero().unbind(dim=1)
        sizes = torch.bincount(offset, minlength=self.volume).tolist()
        in_rows = columns[offset, out_rows].long()
        return list(zip(in_rows.split(sizes), out_rows.split(sizes), strict=True))

    @property
    def in_rows(self) -> Tensor:
        """(P,) int64, by offset."""
        return torch.cat([in_rows for in_rows, _ in self._pairs])

    @property
    def out_rows(self) -> Tensor:
        """(P,) int64, by offset."""
        return torch.cat([out_rows for _, out_rows in self._pairs])

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of pairs of each offset, in kernel order."""
        return tuple(len(in_rows) for in_rows, _ in self._pairs)

    def offsets(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Kernel index, input rows and output rows of each offset that has pairs."""
        for k, (in_rows, out_rows) in enumerate(self._pairs):
            if self.sizes[k]:
                yield k, in_rows, out_rows

    def transposed(self) -> KernelMap:
        """The same pairs with the roles of input and output exchanged, same kernel order."""
        if self._transposed is None:
            result = KernelMap(self.n_out, self.n_in, self.volume, self.identity)
            if "_pairs" in vars(self):
                result._pairs = [(out_rows, in_rows) for in_rows, out_rows in self._pairs]
            else:
                result.table = self._table_transposed()
            self._transposed = result
        return self._transposed

    def _table_transposed(self) -> Tensor:
        table, n_in = self.table, self.n_in
        rows = torch.arange(self.n_out, dtype=torch.int32, device=table.device)[:, None]
        # A missing neighbour writes to a separate spare row, so no place is written twice.
        result = table.new_full((n_in + self.n_out, self.volume), -1)
        target = table.where(table >= 0, rows + n_in).long()
        return result.scatter_(0, target, rows.expand_as(table))[:n_in].clone()

    def cached(self, key: Hashable, build: Callable[[], T]) -> T:
        """A table that an engine derives from this map. Built on first access and kept here."""
        if key not in self._derived:
            self._derived[key] = build()
        result: T = self._derived[key]
        return result

    @property
    def mirrored(self) -> bool:
        """Whether the pairs at offset K-1-k equal the pairs at k, with input and output exchanged.

        This holds for an odd kernel from sites onto themselves, the only maps whose centre is the
        identity.
        """
        return self.identity is not None and 2 * self.identity + 1 == self.volume

    @property
    def density(self) -> float:
        """Share of the K · n_out possible neighbours that exist."""
        return sum(self.sizes) / max(1, self.n_out * self.volume)

    @cached_property
    def neighbors(self) -> Tensor:
        """(n_out, K) int64 input rows. A missing neighbour is n_in, one past the last row."""
        if "table" in vars(self):
            return self.table.long().where(self.table >= 0, self.n_in)
        return self._table_of_pairs(self.n_in, torch.int64)

    @cached_property
    def table(self) -> Tensor:
        """(n_out, K) int32 input rows. A missing neighbour is -1."""
        return self._table_of_pairs(-1, torch.int32)

    def _table_of_pairs(self, missing: int, dtype: torch.dtype) -> Tensor:
        device = self._pairs[0][0].device
        table = torch.full((self.n_out, self.volume), missing, dtype=dtype, device=device)
        for k, in_rows, out_rows in self.offsets():
            table[out_rows, k] = in_rows.to(dtype)
        return table
