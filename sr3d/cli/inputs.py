"""Check paths before a verb imports torch or loads a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sr3d.config_groups import DATASETS
from sr3d.detectors import FAMILIES
from sr3d.errors import InputError, Kind
from sr3d.runs.pretrained import PRETRAINED, PRETRAINED_MODELS
from sr3d.runs.record import RUN_FILE
from sr3d.validation import did_you_mean

_MANIFEST = "manifest.json"  # copied from `sr3d.data.prepared`, which imports torch
_WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".tar")
_MODEL_REMEDY = "Name the folder of a training run or a checkpoint (.safetensors, .pth)."


def check_file(path: Path, option: str, remedy: str, suffixes: Sequence[str] | None = None) -> None:
    """Refuse a file that is absent, is a folder, or has another suffix.

    Raises:
        InputError: in each case.
    """
    if not path.is_file():
        problem = "is a folder, not a file" if path.is_dir() else "no such file"
        kind = Kind.UNREADABLE if path.is_dir() else Kind.MISSING
        raise InputError(problem, file=path, field=option, kind=kind, remedy=remedy)
    if suffixes is not None and path.suffix not in suffixes:
        problem = f"'{path.suffix}' is not among the formats {', '.join(suffixes)}"
        raise InputError(problem, file=path, field=option, kind=Kind.UNREADABLE, remedy=remedy)


def check_folder(path: Path, option: str, remedy: str) -> None:
    """Refuse a folder that is absent, or is a file.

    Raises:
        InputError: in either case.
    """
    if not path.is_dir():
        problem = "is a file, not a folder" if path.is_file() else "no such folder"
        kind = Kind.UNREADABLE if path.is_file() else Kind.MISSING
        raise InputError(problem, file=path, field=option, kind=kind, remedy=remedy)


def check_dataset(name: str) -> None:
    """Refuse an unknown data set.

    Raises:
        InputError: names the nearest known data set.
    """
    if name not in DATASETS:
        problem = f"unknown data set '{name}'{did_you_mean(name, DATASETS)}"
        raise InputError(problem, field="--dataset", kind=Kind.UNKNOWN)


def check_prepared(folder: Path, option: str = "--data") -> None:
    """Refuse a folder without a prepared data set.

    Raises:
        InputError: the folder is absent, or has no manifest.
    """
    remedy = "Make a prepared folder with `sr3d prepare`, or name an existing one."
    check_folder(folder, option, remedy)
    if not (folder / _MANIFEST).is_file():
        problem = f"has no {_MANIFEST}, so it is not a prepared data set"
        raise InputError(problem, file=folder, field=option, kind=Kind.EMPTY, remedy=remedy)


def check_run(folder: Path, option: str) -> None:
    """Refuse a folder without the record of a training run.

    Raises:
        InputError: the folder is absent, or has no record.
    """
    remedy = "Name a folder that `sr3d train` wrote."
    check_folder(folder, option, remedy)
    if not (folder / RUN_FILE).is_file():
        problem = f"has no {RUN_FILE}, so it is not a training run"
        raise InputError(problem, file=folder, field=option, kind=Kind.EMPTY, remedy=remedy)


def find_model(name: str, option: str) -> Path:
    """The folder of a training run, or the checkpoint, for a name.

    Raises:
        InputError: the path is absent, of an unknown format, or not a training run, or the name
            belongs to a network without weights.
    """
    if name in PRETRAINED_MODELS:
        return PRETRAINED / name
    path = Path(name)
    if path.is_dir():
        check_run(path, option)
        return path
    if name in ("sr3d", *FAMILIES) and not path.exists():
        problem, kind = "has random weights, so its boxes are meaningless", Kind.EMPTY
    elif not path.exists():
        problem, kind = "no such file or folder", Kind.MISSING
    elif path.suffix.lower() not in _WEIGHTS:
        problem, kind = f"'{path.suffix}' is not a format of weights", Kind.UNREADABLE
    else:
        return path
    raise InputError(problem, file=path, field=option, kind=kind, remedy=_MODEL_REMEDY)


def check_output_folder(path: Path, option: str = "--out") -> None:
    """Refuse a folder that cannot be made or written. Nothing is made.

    Raises:
        InputError: a file is in the way, or the permission is missing.
    """
    nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not nearest.is_dir():
        problem = f"cannot be written, because {nearest} is a file"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        problem = f"cannot be written, because {nearest} is write-protected"
    else:
        return
    remedy = "Name a folder that you may write."
    raise InputError(problem, file=path, field=option, kind=Kind.UNWRITABLE, remedy=remedy)


def check_output_file(path: Path, option: str) -> None:
    """Refuse a file that cannot be written. Nothing is made.

    Raises:
        InputError: its folder cannot be written, or a folder has its name.
    """
    if path.is_dir():
        remedy = "Name a file."
        raise InputError(
            "is a folder", file=path, field=option, kind=Kind.UNWRITABLE, remedy=remedy
        )
    check_output_folder(path.parent, option)
