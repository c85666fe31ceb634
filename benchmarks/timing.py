"""The clock of all benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from sr3d.study.benchmarking.stages import synchronise


def milliseconds(run: Callable[[], object], device: torch.device) -> float:
    """Wall time of a call, with syncs before and after."""
    synchronise(device)
    started = time.perf_counter()
    run()
    synchronise(device)
    return (time.perf_counter() - started) * 1000
