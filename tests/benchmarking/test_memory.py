"""Peak memory of a block, also of what it gave back before its end."""

from __future__ import annotations

import torch
from torch import nn

from sr3d.benchmarking.memory import watched_memory

CPU = torch.device("cpu")


def test_memory_that_was_freed_again_counts() -> None:
    kept = torch.ones(2**22)  # 16 MB, before
    with watched_memory(nn.Linear(512, 1024), CPU) as found:
        for _ in range(3):  # one after the other, so not thrice as much
            torch.ones(16 * 2**20)  # 64 MB
    assert 60 < found[0].peak < 80
    assert found[0].weights == (512 * 1024 + 1024) * 4 / 2**20
    assert float(kept[0]) == 1


def test_a_block_that_needs_nothing_needs_nothing() -> None:
    torch.ones(16 * 2**20)  # freed before: not of the block
    with watched_memory(nn.Identity(), CPU) as found:
        pass
    assert found[0].peak < 5
    assert found[0].weights == 0
