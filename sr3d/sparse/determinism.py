"""Switches PyTorch's deterministic algorithms on where they are needed, and only there.

On a GPU they sort the indices of every operation that writes by index, and process equal indices
one at a time. The backward pass needs this, because it sums gradients at rows that several results
have read. All other operations of this package write no place twice, or add integers, so they are
deterministic without the sort.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils import deterministic


@contextmanager
def deterministic_algorithms(on: bool) -> Iterator[None]:
    """Switch PyTorch's deterministic algorithms on or off for the block.

    The flag applies to the whole process, not to a thread. Operations without a deterministic form
    warn.
    """
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
    )
    if on == before[0]:
        yield
        return
    torch.use_deterministic_algorithms(on, warn_only=True)
    # No code reads uninitialised memory, and filling it takes time.
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        deterministic.fill_uninitialized_memory = before[2]  # type: ignore[attr-defined]


def ordered_backward(loss: Tensor) -> None:
    """`loss.backward()` with sums in a fixed order, so gradients are bitwise reproducible."""
    with deterministic_algorithms(True):
        loss.backward()
