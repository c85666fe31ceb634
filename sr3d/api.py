"""The Python entry point: `sr3d.load`, and the types that it returns.

model = sr3d.load("model.safetensors")             # a Detector
boxes, scores, labels = model.detect(points, colors)  # Detections
names = [model.classes[label] for label in labels]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sr3d.config import Config
from sr3d.detectors import NETWORKS, build_detector
from sr3d.detectors.base import Detector
from sr3d.detectors.configuration import config_from_dict, default_config, with_overrides
from sr3d.detectors.infer_config import infer_config, load_model
from sr3d.detectors.outputs import Detections
from sr3d.detectors.weights import Checkpoint, read_checkpoint
from sr3d.errors import InputError, Kind
from sr3d.runs.devices import refuse_apple_gpu
from sr3d.runs.pretrained import PRETRAINED, PRETRAINED_MODELS
from sr3d.runs.record import MODEL_FILE, RUN_FILE, read_training, run_file
from sr3d.validation import did_you_mean

__all__ = [
    "PRETRAINED",
    "PRETRAINED_MODELS",
    "Detections",
    "Detector",
    "InputError",
    "ModelSource",
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
    """Load a detector in evaluation mode.

    name: one of
        - a file of weights (our `.safetensors`, or a `.pth` that a detector's original wrote),
        - the folder of a training run,
        - `sr3d_rooms`, a small SR3D in the package, trained on procedural rooms (see its card in
          `sr3d/pretrained`),
        - a network (`sr3d.detectors.NETWORKS`), with the weights of `checkpoint`.
    dataset: for the classes and the box coding, if the weights do not name it. The default of an
    untrained network is `scannet`.
    untrained: return the network with random weights from seed 0. Its boxes are meaningless.

    Raises:
        InputError: unknown name or data set, no weights, weights that do not fit, or device `mps`.
    """
    refuse_apple_gpu(device)
    source = find_source(name, dataset, checkpoint)
    if source.checkpoint is None and not untrained:
        raise InputError(
            f"'{name}' is a network without weights",
            field="model",
            kind=Kind.EMPTY,
            remedy="Pass a checkpoint, or name the folder of a training run, a file of weights, or "
            f"{PRETRAINED_MODELS[0]}. For random weights, pass untrained=True.",
        )
    if source.checkpoint is not None and untrained:
        raise InputError(
            f"'{name}' has weights", field="untrained", kind=Kind.CONFLICT, remedy="Leave it out."
        )
    return source.detector().to(device).eval()


@dataclass(frozen=True)
class ModelSource:
    """The origin of a detector. checkpoint: None for random weights."""

    name: str
    config: Config
    checkpoint: Checkpoint | None

    def detector(self) -> Detector[Any, Any]:
        """The detector with its weights.

        Raises:
            InputError: the weights do not fit.
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
) -> ModelSource:
    """The source of a detector for `load`. network, overrides: for files that lack them, see
    `infer_config`.

    The engine is always the native one, because weights do not depend on the engine.

    Raises:
        InputError: unknown name or data set, a contradiction, or an unreadable file.
    """
    overrides = ["model.engine=native", *(overrides or [])]
    folder = PRETRAINED / name if name in PRETRAINED_MODELS else Path(name)
    if (folder / RUN_FILE).is_file():
        run = read_training(folder)
        if dataset not in (None, run.dataset):
            raise InputError(
                f"was trained on {run.dataset}, not on {dataset}",
                file=folder,
                field="--dataset",
                kind=Kind.CONFLICT,
                remedy="Leave it out.",
            )
        config = with_overrides(config_from_dict(run.config), overrides)
        weights = checkpoint or run_file(folder, run, MODEL_FILE)
        return ModelSource(run.key, config, read_checkpoint(weights))
    if folder.is_file():
        if checkpoint is not None:
            raise InputError(
                f"a second file of weights beside {folder}",
                file=checkpoint,
                field="checkpoint",
                kind=Kind.CONFLICT,
                remedy="Leave it out.",
            )
        checkpoint = folder
    elif name in NETWORKS:
        network = NETWORKS[str(name)]
    else:
        known = [*NETWORKS, *PRETRAINED_MODELS]
        hint = did_you_mean(str(name), known)
        raise InputError(
            f"unknown model '{name}'{hint}",
            field="model",
            kind=Kind.UNKNOWN,
            remedy="Name the folder of a training run, or a file of weights.",
        )
    if checkpoint is None:
        config = with_overrides(default_config(dataset or "scannet"), [f"model={network}"])
        return ModelSource(str(name), with_overrides(config, overrides), None)
    read = read_checkpoint(checkpoint)
    config = infer_config(read, dataset, network, overrides)
    return ModelSource(config.model.name, config, read)
