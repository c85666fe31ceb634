"""mmdetection3d's results: pickles of mmengine's DumpResults, and older `--out` files.

    [{"pred_instances_3d": {"bboxes_3d": BOXES, "scores_3d": (K,), "labels_3d": (K,)},
      "lidar_path": "…/scene0011_00.bin", "sample_idx": 0, …}, …]

BOXES is an object with a `tensor` of boxes with the centre of their bottom face, or an array of
boxes with their geometric centre. Up to version 1.0 an entry is the value of `pred_instances_3d`,
and the boxes are called `boxes_3d`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sr3d.data.safe_pickle import ForeignObject
from sr3d.errors import InputError, Kind

_log = logging.getLogger(__name__)
_BOXES = ("bboxes_3d", "boxes_3d")
_UPRIGHT = ("DepthInstance3DBoxes", "LiDARInstance3DBoxes")
_PATHS = ("lidar_path", "pts_filename", "img_path")
_REMEDY = (
    "Add 'lidar_path' to the meta_keys of Pack3DDetInputs, or pass the info file of the evaluation "
    "as --ground-truth."
)


def is_results(content: Any) -> bool:
    """Whether an unpickled object is such a list."""
    return (
        isinstance(content, list)
        and bool(content)
        and all(_prediction(_mapping(entry)) is not None for entry in content)
    )


def result_entries(path: Path, content: Any, order: Sequence[str] = ()) -> dict[str, Any]:
    """`scene`, `label`, `score`, `box` and `scenes` of a list of results.

    order: the scenes of the evaluated data set, for results that name scenes by index.

    Raises:
        InputError: boxes of a camera's coordinates, rows that do not fit, or nameless scenes.
    """
    entries: dict[str, Any] = {"scene": [], "label": [], "score": [], "box": [], "scenes": []}
    for i, whole in enumerate(content):
        entry = _mapping(whole)
        where = f"{path}: [{i}]"
        scene = _scene(where, i, entry, order, len(content))
        found = _prediction(entry)
        assert found is not None
        boxes = _boxes(where, next(found[name] for name in _BOXES if name in found))
        labels, scores = (np.asarray(found[name]).ravel() for name in ("labels_3d", "scores_3d"))
        if not len(boxes) == len(labels) == len(scores):
            raise InputError(
                f"{len(boxes)} boxes, {len(labels)} labels and {len(scores)} "
                "scores, but each box needs one of each",
                field=where,
                kind=Kind.CONFLICT,
                remedy="Write the results again.",
            )
        entries["scene"] += [scene] * len(boxes)
        entries["label"] += labels.astype(np.int64).tolist()
        entries["score"] += scores.astype(np.float64).tolist()
        entries["box"] += boxes.tolist()
        entries["scenes"].append(scene)
    return entries


def _mapping(value: Any) -> Mapping[str, Any]:
    """A dictionary, or an object's attributes, as samples and instances have them."""
    if isinstance(value, ForeignObject):
        return {name.lstrip("_"): item for name, item in value.state.items()}
    return value if isinstance(value, Mapping) else {}


def _prediction(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    inner = _mapping(entry.get("pred_instances_3d", entry))
    known = {"scores_3d", "labels_3d"} <= inner.keys() and set(_BOXES) & inner.keys()
    return inner if known else None


def _boxes(where: str, value: Any) -> np.ndarray:
    """(K, 7) with geometric centres."""
    if not isinstance(value, ForeignObject):
        return _padded(where, np.asarray(value, dtype=np.float64))
    if value.kind not in _UPRIGHT or "tensor" not in value.state:
        raise InputError(
            f"boxes are {value.kind}, in a camera's coordinates",
            field=where,
            kind=Kind.VALUE,
            remedy="Convert them with convert_to(Box3DMode.DEPTH) before they are written.",
        )
    boxes = _padded(where, np.asarray(value.state["tensor"], dtype=np.float64))
    boxes[:, 2] += boxes[:, 5] / 2  # z of mmdet3d's own tensors is that of the bottom
    return boxes


def _padded(where: str, boxes: np.ndarray) -> np.ndarray:
    boxes = boxes.reshape(-1, 7) if boxes.size == 0 else boxes
    if boxes.ndim != 2 or boxes.shape[1] not in (6, 7):
        raise InputError(
            f"boxes of shape {boxes.shape}, expected (N, 7) or (N, 6)", field=where, kind=Kind.VALUE
        )
    return np.pad(boxes, ((0, 0), (0, 7 - boxes.shape[1])))


def _scene(
    where: str, number: int, entry: Mapping[str, Any], order: Sequence[str], count: int
) -> str:
    """The scene of an entry, by the name of its cloud, else by its index in the data set."""
    cloud = entry.get("lidar_points")
    named = [entry.get(name) for name in _PATHS]
    named.append(cloud.get("lidar_path") if isinstance(cloud, Mapping) else None)
    if name := next((str(name) for name in named if name), None):
        return PurePosixPath(name.replace("\\", "/")).stem
    index = entry.get("sample_idx", number)
    if isinstance(index, str):
        return index
    if len(order) == count and 0 <= int(index) < count:
        if number == 0:
            _log.warning(
                "%s: names its scenes only by index, so they are matched in the order of the "
                "ground truth. The first one is '%s'", where, order[int(index)],
            )  # fmt: skip
        return order[int(index)]
    raise InputError(
        f"names its scene only by the index {index}, but the ground truth "
        "does not list as many scenes in the order of an info file",
        field=where,
        kind=Kind.CONFLICT,
        remedy=_REMEDY,
    )
