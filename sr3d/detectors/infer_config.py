"""Infers the configuration of a checkpoint from its shapes and its metadata."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from sr3d.config import Config, OwnData
from sr3d.data.datasets import DATASETS
from sr3d.detectors import FAMILIES, build_detector
from sr3d.detectors.base import Detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.family import CheckpointFormat
from sr3d.detectors.weights import Checkpoint, put_weights
from sr3d.errors import InputError, Kind

_log = logging.getLogger(__name__)


def infer_config(
    checkpoint: Checkpoint,
    dataset: str | None = None,
    network: str | None = None,
    overrides: Sequence[str] = (),
) -> Config:
    """The configuration of a checkpoint's network.

    dataset, network: known to the caller. overrides: applied last. Our own files hold the whole
    configuration. For other files, kind and widths of the network follow from names and shapes, the
    data set from the classes or their number, and the voxel size from the training configuration,
    if the file has it. The other values are the data set's defaults.

    Raises:
        InputError: an unknown family, a contradiction, or classes of no known data set.
    """
    if checkpoint.config is not None:
        _agree(checkpoint, "model", network, checkpoint.config.model.name)
        _agree(checkpoint, "dataset", dataset, checkpoint.config.dataset)
        return with_overrides(checkpoint.config, overrides)
    found, published = _family_of(checkpoint)
    _agree(checkpoint, "model", network, found)
    try:
        shown = published.infer(checkpoint.weights)
    except KeyError as missing:
        raise _of_no_family(checkpoint, f"no {missing.args[0]}") from None
    except IndexError:
        raise _of_no_family(checkpoint, "weights of too few axes") from None
    name = dataset or _dataset_of(checkpoint, shown.classes, shown.rotated)
    config = default_config(name, _own(checkpoint, shown.rotated) if name == "own" else OwnData())
    size = () if checkpoint.voxel_size is None else (f"model.voxel_size={checkpoint.voxel_size}",)
    preset = f"model={shown.preset or found}"
    return with_overrides(config, [preset, *shown.overrides, *size, *overrides])


def load_model(checkpoint: Checkpoint, config: Config) -> Detector[Any, Any]:
    """The network with its weights.

    Raises:
        InputError: they do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_detector(config)
    put_weights(model, checkpoint)
    trained, known = checkpoint.classes, model.classes
    if trained is not None and trained != tuple(known):
        _log.warning(
            "%s: was trained on the classes %s, but labels are printed as classes of %s: %s",
            checkpoint.path, ", ".join(trained), config.dataset, ", ".join(known),
        )  # fmt: skip
    return model


def _family_of(checkpoint: Checkpoint) -> tuple[str, CheckpointFormat]:
    for name, family in FAMILIES.items():
        known = family.checkpoints
        if known and known.recognises(checkpoint.weights.keys()):
            return name, known
    raise _of_no_family(checkpoint, "no weights of a known head")


def _of_no_family(checkpoint: Checkpoint, what: str) -> InputError:
    titles = " and no ".join(family.title for family in FAMILIES.values())
    first = next(iter(checkpoint.weights), "none")
    return InputError(
        f"has {what}, so it is no {titles}. Its first weight is {first}",
        file=checkpoint.path,
        kind=Kind.CONFLICT,
    )


def _dataset_of(checkpoint: Checkpoint, classes: int, rotated: bool) -> str:
    """The data set of the file's classes, else the one with as many classes and box values."""
    for dataset in DATASETS.values():
        same = (
            len(dataset.classes) == classes
            if checkpoint.classes is None
            else dataset.classes == checkpoint.classes
        )
        if same and dataset.rotated == rotated:
            return dataset.name
    if checkpoint.classes is not None:
        return "own"
    turned = "rotated" if rotated else "axis-aligned"
    raise InputError(
        f"no data set has {classes} classes and {turned} boxes",
        file=checkpoint.path,
        kind=Kind.UNKNOWN,
        remedy="Name one with --dataset.",
    )


def _own(checkpoint: Checkpoint, rotated: bool) -> OwnData:
    """`OwnData` without levels, which a file does not hold and only training needs."""
    if checkpoint.classes is None:
        raise InputError(
            "names no classes, so it cannot be of --dataset own",
            file=checkpoint.path,
            kind=Kind.MISSING,
        )
    return OwnData(checkpoint.classes, rotated=rotated)


def _agree(checkpoint: Checkpoint, what: str, given: str | None, found: str) -> None:
    if given not in (None, found):
        raise InputError(
            f"--{what} {given}: {checkpoint.path} is of {found}",
            kind=Kind.CONFLICT,
            remedy=f"Leave --{what} out.",
        )
