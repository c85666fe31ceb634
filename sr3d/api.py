"""The Python entry point: `sr3d.load`, and the types that what it returns has.

model = sr3d.load("model.safetensors")             # a Detector
boxes, scores, labels = model.detect(points, colors)  # Detections
names = [model.classes[label] for label in labels]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sr3d.config import Config, config_from_dict, default_config, did_you_mean
from sr3d.detectors import NETWORKS, Detections, Detector, build_detector
from sr3d.detectors.infer_config import load_model, recognise
from sr3d.detectors.weights import Checkpoint, read_checkpoint
from sr3d.errors import InputError, Kind
from sr3d.model_names import PRETRAINED, PRETRAINED_MODELS, refuse_apple_gpu
from sr3d.runs.record import MODEL_FILE, RUN_FILE, read_run, run_file

__all__ = [
    "PRETRAINED",
    "PRETRAINED_MODELS",
    "Detections",
    "Detector",
    "InputError",
    "Source",
    "find_source",
    "load",
]


def load(
    name: str | Path,
    dataset: str | None = None,
    checkpoint: str | Path | None = None,
    device: str = "cpu",
    untrained: bool = False,
) -> Detector[Any, Any]:
    """A detector in evaluation mode.

    name: a file of weights (`.safetensors` of ours; `.pth` of mmdetection3d or SamsungLabs); the
    folder of a training; `sr3d_rooms`, a small SR3D that comes with the package, trained on
    procedural rooms (see its card in `sr3d/pretrained`); or a network (`sr3d.detectors.NETWORKS`),
    with the weights of `checkpoint`.
    dataset: whose classes and box coding, if the weights do not say; of an untrained network,
    `scannet` by default.
    untrained: give the network of that name with random weights, from seed 0. Its boxes mean
    nothing.

    Raises:
        InputError: unknown name or data set, no weights, weights that do not fit, or device `mps`.
    """
    refuse_apple_gpu(device)
    source = find_source(name, dataset, checkpoint)
    if source.checkpoint is None and not untrained:
        raise InputError(
            "is a network without weights",
            field=str(name),
            kind=Kind.VALUE,
            remedy="Name a training's folder, a file of weights or "
            f"{PRETRAINED_MODELS[0]}, or pass untrained=True for random weights.",
        )
    if source.checkpoint is not None and untrained:
        raise InputError(
            "has weights", field=str(name), kind=Kind.VALUE, remedy="Leave out untrained=True."
        )
    return source.detector().to(device).eval()


@dataclass(frozen=True)
class Source:
    """Where a detector is from. checkpoint: None for random weights."""

    name: str
    config: Config
    checkpoint: Checkpoint | None

    def detector(self) -> Detector[Any, Any]:
        """Built, with its weights.

        Raises:
            InputError: they do not fit.
        """
        if self.checkpoint is not None:
            return load_model(self.checkpoint, self.config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build_detector(self.config)


def find_source(
    name: str | Path,
    dataset: str | None = None,
    checkpoint: str | Path | None = None,
    network: str | None = None,
    overrides: list[str] | None = None,
) -> Source:
    """What `load` builds. network, overrides: of a file that does not tell; see `recognise`.

    The engine is the native one, whatever trained, for weights are the same with any.

    Raises:
        InputError: unknown name or data set, a contradiction, or an unreadable file.
    """
    overrides = ["model.engine=native", *(overrides or [])]
    folder = PRETRAINED / name if name in PRETRAINED_MODELS else Path(name)
    if (folder / RUN_FILE).is_file():
        run = read_run(folder)
        if dataset not in (None, run.dataset):
            raise InputError(
                f"{folder} was trained on {run.dataset}",
                field=f"--dataset {dataset}",
                kind=Kind.CONFLICT,
            )
        config = config_from_dict(run.config).with_overrides(overrides)
        weights = checkpoint or run_file(folder, run, MODEL_FILE)
        return Source(run.key, config, read_checkpoint(weights))
    if folder.is_file():
        if checkpoint is not None:
            raise InputError(
                f"a second file of weights beside {folder}",
                file=checkpoint,
                kind=Kind.CONFLICT,
                remedy="Name one.",
            )
        checkpoint = folder
    elif name in NETWORKS:
        network = NETWORKS[str(name)]
    else:
        known = [*NETWORKS, *PRETRAINED_MODELS]
        hint = did_you_mean(str(name), known)
        raise InputError(
            f"unknown model '{name}'{hint}, a file of weights, or a run's folder", kind=Kind.UNKNOWN
        )
    if checkpoint is None:
        config = default_config(dataset or "scannet").with_overrides([f"model={network}"])
        return Source(str(name), config.with_overrides(overrides), None)
    read = read_checkpoint(checkpoint)
    config = recognise(read, dataset, network, overrides)
    return Source(config.model.name, config, read)
