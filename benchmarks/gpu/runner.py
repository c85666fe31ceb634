"""Runs the steps of a stage, each in its own process and within its time limit.

A step that raises, crashes or hangs costs the stage only this step. Each result is appended to the
stage's file when the step yields it, so an interrupted stage keeps all earlier results.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.plan import Plan

_LEAST = 3.0  # seconds. With less time left, a step is not started
_ERROR = 1500  # characters of a failed step's output that its outcome repeats
# A forked process has all imports of this one. CUDA works in it as long as only it uses CUDA.
_processes = multiprocessing.get_context("fork")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """run: yields results, and raises if the step has failed. limit: seconds at most."""

    name: str
    run: Callable[[Plan], Iterable[Row]]
    limit: float


@dataclass(frozen=True)
class StageFiles:
    """The two files of a stage. Repeated runs append to both."""

    results: Path
    log: Path

    @classmethod
    def inside(cls, folder: Path, stage: int) -> StageFiles:
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder / f"stage{stage}.jsonl", folder / f"stage{stage}.log")

    def write(self, row: Row) -> None:
        """Append one line of JSON in one call, so that no killed process leaves half a line."""
        line = json.dumps(row, default=str, ensure_ascii=False) + "\n"
        with self.results.open("ab", buffering=0) as file:
            file.write(line.encode())

    def last_words(self, since: int) -> str:
        """The end of what the log holds after byte `since`."""
        with self.log.open("rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace").strip()[-_ERROR:]


def run_stage(steps: Sequence[Step], plan: Plan, files: StageFiles, end: float) -> list[str]:
    """Run the steps in order. Returns the names of those that did not finish.

    end: `time.monotonic()` at which the stage stops.
    """
    unfinished = []
    for step in steps:
        started = time.monotonic()
        outcome = _run_step(step, plan, files, end - started)
        seconds = time.monotonic() - started
        files.write({"step": step.name, **outcome, "seconds": round(seconds, 1)})
        print(f"{step.name:24} {seconds:6.1f} s  {outcome['outcome']}", flush=True)
        if outcome["outcome"] != "done":
            unfinished.append(step.name)
    return unfinished


def _run_step(step: Step, plan: Plan, files: StageFiles, left: float) -> dict[str, str]:
    if left < _LEAST:
        return {"outcome": "left out", "error": "the stage's time is used up"}
    if torch.cuda.is_initialized():
        raise RuntimeError("this process must not use CUDA, or its forked processes cannot")
    with files.log.open("a", encoding="utf-8") as log:
        print(f"== {step.name}", file=log)
    before, limit = files.log.stat().st_size, min(step.limit, left)
    process = _processes.Process(target=_in_child, args=(step, plan, files))
    sys.stdout.flush()
    process.start()
    try:
        process.join(limit)
        in_time = not process.is_alive()
    finally:
        _kill(process)
    if not in_time:
        return {"outcome": "stopped", "error": f"ran over its limit of {limit:.1f} s"}
    if process.exitcode:
        return {"outcome": "failed", "error": files.last_words(before)}
    return {"outcome": "done"}


def _in_child(step: Step, plan: Plan, files: StageFiles) -> None:
    os.setsid()  # a group of its own, so that its own processes end with it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    log = files.log.open("a", encoding="utf-8", buffering=1)
    for number in (1, 2):  # of libraries and other processes
        os.dup2(log.fileno(), number)
    sys.stdout = sys.stderr = log
    for row in step.run(plan):
        files.write({"step": step.name, "result": row})
        print(json.dumps(row, default=str, ensure_ascii=False), flush=True)


def _kill(process: multiprocessing.process.BaseProcess) -> None:
    """End the process and all that it has started."""
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()
