"""Which input row meets which output row at which kernel offset."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class KernelMap:
    """Pairs of rows, grouped by kernel offset; within an offset each row occurs at most once.

    in_rows, out_rows: (P,) int64. sizes: pairs of each of the K offsets, in kernel order.
    identity: the offset that pairs every row with itself, if there is one.
    """

    def __init__(
        self,
        in_rows: Tensor,
        out_rows: Tensor,
        sizes: tuple[int, ...],
        n_in: int,
        n_out: int,
        identity: int | None = None,
    ) -> None:
        self.in_rows = in_rows
        self.out_rows = out_rows
        self.sizes = sizes
        self.n_in = n_in
        self.n_out = n_out
        self.identity = identity
        self._transposed: KernelMap | None = None
        self._derived: dict[Hashable, Any] = {}

    @staticmethod
    def from_pairs(
        in_rows: list[Tensor],
        out_rows: list[Tensor],
        n_in: int,
        n_out: int,
        identity: int | None = None,
    ) -> KernelMap:
        sizes = tuple(len(rows) for rows in in_rows)
        return KernelMap(torch.cat(in_rows), torch.cat(out_rows), sizes, n_in, n_out, identity)

    def offsets(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Kernel index, input rows and output rows of each offset that has pairs."""
        start = 0
        for k, size in enumerate(self.sizes):
            if size:
                yield k, self.in_rows[start : start + size], self.out_rows[start : start + size]
            start += size

    def transposed(self) -> KernelMap:
        """The same pairs with the roles of input and output exchanged, same kernel order."""
        if self._transposed is None:
            self._transposed = KernelMap(
                self.out_rows, self.in_rows, self.sizes, self.n_out, self.n_in, self.identity
            )
        return self._transposed

    def cached(self, key: Hashable, build: Callable[[], T]) -> T:
        """What an engine derives from this map: built when first asked for, kept with the map."""
        if key not in self._derived:
            self._derived[key] = build()
        result: T = self._derived[key]
        return result

    @property
    def volume(self) -> int:
        """K, the number of kernel offsets."""
        return len(self.sizes)

    @property
    def mirrored(self) -> bool:
        """Whether the pairs at offset K-1-k are those at k, the other way round.

        So it is for an odd kernel from sites onto themselves, the only maps whose centre is the
        identity.
        """
        return self.identity is not None and 2 * self.identity + 1 == len(self.sizes)

    @property
    def density(self) -> float:
        """Share of the K · n_out possible neighbours that exist."""
        return len(self.in_rows) / max(1, self.n_out * len(self.sizes))

    @cached_property
    def neighbors(self) -> Tensor:
        """(n_out, K) int64 input rows; a missing neighbour is n_in, one past the last row."""
        table = self.in_rows.new_full((self.n_out, len(self.sizes)), self.n_in)
        offset = torch.repeat_interleave(
            torch.arange(len(self.sizes), device=self.in_rows.device),
            torch.tensor(self.sizes, device=self.in_rows.device),
        )
        table[self.out_rows, offset] = self.in_rows
        return table

    @cached_property
    def table(self) -> Tensor:
        """(n_out, K) int32 input rows; a missing neighbour is -1.

        Unlike `neighbors` it is made without waiting for the device.
        """
        device = self.in_rows.device
        table = self.in_rows.new_full((self.n_out, len(self.sizes)), -1, dtype=torch.int32)
        offset = torch.repeat_interleave(
            torch.arange(len(self.sizes), device=device),
            torch.tensor(self.sizes).to(device, non_blocking=True),
            output_size=len(self.in_rows),
        )
        table[self.out_rows, offset] = self.in_rows.to(torch.int32)
        return table
