"""A function in a process of its own, so that its memory is its own and it may run out of it."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

import torch

from sr3d.errors import InputError

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
            raise OutOfMemory("the system ended the process, as it does without memory") from None
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
        pipe.send((OutOfMemory(_first_line(error)), None))
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        pipe.send((OutOfMemory(_first_line(error)), None))


def _first_line(error: BaseException) -> str:
    return f"out of memory: {str(error).partition(chr(10))[0] or type(error).__name__}"
