"""Peak memory of a block, also of what it gave back before its end.

In processes of their own, as measurements are: what earlier tests of this process leave running, or
keep, would be counted.
"""

from __future__ import annotations

import json
import subprocess
import sys

_WATCH = """
import json
import torch
from torch import nn
from sr3d.study.benchmarking.memory import watched_memory

{before}
with watched_memory({model}, torch.device("cpu")) as found:
    {block}
print(json.dumps([found[0].peak, found[0].weights]))
"""


def _watched(model: str, before: str, block: str) -> tuple[float, float]:
    """MB at the peak of a block of code, and of the model's weights."""
    program = _WATCH.format(model=model, before=before, block=block)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    peak, weights = json.loads(done.stdout)
    return peak, weights


def test_memory_that_was_freed_again_counts_and_only_once() -> None:
    peak, weights = _watched(
        model="nn.Linear(512, 1024)",
        before="kept = torch.ones(2**22)  # 16 MB, which is not of the block",
        block="for _ in range(8): torch.ones(16 * 2**20)  # 64 MB, freed before the next",
    )
    assert 60 < peak < 8 * 64 / 2
    assert weights == (512 * 1024 + 1024) * 4 / 2**20


def test_a_block_that_needs_nothing_needs_nothing() -> None:
    peak, weights = _watched(
        model="nn.Identity()", before="torch.ones(16 * 2**20)  # freed before", block="pass"
    )
    assert peak < 5
    assert weights == 0
