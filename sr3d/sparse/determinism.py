"""PyTorch's deterministic algorithms, switched on around what needs them and nowhere else.

On a GPU they sort the indices of every operation that writes by index, and walk through equal
indices one at a time. The backward pass needs that: it sums gradients at rows that several results
have read. Everything else in this package names no place twice in one write, or adds integers, so
it gives the same bits without the sort.
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

    The flag belongs to the process, not to the thread. Operations without a deterministic form
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
    # Nothing reads fresh memory, and filling it takes time.
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
