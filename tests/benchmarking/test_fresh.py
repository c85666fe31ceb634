"""A process of its own may fail in every way that measuring can."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from sr3d.errors import InputError, Kind
from sr3d.study.benchmarking.memory import OutOfMemory, in_fresh_process


def fail(how: str) -> int:
    match how:
        case "input":
            raise InputError("absent", file="scan.npy", kind=Kind.MISSING, remedy="Make it.")
        case "memory":
            torch.empty(10**15)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "bug":
            raise KeyError(how)
    return os.getpid()


def test_bad_input_comes_back_with_its_fields() -> None:
    with pytest.raises(InputError) as caught:
        in_fresh_process(fail, "input")
    error = caught.value
    assert (error.problem, error.file) == ("absent", Path("scan.npy"))
    assert (error.kind, error.remedy) == (Kind.MISSING, "Make it.")


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("memory", OutOfMemory, "DefaultCPUAllocator"),  # PyTorch's own words
        ("killed", OutOfMemory, ""),
        ("bug", RuntimeError, "code 1"),
    ],
)
def test_failures_come_back(how: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        in_fresh_process(fail, how)
    assert message in str(caught.value)


def test_it_is_another_process() -> None:
    assert in_fresh_process(fail, how="not") != os.getpid()
