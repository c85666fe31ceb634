"""The metrics log of a running training run: one line per step, written with some delay."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sr3d.errors import InputError, Kind
from sr3d.runs.files import write_text, writing

STOP = "stop"  # the number of processes that were asked to stop. Not written


@dataclass(frozen=True)
class LoggedStep:
    """One step. known: values known to the host. scenes: ids of its batch. values: scalars by name
    that the device may still be computing: "loss", "grad_norm", STOP and others.
    """

    known: dict[str, Any]
    scenes: Sequence[str]
    values: dict[str, Tensor]


class MetricsLog:
    """The metrics of a training run so far, in memory and in a file. A context manager.

    The file is for monitoring. Nothing reads it back, so damage to it has no effect.

    text: the earlier lines, which are written to the file first. last: the last line. stop: whether
    any process was asked to stop. writes: False in all processes except the first.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
    """

    def __init__(self, path: Path, text: str = "", writes: bool = True) -> None:
        self.path = path
        self.stop = False
        self._lines = text.splitlines(keepends=True)
        self.last: dict[str, Any] = json.loads(self._lines[-1]) if self._lines else {}
        self._waiting: list[tuple[LoggedStep, Tensor]] = []
        self._file = None
        if writes:
            write_text(path, text)
            self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115

    @property
    def text(self) -> str:
        """All lines whose values have been fetched, as in the file."""
        return "".join(self._lines)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with writing(self.path):
                self._file.close()

    def add(self, line: LoggedStep) -> None:
        self._waiting.append((line, torch.stack(list(line.values.values())).detach()))

    def fetch(self) -> None:
        """Copy the values since the last call from the device, and write them.

        Raises:
            InputError: a loss or a gradient is NaN or infinite, or the disk is full.
        """
        waiting, self._waiting = self._waiting, []
        found = torch.stack([values for _, values in waiting]).tolist() if waiting else []
        for (line, _), numbers in zip(waiting, found, strict=True):
            values = dict(zip(line.values, numbers, strict=True))
            self._check(line, values)
            self.stop |= values.pop(STOP) > 0
            self.last = line.known | {name: _plain(name, value) for name, value in values.items()}
            self._lines.append(json.dumps(self.last, allow_nan=False) + "\n")
            if self._file is not None:
                with writing(self.path):
                    self._file.write(self._lines[-1])

    def _check(self, line: LoggedStep, values: dict[str, float]) -> None:
        for name, what in (("loss", "loss"), ("grad_norm", "norm of the gradient")):
            if not math.isfinite(values[name]):
                raise InputError(  # in the same folder, the checkpoint is another training's
                    f"the {what} is {values[name]} at training step {line.known['step']} "
                    f"(scenes {', '.join(line.scenes)})",
                    file=self.path.parent,
                    field=name,
                    kind=Kind.VALUE,
                    remedy="Train with a lower train.lr into another folder.",
                )


def _plain(name: str, value: float) -> float:
    return int(value) if name == "positives" else round(value, 6)
