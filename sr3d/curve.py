"""The curve of a training while it runs: a line a step, written when the device has its values."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sr3d.errors import InputError
from sr3d.files import atomic_path

STOP = "stop"  # the value that tells whether a process was told to stop; not written


@dataclass(frozen=True)
class Line:
    """A step: what is known of it at once, the scenes of its batch, and scalars by name that the
    device may still be computing: "loss", "grad_norm", STOP and others.
    """

    known: dict[str, Any]
    scenes: Sequence[str]
    values: dict[str, Tensor]


class Curve:
    """A file of metrics so far, cut back to `steps` lines, open for more. A context manager.

    last: the last line. stop: whether any process was told to. writes: false in a process that
    only reads along.
    """

    def __init__(self, path: Path, steps: int, writes: bool = True) -> None:
        self.path = path
        self.stop = False
        self.last: dict[str, Any] = {}
        self._waiting: list[tuple[Line, Tensor]] = []
        self._file = None
        if writes:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            with atomic_path(path) as temporary:  # the only copy: never without its lines
                temporary.write_text("".join(line + "\n" for line in lines[:steps]), "utf-8")
            self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115
            self.last = json.loads(lines[steps - 1]) if steps else {}

    def __enter__(self) -> Curve:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, line: Line) -> None:
        self._waiting.append((line, torch.stack(list(line.values.values())).detach()))

    def fetch(self) -> None:
        """Wait for the values of the steps since the last time, and write them.

        Raises:
            InputError: a loss or a gradient that is no finite number.
        """
        waiting, self._waiting = self._waiting, []
        found = torch.stack([values for _, values in waiting]).tolist() if waiting else []
        for (line, _), numbers in zip(waiting, found, strict=True):
            values = dict(zip(line.values, numbers, strict=True))
            self._check(line, values)
            self.stop |= values.pop(STOP) > 0
            self.last = line.known | {name: _plain(name, value) for name, value in values.items()}
            if self._file is not None:
                self._file.write(json.dumps(self.last, allow_nan=False) + "\n")

    def _check(self, line: Line, values: dict[str, float]) -> None:
        for name, what in (("loss", "loss"), ("grad_norm", "norm of the gradient")):
            if not math.isfinite(values[name]):
                raise InputError(
                    f"{self.path.parent}: the {what} is {values[name]} at step "
                    f"{line.known['step']} (scenes {', '.join(line.scenes)}); lower train.lr, or "
                    "look at these scenes"
                )


def _plain(name: str, value: float) -> float:
    return int(value) if name == "positives" else round(value, 6)
