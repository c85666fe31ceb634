"""The clock that benchmarks of one process share."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from sr3d.study.benchmarking.stages import synchronise


def milliseconds(run: Callable[[], object], device: torch.device) -> float:
    """What a call takes, the device waited for before and after."""
    synchronise(device)
    started = time.perf_counter()
    run()
    synchronise(device)
    return (time.perf_counter() - started) * 1000
