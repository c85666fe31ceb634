"""Checkpoints as mmengine and mmcv write them, without either."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor


class HistoryBuffer:
    """Has the state of mmengine.logging.history_buffer.HistoryBuffer."""

    def __init__(self) -> None:
        self.max_length = 1_000_000
        self._log_history = np.array([1.5, 1.25])
        self._count_history = np.array([1, 1])
        self.statistics_methods = {"min": HistoryBuffer.min}

    def min(self) -> float:
        return float(self._log_history.min())


@contextmanager
def pretending(cls: type, module: str) -> Iterator[None]:
    """While it lasts, pickles name the class as one of that module, which then is gone."""
    parts = module.split(".")
    names = [".".join(parts[: i + 1]) for i in range(len(parts))]
    before = cls.__module__
    for name in names:
        sys.modules[name] = ModuleType(name)
    setattr(sys.modules[module], cls.__name__, cls)
    cls.__module__ = module
    try:
        yield
    finally:
        cls.__module__ = before
        for name in names:
            del sys.modules[name]


def mmengine_content(state: Mapping[str, Tensor], **meta: Any) -> dict[str, Any]:
    """What mmengine's `Runner.save_checkpoint` puts into a file, every kind of value of it."""
    weights = OrderedDict(state)
    weights._metadata = OrderedDict({"": {"version": 2}})  # type: ignore[attr-defined]
    moments = {"step": torch.tensor(7.0), "exp_avg": torch.randn(3), "exp_avg_sq": torch.rand(3)}
    return {
        "meta": {
            "epoch": 12, "iter": 900, "cfg": "voxel_size = 0.08\n", "seed": np.int64(3),
            "experiment_name": "run", "mmengine_version": "0.10.7", **meta,
        },
        "state_dict": weights,
        "message_hub": {
            "log_scalars": OrderedDict({"train/loss": HistoryBuffer()}),
            "runtime_info": OrderedDict({"best": np.float64(0.5), "seen": {1, 2}, "raw": b"\xff"}),
            "resumed_keys": OrderedDict({"train/loss": True}),
        },
        "optimizer": {"state": {0: moments}, "param_groups": [{"lr": 1e-3, "params": [0]}]},
        "param_schedulers": [{"milestones": np.array([8, 11]), "_last_value": [np.float32(1)]}],
    }  # fmt: skip


def save_mmengine(path: Path, state: Mapping[str, Tensor], zipped: bool, **meta: Any) -> None:
    with pretending(HistoryBuffer, "mmengine.logging.history_buffer"):
        torch.save(mmengine_content(state, **meta), path, _use_new_zipfile_serialization=zipped)
