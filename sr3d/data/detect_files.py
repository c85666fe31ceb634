"""Files of `sr3d detect` as the entries of a file of detections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sr3d.checked import Checked
from sr3d.config import did_you_mean
from sr3d.data.own.labels import numbers
from sr3d.data.own.ours import read_ours
from sr3d.data.scans.frame import UNITS, Frame, turn_upright
from sr3d.errors import InputError
from sr3d.files import read_json


def is_detect_file(value: Any) -> bool:
    """Whether it is the content of a file of `sr3d detect`."""
    return isinstance(value, dict) and isinstance(value.get("detections"), list)


def read_detect_folder(folder: Path, classes: Sequence[str]) -> dict[str, Any]:
    """The detections of all files of `sr3d detect` in a folder, at any depth.

    Raises:
        InputError: there is none, or one is wrong; names the field.
    """
    files = sorted(folder.rglob("*.json"))
    parts = [
        detect_entries(path, value, classes)
        for path in files
        if is_detect_file(value := read_json(path))
    ]
    if not parts:
        raise InputError(
            f"{folder}: has no JSON file of `sr3d detect` in it; name the folder that its --out "
            "named, or a file of detections"
        )
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def detect_entries(path: Path, value: Any, classes: Sequence[str]) -> dict[str, Any]:
    """`scene`, `label`, `score` and `box` of one file, the boxes in upright metres. `scenes` has
    the scan even where nothing was found in it.

    Raises:
        InputError: a class that is not among `classes`, no score, or another wrong field.
    """
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
    return {
        "scene": [scene] * len(labels),
        "label": [list(classes).index(label.name) for label in labels],
        "score": [item.get("score").real() for item in items],
        "box": [box.tolist() for box in boxes],
        "scenes": [scene],
    }


def _frame(checked: Checked) -> Frame:
    """The upright frame of the scan, as `sr3d prepare` makes it, whatever else detect turned."""
    if not checked.has("frame"):
        return Frame()
    frame = checked.get("frame")
    up = frame.get("up").text()
    origin = numbers(frame.get("origin"), 3)
    return Frame(up, frame.get("unit").name(list(UNITS)), turn_upright(up), origin)
