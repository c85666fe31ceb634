"""Files of boxes: ground truth and detections, ours and mmdet3d's.

npz: `scene` (N,) strings, `label` (N,) integers, `box` (N, 7) or, axis-aligned, (N, 6): geometric
centre, full size in metres, yaw in radians; detections also `score` (N,). Ground truth may list all
its scene ids as `scenes`, so that scenes without a box are known too.

pkl: a dictionary with the same entries, as arrays or lists; or, as ground truth, an info file of
mmdet3d of either format, whose boxes follow the same convention.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr3d.data.mmdet3d.infos import is_infos, parse_infos
from sr3d.data.safe_pickle import load_pickle
from sr3d.errors import InputError
from sr3d.geometry.box_set import BoxSet


def read_ground_truth(path: str | Path, classes: Sequence[str]) -> BoxSet:
    """Ground truth from npz, pkl or an mmdet3d info file; labels index `classes`.

    Raises:
        InputError: the file cannot be read, or its content is wrong; names the field.
    """
    path = Path(path)
    content = _load(path)
    if is_infos(content):
        content = _from_infos(path, content, classes)
    return _box_set(path, content, classes, scored=False)


def read_detections(
    path: str | Path, classes: Sequence[str] = (), truth: BoxSet | None = None
) -> BoxSet:
    """Detections from npz or pkl. If given, labels must index `classes` and scenes be in `truth`.

    Raises:
        InputError: the file cannot be read, or its content is wrong; names the field.
    """
    path = Path(path)
    content = _load(path)
    if is_infos(content):
        raise InputError(f"{path}: this is an info file of ground truth, not of detections")
    detections = _box_set(path, content, classes, scored=True)
    if truth is not None:
        known = truth.known_scenes()
        strange = [scene for scene in np.unique(detections.scene).tolist() if scene not in known]
        if strange:
            raise InputError(
                f"{path}: scene: {len(strange)} of its scenes are not in the ground truth, e.g. "
                f"'{strange[0]}'; evaluate on the split that they belong to, or remove them"
            )
    return detections


def _load(path: Path) -> Any:
    if path.suffix in (".pkl", ".pickle"):
        content = load_pickle(path)
        if is_infos(content):
            return content
        if not isinstance(content, dict):
            raise InputError(f"{path}: holds a {type(content).__name__}; expected a dictionary")
        return content
    if path.suffix != ".npz":
        raise InputError(f"{path}: expected a file named .npz or .pkl")
    return read_npz(path)


def read_npz(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file, each compared with its CRC-32.

    numpy compares it only where its reader happens to reach the end of an array.

    Raises:
        InputError: missing, damaged, or not an npz of plain arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                name.removesuffix(".npy"): np.lib.format.read_array(
                    io.BytesIO(archive.read(name)), allow_pickle=False
                )
                for name in archive.namelist()
            }
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # damaged bytes trip zipfile, zlib and numpy in any way at all
        raise InputError(
            f"{path}: not a readable npz of plain arrays ({error}); make it again"
        ) from None


def _box_set(
    path: Path, content: Mapping[str, Any], classes: Sequence[str], scored: bool
) -> BoxSet:
    """Check every entry and bring it to its dtype."""
    names = ["scene", "label", "box", *(["score"] if scored else [])]
    missing = [name for name in names if name not in content]
    if missing:
        raise InputError(
            f"{path}: no entry '{missing[0]}'; expected {', '.join(names)} (found "
            f"{', '.join(map(str, content)) or 'none'})"
        )
    scene = _column(path, content, "scene", "US", "strings").astype(str)
    label = _column(path, content, "label", "iu", "integers").astype(np.int64)
    score = None
    if scored:
        score = _column(path, content, "score", "fiu", "numbers").astype(np.float32)
    box = _boxes(path, content["box"])
    for name, column in (("label", label), ("box", box), ("score", score)):
        if column is not None and len(column) != len(scene):
            raise InputError(
                f"{path}: {name} has {len(column)} rows but scene has {len(scene)}; "
                "each box needs one of each"
            )

    def require(name: str, holds: Any, fault: str, remedy: str) -> None:
        if not holds.all():
            row = int(np.argmin(holds))
            raise InputError(
                f"{path}: {name} has {fault} in row {row} (scene '{scene[row]}'); {remedy}"
            )

    again = "correct it"
    if score is not None:
        again = "its detector has diverged, so detect again with another checkpoint"
        require("score", np.isfinite(score), "NaN or infinity", again)
    require("box", np.isfinite(box).all(axis=1), "NaN or infinity", again)
    positive = (box[:, 3:6] > 0).all(axis=1)
    require("box", positive, "a size that is not positive", "columns 3 to 5 are full sizes")
    require("label", label >= 0, "a negative label", "remove such rows")
    if classes:
        top = f"labels must lie in 0 to {len(classes) - 1}, the index of the class"
        require("label", label < len(classes), "an unknown label", top)
    scenes = _column(path, content, "scenes", "US", "strings") if "scenes" in content else ()
    return BoxSet(scene, label, box, score, tuple(map(str, scenes)))


def _column(
    path: Path, content: Mapping[str, Any], name: str, kinds: str, wanted: str
) -> NDArray[Any]:
    """A one-dimensional array of the wanted kind of values; an empty one may have any."""
    try:
        column = np.asarray(content[name])
    except ValueError:
        raise InputError(f"{path}: {name} is ragged; expected one value a box") from None
    if column.ndim != 1:
        raise InputError(f"{path}: {name} has shape {column.shape}; expected (N,)")
    if column.size and column.dtype.kind not in kinds:
        raise InputError(f"{path}: {name} holds {column.dtype}; expected {wanted}")
    return column


def _boxes(path: Path, value: Any) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # too large for float32 is infinite, refused below
            box = np.asarray(value, dtype=np.float32)
    except (ValueError, TypeError):
        raise InputError(f"{path}: box is not a table of numbers; expected (N, 7)") from None
    if box.size == 0:
        return np.zeros((0, 7), dtype=np.float32)
    if box.ndim != 2 or box.shape[1] not in (6, 7):
        raise InputError(f"{path}: box has shape {box.shape}; expected (N, 7), or (N, 6) upright")
    return np.pad(box, ((0, 0), (0, 7 - box.shape[1])))


def _from_infos(path: Path, content: Any, classes: Sequence[str]) -> dict[str, Any]:
    """The entries of `_box_set` from an info file of mmdet3d; instances of other classes go."""
    infos = parse_infos(path, content, classes)
    return {
        "scene": [info.id for info in infos for _ in info.labels],
        "label": [label for info in infos for label in info.labels.tolist()],
        "box": [box for info in infos for box in info.boxes.tolist()],
        "scenes": [info.id for info in infos],
    }
