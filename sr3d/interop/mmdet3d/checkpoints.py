"""Lets PyTorch read mmengine's checkpoints without running code in them.

mmengine 0.10 calls `torch.load` with the defaults before PyTorch 2.6. Since then PyTorch refuses a
file with unknown classes or functions. Beside weights, such a file has arrays and logged losses.
The latter are `HistoryBuffer`s, which name their own methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer


def allow_checkpoints() -> None:
    """Let `torch.load(weights_only=True)` read files of mmengine's `save_checkpoint`."""
    array: Any = np.zeros(1).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(name)) for name in ("f4", "f8", "i4", "i8", "bool")]
    torch.serialization.add_safe_globals(
        [HistoryBuffer, array, scalar, np.ndarray, np.dtype, *kinds, (_method, "builtins.getattr")]
    )


def _method(owner: Any, name: str) -> Callable[..., Any]:
    """A replacement for `getattr` in a file: only the statistics of a `HistoryBuffer`."""
    if owner is not HistoryBuffer or name not in ("min", "max", "mean", "current"):
        raise ValueError(f"a checkpoint of mmengine does not need '{name}'")
    method: Callable[..., Any] = getattr(HistoryBuffer, name)
    return method
