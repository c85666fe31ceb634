"""mmdet3d's info pickles, of both formats, as scenes with boxes.

Up to version 1.0 such a file is a list with an `annos` entry a scene, from 1.1 on a dictionary with
`metainfo` and `data_list`. In both, boxes have geometric centres, and ScanNet's are aligned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from sr3d.data.safe_pickle import load_pickle
from sr3d.data.scannet_files import check_alignment
from sr3d.errors import InputError, Kind

Array = npt.NDArray[Any]
Labels = Callable[[Any], int]
"""Maps a file's label or class name to our label, -1 for other classes."""
_FAULTS = (KeyError, TypeError, ValueError, AttributeError, IndexError)  # of a file's content


@dataclass(frozen=True)
class SceneInfo:
    """One scene of an info file of any version.

    points: the name of its cloud. boxes: (K, 7) float32, geometric centre, full size, yaw, in the
    frame to which `alignment`, (4, 4) float64 or None, transforms the points. labels: (K,) int64.
    """

    id: str
    points: str
    boxes: Array
    labels: Array
    alignment: Array | None


def read_infos(
    path: str | Path, classes: Sequence[str], *, clockwise: bool = False
) -> list[SceneInfo]:
    """The scenes of an info pickle, with labels as indices of `classes`.

    clockwise: whether the yaw is clockwise, as mmdet3d wrote it before version 1.0.

    Raises:
        InputError: not such a file, or some of the classes are missing. Names the field.
    """
    return parse_infos(path, load_pickle(path), classes, clockwise=clockwise)


def is_infos(content: Any) -> bool:
    """Whether an unpickled object has the form of an info file."""
    if isinstance(content, list):
        return all(isinstance(entry, Mapping) and "annos" in entry for entry in content)
    return isinstance(content, Mapping) and "data_list" in content


def parse_infos(
    path: str | Path, content: Any, classes: Sequence[str], *, clockwise: bool = False
) -> list[SceneInfo]:
    """`read_infos` for the content of a file."""
    where = "metainfo"
    found = []
    try:
        old = isinstance(content, list)
        entries = content if old else content["data_list"]
        labels = (
            _by_name_or_index(classes) if old else _by_label(path, content.get("metainfo"), classes)
        )
        for number, entry in enumerate(entries):
            where = f"[{number}]" if old else f"data_list[{number}]"
            read = _old_scene if old else _new_scene
            found.append(read(str(path), where, entry, labels))
    except InputError:
        raise
    except _FAULTS as error:
        raise _fault(path, where, error) from None
    if twice := [scene for scene, n in Counter(info.id for info in found).items() if n > 1]:
        raise InputError(
            f"data_list has scene '{twice[0]}' twice",
            file=path,
            kind=Kind.CONFLICT,
            remedy="Remove one.",
        )
    if clockwise:
        for info in found:
            info.boxes[:, 6] *= -1
    return found


def _new_scene(path: str, where: str, entry: Mapping[str, Any], labels: Labels) -> SceneInfo:
    try:
        name = PurePosixPath(entry["lidar_points"]["lidar_path"]).name
    except KeyError as error:
        raise _fault(path, f"{where}.lidar_points", error) from None
    rows = []
    for i, instance in enumerate(entry.get("instances", ())):
        try:
            rows.append(_row(instance["bbox_3d"], labels(int(instance["bbox_label_3d"]))))
        except _FAULTS as error:
            raise _fault(path, f"{where}.instances[{i}]", error) from None
    return _scene(path, where, name, rows, entry.get("axis_align_matrix"))


def _old_scene(path: str, where: str, entry: Mapping[str, Any], labels: Labels) -> SceneInfo:
    name = PurePosixPath(str(entry["pts_path"])).name
    annos = entry["annos"]
    count, rows = int(annos["gt_num"]), []
    if count:
        boxes = np.asarray(annos["gt_boxes_upright_depth"], dtype=np.float64).tolist()
        # S3DIS's infos have no names.
        classes = list(map(str, annos["name"])) if "name" in annos else list(annos["class"])
        if not count == len(boxes) == len(classes):
            problem = f"gt_num is {count}, with {len(boxes)} boxes of {len(classes)} classes"
            raise _fault(path, f"{where}.annos", ValueError(problem))
        for i, (box, label) in enumerate(zip(boxes, classes, strict=True)):
            try:
                rows.append(_row(box, labels(label)))
            except ValueError as error:
                here = f"{where}.annos.gt_boxes_upright_depth[{i}]"
                raise _fault(path, here, error) from None
    return _scene(path, where, name, rows, annos.get("axis_align_matrix"))


def _row(box: Any, label: int) -> list[float]:
    """Seven numbers and the label."""
    values = [float(value) for value in box]
    if len(values) not in (6, 7):
        raise ValueError(f"bbox_3d has {len(values)} values instead of 6 or 7")
    if not np.isfinite(np.array(values, dtype=np.float32)).all():
        raise ValueError("bbox_3d has NaN or infinity")
    if min(values[3:6]) <= 0:
        raise ValueError("bbox_3d has a size that is not positive")
    return [*values[:6], values[6] if len(values) == 7 else 0.0, label]


def _scene(path: str, where: str, name: str, rows: list[list[float]], alignment: Any) -> SceneInfo:
    if alignment is not None:
        alignment = check_alignment(alignment, f"{path}: {where}: axis_align_matrix of {name}")
    table = np.array([row for row in rows if row[7] >= 0], dtype=np.float64).reshape(-1, 8)
    return SceneInfo(
        id=PurePosixPath(name).stem,
        points=name,
        boxes=table[:, :7].astype(np.float32),
        labels=table[:, 7].astype(np.int64),
        alignment=alignment,
    )


def _fault(path: str | Path, where: str, error: Exception) -> InputError:
    problem = f"no entry {error}" if isinstance(error, KeyError) else str(error)
    return InputError(
        f"{problem}, so this is not an info file of mmdet3d",
        file=path,
        field=where,
        kind=Kind.UNREADABLE,
        remedy="Make it again.",
    )


def _by_label(path: str | Path, metainfo: Any, classes: Sequence[str]) -> Labels:
    """The index of a label: by name if the file has names (1.1 writes `categories`, name to label),
    else the label itself.
    """
    names = metainfo.get("categories") if isinstance(metainfo, Mapping) else None
    if names is None:
        names = {name: label for label, name in enumerate(classes)}
    missing = [name for name in classes if name not in names]
    if missing:
        raise InputError(
            f"metainfo.categories lacks the class '{missing[0]}'. Its classes are "
            f"{', '.join(map(str, names))}",
            file=path,
            kind=Kind.MISSING,
            remedy="Check that this is the right data set.",
        )
    order = {name: label for label, name in enumerate(classes)}
    ours = {int(label): order.get(name, -1) for name, label in names.items()}

    def look_up(label: int) -> int:
        if label >= 0 and label not in ours:
            raise ValueError(f"bbox_label_3d is {label}, which no class has")
        return ours.get(label, -1)

    return look_up


def _by_name_or_index(classes: Sequence[str]) -> Labels:
    order = {name: label for label, name in enumerate(classes)}

    def look_up(label: Any) -> int:
        if isinstance(label, str):
            return order.get(label, -1)
        if not 0 <= label < len(classes):
            raise ValueError(f"class is {label}, which no class has")
        return int(label)

    return look_up
