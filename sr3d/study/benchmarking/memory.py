"""Run a function in its own process, and measure the peak memory of a block of code."""

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
    """The process ran out of memory, or the system ended it for that reason."""


def in_fresh_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The function's result. A new process (not a fork) gets function and arguments by pickle.

    Raises:
        InputError: raised by the function.
        OutOfMemory: no memory left, of the processor or the GPU.
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
        if process.exitcode == -9:  # SIGKILL, which Windows does not define
            raise OutOfMemory(
                "the system ended the process, usually for lack of memory", kind=Kind.TOO_LARGE
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
    """Yield a list that holds the peak memory within the block once the block has ended.

    On a CPU this is the growth over what the process held before, weights and scenes included.
    Earlier code may have kept memory for reuse, so only the first block of a process is exact.
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
    """Return free memory that Python or the C library holds to the system."""
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # not the GNU C library
        ctypes.CDLL(None).malloc_trim(0)


def _resident() -> float:
    """Resident mebibytes now. Resets the kernel's record of the peak to this value.

    If the reset is impossible, returns the peak so far. Growth is then too small, never too large.
    """
    try:
        _CLEAR.write_text("5")
        return process_status_mib("VmRSS")
    except OSError:
        return peak_resident_mib()
