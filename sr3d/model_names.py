"""The names that stand for a model, without the models: this module does not import torch."""

from __future__ import annotations

from pathlib import Path

from sr3d.errors import InputError

# Training runs that come with the package, each in its folder with a card.
PRETRAINED = Path(__file__).parent / "pretrained"
PRETRAINED_MODELS = ("sr3d_rooms",)

DEVICES = ("cpu", "cuda")


def refuse_apple_gpu(device: object) -> None:
    """Refuse PyTorch's device `mps`.

    Raises:
        InputError: it is `mps`.
    """
    if str(device).partition(":")[0] == "mps":
        raise InputError(
            "device mps: sr3d does not run on Apple GPUs; use device cpu", field="device"
        )
