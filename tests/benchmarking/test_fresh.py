"""A process of its own may fail in every way that measuring can."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from sr3d.errors import InputError
from sr3d.study.benchmarking.memory import OutOfMemory, in_fresh_process


def fail(how: str) -> int:
    match how:
        case "input":
            raise InputError("scan.npy: no such file")
        case "memory":
            torch.empty(10**15)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "bug":
            raise KeyError(how)
    return os.getpid()


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("input", InputError, "^scan.npy: no such file$"),
        ("memory", OutOfMemory, "^out of memory: .*DefaultCPUAllocator"),
        ("killed", OutOfMemory, "without memory"),
        ("bug", RuntimeError, "exit code 1"),
    ],
)
def test_failures_come_back(how: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        in_fresh_process(fail, how)


def test_it_is_another_process() -> None:
    assert in_fresh_process(fail, how="not") != os.getpid()
