"""The model that `sr3d detect` uses: from a training's folder, from weights, or the package's."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sr3d.api import MODELS, PRETRAINED, PRETRAINED_MODELS, load
from sr3d.config import Config, config_from_dict, default_config
from sr3d.data.datasets import DATASETS
from sr3d.detection import ModelFacts, ScanDetector
from sr3d.errors import InputError
from sr3d.models.detector import Detector
from sr3d.models.tr3d import TR3D
from sr3d.models.weights import read_weights
from sr3d.records import MODEL_FILE, RUN_FILE, read_run

_REMEDY = "name a training's folder or a checkpoint (.safetensors, .pth)"
_log = logging.getLogger(__name__)


def choose_model(args: argparse.Namespace) -> tuple[Detector[Any], ModelFacts]:
    """By --model, --dataset and --device.

    Raises:
        InputError: no such model, or one that would have random weights.
    """
    name = args.model or PRETRAINED_MODELS[0]
    if args.model is None and not args.demo:
        _log.warning(
            "no --model was given; the one in the package, %s, has seen procedural rooms alone",
            name,
        )
    if name in MODELS and not Path(name).exists():
        raise InputError(f"--model {name}: has random weights, whose boxes mean nothing; {_REMEDY}")
    path = PRETRAINED / name if name in PRETRAINED_MODELS else Path(name)
    if path.is_dir():
        return _trained(path, args.dataset, args.device)
    if path.is_file():
        return _checkpoint(path, args.dataset, args.device)
    raise InputError(f"--model {name}: no such file or folder; {_REMEDY}")


def runner_of(model: Detector[Any], compiled: bool) -> ScanDetector:
    """The detector itself, or its inference runner.

    Raises:
        InputError: a detector that has none.
    """
    if not compiled:
        return model
    if not isinstance(model, TR3D):
        raise InputError(f"--compile: {type(model).__name__} has no inference runner; leave it out")
    try:
        return model.compile()
    except NotImplementedError as error:
        raise InputError(f"--compile: {error}; leave it out") from None


def _trained(folder: Path, dataset: str | None, device: str) -> tuple[Detector[Any], ModelFacts]:
    if not (folder / RUN_FILE).is_file():
        raise InputError(f"--model {folder}: has no {RUN_FILE}, so it is no training; {_REMEDY}")
    run = read_run(folder)
    config = config_from_dict(run.config)
    if dataset not in (None, config.dataset):
        raise InputError(f"--dataset {dataset}: {folder} was trained on {config.dataset}")
    return load(str(folder), device=device), _facts(run.key, config, str(folder / MODEL_FILE))


def _checkpoint(path: Path, dataset: str | None, device: str) -> tuple[Detector[Any], ModelFacts]:
    weights = read_weights(path)
    name = "fcaf3d" if any("conv_center" in key for key in weights) else "tr3d"
    dataset = dataset or _dataset_of(weights, path)
    config = default_config(dataset).with_overrides(MODELS[name])
    return load(name, dataset, path, device), _facts(name, config, str(path))


def _dataset_of(weights: Mapping[str, Tensor], path: Path) -> str:
    """The one whose number of classes, and of values of a box, the head has."""
    found = [w.shape[-1] for key in ("conv_cls.kernel", "conv_reg.kernel")
             for name, w in weights.items() if name == f"bbox_head.{key}"]  # fmt: skip
    for dataset in DATASETS.values():
        if found == [len(dataset.classes), 8 if dataset.rotated else 6]:
            return dataset.name
    raise InputError(f"{path}: fits the classes of no data set; name one with --dataset")


def _facts(name: str, config: Config, weights: str) -> ModelFacts:
    return ModelFacts(name, config.dataset, weights, config.digest())
