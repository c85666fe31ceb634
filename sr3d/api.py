"""The Python entry point: `sr3d.load`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sr3d.config import config_from_dict, default_config, did_you_mean
from sr3d.errors import InputError
from sr3d.models.detector import Detector, build_detector
from sr3d.models.weights import load_weights
from sr3d.records import MODEL_FILE, RUN_FILE, read_run

# The overrides of each network's configuration; SR3D is TR3D's network, trained differently.
MODELS = {"sr3d": ["model=tr3d"], "tr3d": ["model=tr3d"], "fcaf3d": ["model=fcaf3d"]}

# Trainings that come with the package, each in its folder with a card.
PRETRAINED = Path(__file__).parent / "pretrained"
PRETRAINED_MODELS = ("sr3d_rooms",)


def load(
    name: str,
    dataset: str | None = None,
    checkpoint: str | Path | None = None,
    device: str = "cpu",
) -> Detector[Any]:
    """A detector in evaluation mode.

    name: `sr3d` or `tr3d` (the same network, trained differently), `fcaf3d`; `sr3d_rooms`, a small
    SR3D that comes with the package, trained on procedural rooms (see its card in
    `sr3d/pretrained`); or the folder of a training, which knows its data set and weights.
    dataset: whose classes and box coding; `scannet` by default.
    checkpoint: weights, ours (`.safetensors`) or a `.pth` in mmdet3d's or SamsungLabs' naming;
    without one they are random, from seed 0.

    Raises:
        InputError: unknown name or data set, or weights that do not fit.
    """
    folder = PRETRAINED / name if name in PRETRAINED_MODELS else Path(name)
    if (folder / RUN_FILE).is_file():
        config = config_from_dict(read_run(folder).config)
        checkpoint = checkpoint or folder / MODEL_FILE
    elif name in MODELS:
        config = default_config(dataset or "scannet").with_overrides(MODELS[name])
    else:
        known = [*MODELS, *PRETRAINED_MODELS]
        raise InputError(f"unknown model '{name}'{did_you_mean(name, known)}, or a run's folder")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_detector(config)
    if checkpoint is not None:
        load_weights(model, checkpoint)
    return model.to(device).eval()
