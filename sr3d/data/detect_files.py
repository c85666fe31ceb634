"""JSON files of one scan each as the entries of a file of detections.

`sr3d detect` writes such files, and so do mmdetection3d's inferencers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sr3d.checked import Checked
from sr3d.config import did_you_mean
from sr3d.data.mmdet3d.results import result_entries
from sr3d.data.own.labels import numbers
from sr3d.data.own.ours import read_ours
from sr3d.data.scans.frame import UNITS, Frame, turn_upright
from sr3d.errors import InputError
from sr3d.runs.files import read_json

_LOW = 0.05  # the least score that leaves average precision about what it is
_log = logging.getLogger(__name__)


def read_detect_folder(folder: Path, classes: Sequence[str]) -> dict[str, Any]:
    """The detections of all such files in a folder, at any depth. Other JSON files are passed over.

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
            f"{folder}: has no JSON file of `sr3d detect` in it; name the folder that its --out "
            "named, or a file of detections"
        )
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def _is_ours(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("detections"), list)


def _is_inferred(value: Any) -> bool:
    return isinstance(value, dict) and {"bboxes_3d", "scores_3d", "labels_3d"} <= value.keys()


def detect_entries(path: Path, value: Any, classes: Sequence[str]) -> dict[str, Any]:
    """`scene`, `label`, `score` and `box` of one file, the boxes in upright metres. `scenes` has
    the scan even where nothing was found in it.

    Raises:
        InputError: no such file, a class that is not among `classes`, or another wrong field.
    """
    if _is_inferred(value):
        return _inferred(path, value)
    if not _is_ours(value):
        raise InputError(
            f"{path}: is no file that `sr3d detect` wrote (no list `detections`); "
            "docs/file_formats.md shows what is read"
        )
    checked = Checked(value, f"{path}:")
    scene = checked.get("file").text() if checked.has("file") else path.stem
    frame = _frame(checked)
    labels = read_ours(checked)
    boxes = [label.placed(frame) for label in labels]
    for label in labels:
        if label.name not in classes:
            raise InputError(
                f"{label.where}: unknown class '{label.name}'"
                f"{did_you_mean(label.name, list(classes))}; name the data set that the model "
                "knows with --dataset"
            )
    items = checked.get("detections").items()
    if isinstance(least := value.get("score_thr"), int | float) and least > _LOW:
        _log.warning(
            "%s: has only boxes that score %g or more, which lowers average precision; detect with "
            "--score-thr 0.01 for all of them", path, least,
        )  # fmt: skip
    return {
        "scene": [scene] * len(labels),
        "label": [list(classes).index(label.name) for label in labels],
        "score": [item.get("score").real() for item in items],
        "box": [box.tolist() for box in boxes],
        "scenes": [scene],
    }


def _inferred(path: Path, value: Any) -> dict[str, Any]:
    """Of mmdetection3d's inferencers, whose boxes are tensors of mmdet3d, with the bottom's z."""
    if str(value.get("box_type_3d", "Depth")) == "Camera":
        raise InputError(
            f"{path}: box_type_3d is Camera; convert the boxes with convert_to(Box3DMode.DEPTH)"
        )
    entries = result_entries(path, [{**value, "sample_idx": path.stem}])
    for box in entries["box"]:
        box[2] += box[5] / 2
    return entries


def _frame(checked: Checked) -> Frame:
    """The upright frame of the scan, as `sr3d prepare` makes it, whatever else detect turned."""
    if not checked.has("frame"):
        return Frame()
    frame = checked.get("frame")
    up = frame.get("up").text()
    origin = numbers(frame.get("origin"), 3)
    return Frame(up, frame.get("unit").name(list(UNITS)), turn_upright(up), origin)
