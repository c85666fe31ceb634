"""The devices that sr3d computes on. This module does not import torch."""

from __future__ import annotations

from sr3d.errors import InputError, Kind

DEVICES = ("cpu", "cuda")


def refuse_apple_gpu(device: object) -> None:
    """Refuse PyTorch's device `mps`.

    Raises:
        InputError: it is `mps`.
    """
    if str(device).partition(":")[0] == "mps":
        raise InputError(
            "sr3d does not run on Apple GPUs (mps)",
            field="device",
            kind=Kind.VALUE,
            remedy="Use device cpu.",
        )
