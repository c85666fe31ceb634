"""The model that `sr3d detect` uses: from a training's folder, from weights, or the package's."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from sr3d.api import PRETRAINED, PRETRAINED_MODELS, find_source
from sr3d.deploy.detection import ModelFacts
from sr3d.detectors import NETWORKS, Detector
from sr3d.errors import InputError
from sr3d.runs.record import RUN_FILE

_REMEDY = "name a training's folder or a checkpoint (.safetensors, .pth)"
_log = logging.getLogger(__name__)


def choose_model(args: argparse.Namespace) -> tuple[Detector[Any, Any], ModelFacts]:
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
    if name in NETWORKS and not Path(name).exists():
        raise InputError(f"--model {name}: has random weights, whose boxes mean nothing; {_REMEDY}")
    path = PRETRAINED / name if name in PRETRAINED_MODELS else Path(name)
    if path.is_dir() and not (path / RUN_FILE).is_file():
        raise InputError(f"--model {path}: has no {RUN_FILE}, so it is no training; {_REMEDY}")
    if not path.exists():
        raise InputError(f"--model {name}: no such file or folder; {_REMEDY}")
    source = find_source(name, args.dataset)
    assert source.checkpoint is not None
    weights = str(source.checkpoint.path)
    facts = ModelFacts(source.name, source.config.dataset, weights, source.config.digest())
    return source.detector().to(args.device).eval(), facts
