"""The configuration that a run on a prepared folder starts from, before settings and overrides."""

from __future__ import annotations

from pathlib import Path

from sr3d.config import Config
from sr3d.config_groups import OwnData
from sr3d.data.datasets import coarse_classes
from sr3d.data.prepared import PreparedDataset
from sr3d.detectors.configuration import default_config
from sr3d.errors import InputError, Kind


def starting_config(dataset: str, data: Path, split: str) -> Config:
    """The default configuration of a data set. For own data, with the facts of the prepared folder.

    split: of the training scenes.

    Raises:
        InputError: an unknown data set, data that are not prepared, or data that are not own data.
    """
    return default_config(dataset, own_data(data, split) if dataset == "own" else OwnData())


def own_data(data: Path, split: str) -> OwnData:
    """The facts about a prepared folder of own scans.

    Raises:
        InputError: it is not prepared, has another data set, or has no such split.
    """
    scenes = PreparedDataset(data, split)
    manifest = scenes.manifest
    if manifest.dataset != "own":
        raise InputError(
            f"holds '{manifest.dataset}'",
            file=data,
            kind=Kind.CONFLICT,
            remedy=f"Pass --dataset {manifest.dataset}.",
        )
    levels = coarse_classes(scenes.without_points(), len(manifest.classes))
    return OwnData(tuple(manifest.classes), levels, manifest.rotated, len(scenes))
