"""The precision of a network's products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sr3d.detectors.base import Detector


@contextmanager
def network_precision(model: Detector[Any, Any], precision: str) -> Iterator[None]:
    """Within the block, the network multiplies in another precision than fp32.

    "tf32": the GPU's fp32 with ten bits of mantissa. "bf16": autocast up to the raw outputs.
    Weights, statistics of batch norms, decoding, assigners and losses always stay fp32.
    """
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32, model.autocast
    matmul.allow_tf32 = precision == "tf32"
    model.autocast = torch.bfloat16 if precision == "bf16" else None
    try:
        yield
    finally:
        matmul.allow_tf32, model.autocast = before
