"""What mmengine's checkpoints hold beside tensors, so that PyTorch reads them and runs nothing.

mmengine 0.10 calls `torch.load` as it was before PyTorch 2.6, which since then refuses a file that
names any class or function it does not know. Beside weights such a file has arrays and the curves
of losses; these are `HistoryBuffer`s, which name their own methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer


def allow_checkpoints() -> None:
    """Let `torch.load(weights_only=True)` read what mmengine's `save_checkpoint` writes."""
    array: Any = np.zeros(1).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(name)) for name in ("f4", "f8", "i4", "i8", "bool")]
    torch.serialization.add_safe_globals(
        [HistoryBuffer, array, scalar, np.ndarray, np.dtype, *kinds, (_method, "builtins.getattr")]
    )


def _method(owner: Any, name: str) -> Callable[..., Any]:
    """What stands in for `getattr` in a file: the statistics of a curve, and nothing else."""
    if owner is not HistoryBuffer or name not in ("min", "max", "mean", "current"):
        raise ValueError(f"a checkpoint of mmengine has no need of '{name}'")
    method: Callable[..., Any] = getattr(HistoryBuffer, name)
    return method
