"""Detections in JSON files, one per scan, of `sr3d detect` and mmdetection3d's inferencers."""

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

_LOW = 0.05  # a score threshold up to this hardly changes average precision
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
    """The fields that `read_ours` does not read."""

    detections: tuple[_Scored, ...]
    file: LeftOut[str] = None
    frame: LeftOut[_DetectFrame] = None


def read_detect_folder(folder: Path, classes: Sequence[str]) -> dict[str, Any]:
    """The detections of all such files in a folder, at any depth. Other JSON files are skipped.

    Raises:
        InputError: there is none, or one is wrong. Names the field.
    """
    files = sorted(folder.rglob("*.json"))
    parts = [
        detect_entries(path, value, classes)
        for path in files
        if _is_ours(value := read_json(path)) or _is_inferred(value)
    ]
    if not parts:
        raise InputError(
            "contains no JSON file of `sr3d detect`",
            file=folder,
            kind=Kind.EMPTY,
            remedy="Pass the --out folder of `sr3d detect`, or a file of detections.",
        )
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def _is_ours(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("detections"), list)


def _is_inferred(value: Any) -> bool:
    return isinstance(value, dict) and {"bboxes_3d", "scores_3d", "labels_3d"} <= value.keys()


def detect_entries(path: Path, value: Any, classes: Sequence[str]) -> dict[str, Any]:
    """`scene`, `label`, `score` and `box` of one file, with boxes in upright metres. `scenes` has
    the scan even without detections.

    Raises:
        InputError: another kind of file, a class that is not among `classes`, or a wrong field.
    """
    if _is_inferred(value):
        return _inferred(path, value)
    if not _is_ours(value):
        raise InputError(
            "is not a file of `sr3d detect` (no list `detections`)",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="docs/file_formats.md lists the formats.",
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
                "With --dataset, name the data set whose classes the model knows.",
            )
    if isinstance(least := value.get("score_thr"), int | float) and least > _LOW:
        _log.warning(
            "%s: has only boxes with scores of at least %g, which lowers average precision. For "
            "all boxes, detect with --score-thr 0.01", path, least,
        )  # fmt: skip
    return {
        "scene": [scene] * len(labels),
        "label": [list(classes).index(label.name) for label in labels],
        "score": [one.score for one in file.detections],
        "box": [box.tolist() for box in boxes],
        "scenes": [scene],
    }


def _inferred(path: Path, value: Any) -> dict[str, Any]:
    """The entries of mmdetection3d's inferencers, whose z is that of the bottom face."""
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
    """The upright frame of the scan, as in `sr3d prepare`, without further rotations of detect."""
    up = " ".join(frame.up.split())
    return Frame(up, frame.unit, turn_upright(up), np.array(frame.origin))
