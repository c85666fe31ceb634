"""Detections in JSON files of one scan each, of `sr3d detect` and mmdetection3d's inferencers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sr3d.data.mmdet3d.dumped_results import result_entries
from sr3d.data.own.labels import FilePlace, FileValue, Triple, Unit
from sr3d.data.own.ours import read_ours
from sr3d.data.scans.frame import Frame, turn_upright
from sr3d.errors import InputError, Kind
from sr3d.runs.files import read_json
from sr3d.validation import did_you_mean
from sr3d.value_types import Foreign, LeftOut

_LOW = 0.05  # the least score that leaves average precision about what it is
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _DetectFrame(Foreign):
    up: str
    unit: Unit
    origin: Triple


@dataclass(frozen=True)
class _Scored(Foreign):
    score: float


@dataclass(frozen=True)
class _DetectFile(Foreign):
    """What `read_ours` does not read."""

    detections: tuple[_Scored, ...]
    file: LeftOut[str] = None
    frame: LeftOut[_DetectFrame] = None


def read_detect_folder(folder: Path, classes: Sequence[str]) -> dict[str, Any]:
    """The detections of all such files in a folder, at any depth. Other JSON files are skipped.

    Raises:
        InputError: there is none, or one is wrong; names the field.
    """
    files = sorted(folder.rglob("*.json"))
    parts = [
        detect_entries(path, value, classes)
        for path in files
        if _is_ours(value := read_json(path)) or _is_inferred(value)
    ]
    if not parts:
        raise InputError(
            "has no JSON file of `sr3d detect` in it",
            file=folder,
            kind=Kind.EMPTY,
            remedy="Name the folder that its --out named, or a file of detections.",
        )
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def _is_ours(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("detections"), list)


def _is_inferred(value: Any) -> bool:
    return isinstance(value, dict) and {"bboxes_3d", "scores_3d", "labels_3d"} <= value.keys()


def detect_entries(path: Path, value: Any, classes: Sequence[str]) -> dict[str, Any]:
    """`scene`, `label`, `score` and `box` of one file, the boxes in upright metres. `scenes` has
    the scan even if nothing was detected.

    Raises:
        InputError: no such file, a class that is not among `classes`, or another wrong field.
    """
    if _is_inferred(value):
        return _inferred(path, value)
    if not _is_ours(value):
        raise InputError(
            "is no file that `sr3d detect` wrote (no list `detections`)",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="docs/file_formats.md shows what is read.",
        )
    whole = FileValue(value, FilePlace(path))
    file = whole.read(_DetectFile, value)
    scene = path.stem if file.file is None else " ".join(file.file.split())
    frame = Frame() if file.frame is None else _upright(file.frame)
    labels = read_ours(whole)
    boxes = [label.placed(frame) for label in labels]
    for label in labels:
        if label.name not in classes:
            raise label.place.error(
                f"unknown class '{label.name}'{did_you_mean(label.name, list(classes))}",
                Kind.UNKNOWN,
                "Name the data set that the model knows with --dataset.",
            )
    if isinstance(least := value.get("score_thr"), int | float) and least > _LOW:
        _log.warning(
            "%s: has only boxes that score %g or more, which lowers average precision; detect with "
            "--score-thr 0.01 for all of them", path, least,
        )  # fmt: skip
    return {
        "scene": [scene] * len(labels),
        "label": [list(classes).index(label.name) for label in labels],
        "score": [one.score for one in file.detections],
        "box": [box.tolist() for box in boxes],
        "scenes": [scene],
    }


def _inferred(path: Path, value: Any) -> dict[str, Any]:
    """The entries of mmdetection3d's inferencers, whose boxes have the z of their bottom face."""
    if str(value.get("box_type_3d", "Depth")) == "Camera":
        raise InputError(
            "box_type_3d is Camera",
            file=path,
            kind=Kind.VALUE,
            remedy="Convert the boxes with convert_to(Box3DMode.DEPTH).",
        )
    entries = result_entries(path, [{**value, "sample_idx": path.stem}])
    for box in entries["box"]:
        box[2] += box[5] / 2
    return entries


def _upright(frame: _DetectFrame) -> Frame:
    """The upright frame of the scan, as in `sr3d prepare`, without detect's other rotations."""
    up = " ".join(frame.up.split())
    return Frame(up, frame.unit, turn_upright(up), np.array(frame.origin))
