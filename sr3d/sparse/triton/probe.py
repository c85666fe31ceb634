"""A minimal check of Triton: compile one kernel and launch it."""

# mypy: allow-untyped-decorators

from __future__ import annotations

import torch
import triton
import triton.language as tl

from sr3d.sparse.triton import engine


def fault() -> str | None:
    """The reason why no kernel can be launched, or None after one was launched.

    Raises:
        Exception: whatever Triton raises if it cannot compile or launch a kernel.
    """
    if not (torch.cuda.is_available() or engine.INTERPRETED):
        return (
            "Triton needs a GPU. Pass `--device cuda` if there is one. To test its kernels on "
            "a CPU, set TRITON_INTERPRET=1 before Triton is imported"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    values = torch.zeros(16, device=device)
    with engine.on(values.device):
        _add_one[(1,)](values, SIZE=16)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return None


@triton.jit
def _add_one(values, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    at = values + tl.arange(0, SIZE)
    tl.store(at, tl.load(at) + 1)
