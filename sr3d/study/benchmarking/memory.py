"""Memory: a process of its own for a function, and the most memory that a block of code takes."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

from sr3d.errors import InputError, Kind
from sr3d.runs.machine import peak_resident_mib, process_status_mib
from sr3d.study.benchmarking.measures import Memory

P = ParamSpec("P")
T = TypeVar("T")


class OutOfMemory(InputError):
    """The process ran out of memory, or the system ended it for that."""


def in_fresh_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Its result. Function, arguments and result are pickled; the process starts anew, not forked.

    Raises:
        InputError: what the function raised.
        OutOfMemory: of the processor or of the GPU.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, function, args, kwargs), daemon=True)
    process.start()
    theirs.close()
    try:
        error, value = ours.recv()
    except EOFError:
        process.join()
        if process.exitcode == -9:  # SIGKILL, a name that Windows lacks
            raise OutOfMemory(
                "the system ended the process, as it does without memory", kind=Kind.TOO_LARGE
            ) from None
        raise RuntimeError(f"a measuring process failed (exit code {process.exitcode})") from None
    finally:
        process.terminate()
        process.join()
    if error is not None:
        raise error
    return value


def _answer(
    pipe: Connection, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends this one
    try:
        pipe.send((None, function(*args, **kwargs)))
    except InputError as error:
        pipe.send((error, None))
    except (MemoryError, torch.OutOfMemoryError) as error:
        pipe.send((OutOfMemory(_first_line(error), kind=Kind.TOO_LARGE), None))
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        pipe.send((OutOfMemory(_first_line(error), kind=Kind.TOO_LARGE), None))


def _first_line(error: BaseException) -> str:
    return f"out of memory: {str(error).partition(chr(10))[0] or type(error).__name__}"


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
