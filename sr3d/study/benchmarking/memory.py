"""The most memory that a block of code takes: of the GPU, or of this process."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import nn

from sr3d.runs.machine import peak_resident_mib, process_status_mib
from sr3d.study.benchmarking.results import Memory

ON_GPU = "most that PyTorch had allocated on the GPU, weights included"
ON_CPU = "growth of the process's resident memory to its peak, in a fresh process's first passes"
_CLEAR = Path("/proc/self/clear_refs")


@contextmanager
def watched_memory(model: nn.Module, device: torch.device) -> Iterator[list[Memory]]:
    """Yield a list that holds, after the block, the peak within it.

    On a CPU that is beyond what the process held before, weights and scenes included. Whatever ran
    before may keep memory to use it again, so only the first block of a process tells the whole.
    """
    found: list[Memory] = []
    tensors = [*model.parameters(), *model.buffers()]
    weights = sum(t.numel() * t.element_size() for t in tensors) / 2**20
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield found
        peak = torch.cuda.max_memory_allocated(device) / 2**20
        found.append(Memory(peak, weights, ON_GPU))
        return
    _give_back()
    before = _resident()
    yield found
    found.append(Memory(peak_resident_mib() - before, weights, ON_CPU))


def _give_back() -> None:
    """Free memory that Python or the C library holds goes to the system, so that it counts anew."""
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # another C library than GNU's
        ctypes.CDLL(None).malloc_trim(0)


def _resident() -> float:
    """Mebibytes now, after the kernel's record of the peak was set back to it.

    Where that is impossible, the peak so far, so that growth is told too small rather than too
    large.
    """
    try:
        _CLEAR.write_text("5")
        return process_status_mib("VmRSS")
    except OSError:
        return peak_resident_mib()
