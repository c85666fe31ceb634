"""The model of `sr3d detect`: a training run, a checkpoint, or the packaged model."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from sr3d.api import find_source
from sr3d.cli.inputs import find_model
from sr3d.deploy.detection import ModelFacts
from sr3d.detectors import Detector
from sr3d.runs.pretrained import PRETRAINED_MODELS

_log = logging.getLogger(__name__)


def choose_model(args: argparse.Namespace) -> tuple[Detector[Any, Any], ModelFacts]:
    """The model of --model, --dataset and --device.

    Raises:
        InputError: the model does not exist, or would have random weights.
    """
    name = args.model or PRETRAINED_MODELS[0]
    if args.model is None and not args.demo:
        _log.warning(
            "no --model was given: the packaged model %s was trained on procedural rooms only",
            name,
        )
    find_model(name, "--model")
    source = find_source(name, args.dataset)
    assert source.checkpoint is not None
    weights = str(source.checkpoint.path)
    facts = ModelFacts(source.name, source.config.dataset, weights, source.config.digest())
    return source.detector().to(args.device).eval(), facts
