"""Files of boxes: ground truth and detections, ours and mmdet3d's.

npz: `scene` (N,) strings, `label` (N,) integers, `box` (N, 7) or, axis-aligned, (N, 6): geometric
centre, full size in metres, yaw in radians. Detections also have `score` (N,). Ground truth may
list all its scene ids as `scenes`, to include scenes without a box.

pkl: a dictionary with the same entries, as arrays or lists. Ground truth may also be an info file
of mmdet3d of either format, whose boxes follow the same convention. Detections may also be the
results that mmdet3d dumps.

json, or a folder of such files: detections that `sr3d detect` or mmdet3d's inferencers wrote, or a
dictionary with the entries above, as lists.

Two files may name a scene differently. `sr3d.data.scene_names` matches the names.
"""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr3d.data.mmdet3d.dumped_results import is_results, result_entries
from sr3d.data.mmdet3d.infos import is_infos, parse_infos
from sr3d.data.safe_pickle import load_pickle, load_results
from sr3d.data.scene_names import match_scenes
from sr3d.errors import InputError, Kind
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.files import LFS_REMEDY, is_lfs_pointer, read_json
from sr3d.validation import did_you_mean

_PICKLES = (".pkl", ".pickle")
_ENTRIES = {"scene", "label", "box", "score"}
_log = logging.getLogger(__name__)


def read_ground_truth(path: str | Path, classes: Sequence[str]) -> BoxSet:
    """Ground truth from npz, pkl or an mmdet3d info file. Labels index `classes`.

    Raises:
        InputError: the file cannot be read, or its content is wrong. Names the field.
    """
    path = Path(path)
    content = load_pickle(path) if path.suffix in _PICKLES else _arrays(path)
    if is_infos(content):
        content = _from_infos(path, content, classes)
    return _box_set(path, _mapping(path, content), classes, scored=False)


def read_detections(
    path: str | Path, classes: Sequence[str] = (), truth: BoxSet | None = None
) -> BoxSet:
    """Detections from npz, pkl or json, or from a folder of `sr3d detect`.

    classes: if given, labels must index them. truth: if given, scenes are renamed to its scene
    names, see `match_scenes`. Results of mmdet3d without names follow its order.

    Raises:
        InputError: the file cannot be read, or its content is wrong. Names the field.
    """
    path = Path(path)
    if path.is_dir():
        from sr3d.data.detect_files import read_detect_folder

        content: Any = read_detect_folder(path, classes)
    elif path.suffix == ".json":
        from sr3d.data.detect_files import detect_entries

        content = read_json(path)
        if not (isinstance(content, Mapping) and content.keys() >= _ENTRIES):
            content = detect_entries(path, content, classes)
    elif path.suffix in _PICKLES:
        content = load_results(path)
    else:
        content = _arrays(path)
    if is_infos(content):
        raise InputError(
            "this is an info file of ground truth, not of detections",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Pass the file of detections that the evaluation wrote.",
        )
    if is_results(content):
        content = result_entries(path, content, truth.scenes if truth else ())
    detections = _box_set(path, _mapping(path, content), classes, scored=True)
    if truth is None:
        return detections
    detections = _named_as(path, detections, truth)
    there, labelled = set(detections.scene.tolist()), set(truth.scene.tolist())
    if len(there & labelled) < len(labelled) / 2:
        _log.warning(
            "%s: has detections in %d of the %d scenes with ground truth. The boxes of the other "
            "scenes count as missed", path, len(there & labelled), len(labelled),
        )  # fmt: skip
    return detections


def _named_as(path: Path, detections: BoxSet, truth: BoxSet) -> BoxSet:
    """The same detections with the scene names of the ground truth."""
    words = sorted(detections.known_scenes())
    names = match_scenes(words, truth.known_scenes(), path)
    changed = [word for word in words if names[word] != word]
    if not changed:
        return detections
    _log.warning(
        "%s: %d scenes have other names: '%s' is matched to the ground truth's '%s'",
        path, len(changed), changed[0], names[changed[0]],
    )  # fmt: skip
    scene = np.array([names[word] for word in detections.scene.tolist()], dtype=str)
    known = tuple(names[word] for word in detections.scenes)
    return BoxSet(scene, detections.label, detections.box, detections.score, known)


def _mapping(path: Path, content: Any) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise InputError(
            f"holds a {type(content).__name__}, expected a dictionary, or a "
            "list of mmdet3d's results",
            file=path,
            kind=Kind.VALUE,
            remedy="docs/file_formats.md lists the formats.",
        )
    return content


def _arrays(path: Path) -> dict[str, Any]:
    if path.suffix != ".npz":
        raise InputError(
            "expected a file named .npz or .pkl, or output of `sr3d detect` (.json, or a folder)",
            file=path,
            kind=Kind.UNREADABLE,
        )
    return read_npz(path)


def read_npz(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file, each compared with its CRC-32.

    numpy compares it only if its reader happens to reach the end of an array.

    Raises:
        InputError: missing, damaged, a pointer of Git LFS, or not an npz of plain arrays.
    """
    path = Path(path)
    try:
        with path.open("rb") as begin:
            if is_lfs_pointer(begin.read(64)):
                raise InputError(LFS_REMEDY, file=path, kind=Kind.UNREADABLE)
        with zipfile.ZipFile(path) as archive:
            return {
                name.removesuffix(".npy"): np.lib.format.read_array(
                    io.BytesIO(archive.read(name)), allow_pickle=False
                )
                for name in archive.namelist()
            }
    except FileNotFoundError:
        raise InputError("no such file", file=path, kind=Kind.MISSING) from None
    except InputError:
        raise
    except Exception as error:  # damaged bytes make zipfile, zlib and numpy raise almost anything
        raise InputError(
            f"not a readable npz of plain arrays ({error})",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Make it again.",
        ) from None


def _box_set(
    path: Path, content: Mapping[str, Any], classes: Sequence[str], scored: bool
) -> BoxSet:
    """Check every entry and convert it to its dtype."""
    names = ["scene", "label", "box", *(["score"] if scored else [])]
    missing = [name for name in names if name not in content]
    if missing:
        raise InputError(
            f"no entry '{missing[0]}', expected {', '.join(names)} (found "
            f"{', '.join(map(str, content)) or 'none'})",
            file=path,
            kind=Kind.MISSING,
        )
    scene = _column(path, content, "scene", "US", "strings").astype(str)
    label = _labels(path, content, classes)
    score = None
    if scored:
        score = _column(path, content, "score", "fiu", "numbers").astype(np.float32)
    box = _boxes(path, content["box"])
    for name, column in (("label", label), ("box", box), ("score", score)):
        if column is not None and len(column) != len(scene):
            raise InputError(
                f"{name} has {len(column)} rows, but scene has {len(scene)}",
                file=path,
                kind=Kind.CONFLICT,
                remedy="Each box needs one row in each.",
            )

    def require(name: str, holds: Any, fault: str, remedy: str) -> None:
        if not holds.all():
            row = int(np.argmin(holds))
            raise InputError(
                f"{name} has {fault} in row {row} (scene '{scene[row]}')",
                file=path,
                kind=Kind.VALUE,
                remedy=remedy,
            )

    again = "Correct it."
    if score is not None:
        again = "Its detector has diverged, so detect again with another checkpoint."
        require("score", np.isfinite(score), "NaN or infinity", again)
    require("box", np.isfinite(box).all(axis=1), "NaN or infinity", again)
    positive = (box[:, 3:6] > 0).all(axis=1)
    require("box", positive, "a size that is not positive", "Columns 3 to 5 must be full sizes.")
    require("label", label >= 0, "a negative label", "Remove such rows.")
    if classes:
        top = f"Labels must be indices of classes, from 0 to {len(classes) - 1}."
        require("label", label < len(classes), "an unknown label", top)
    scenes = _column(path, content, "scenes", "US", "strings") if "scenes" in content else ()
    return BoxSet(scene, label, box, score, tuple(map(str, scenes)))


def _labels(path: Path, content: Mapping[str, Any], classes: Sequence[str]) -> NDArray[np.int64]:
    """Indices of classes, from indices or names."""
    column = _column(path, content, "label", "iuUS" if classes else "iu", "integers")
    if column.dtype.kind not in "US":
        return column.astype(np.int64)
    order = {name: index for index, name in enumerate(classes)}
    names = column.astype(str).tolist()
    if strange := next((name for name in names if name not in order), None):
        raise InputError(
            f"unknown class '{strange}'{did_you_mean(strange, list(classes))}",
            file=path,
            field="label",
            kind=Kind.UNKNOWN,
        )
    return np.array([order[name] for name in names], dtype=np.int64)


def _column(
    path: Path, content: Mapping[str, Any], name: str, kinds: str, wanted: str
) -> NDArray[Any]:
    """A one-dimensional array of the required kind of values. An empty one may have any kind."""
    try:
        column = np.asarray(content[name])
    except ValueError:
        raise InputError(
            f"{name} is ragged, expected one value per box", file=path, kind=Kind.VALUE
        ) from None
    if column.ndim != 1:
        raise InputError(
            f"{name} has shape {column.shape}, expected (N,)", file=path, kind=Kind.VALUE
        )
    if column.size and column.dtype.kind not in kinds:
        raise InputError(
            f"{name} holds {column.dtype}, expected {wanted}", file=path, kind=Kind.VALUE
        )
    return column


def _boxes(path: Path, value: Any) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # a value too large for float32 is refused below
            box = np.asarray(value, dtype=np.float32)
    except (ValueError, TypeError):
        raise InputError(
            "box is not a table of numbers, expected (N, 7)", file=path, kind=Kind.UNREADABLE
        ) from None
    if box.size == 0:
        return np.zeros((0, 7), dtype=np.float32)
    if box.ndim != 2 or box.shape[1] not in (6, 7):
        raise InputError(
            f"box has shape {box.shape}, expected (N, 7), or (N, 6) for axis-aligned boxes",
            file=path,
            kind=Kind.VALUE,
        )
    return np.pad(box, ((0, 0), (0, 7 - box.shape[1])))


def _from_infos(path: Path, content: Any, classes: Sequence[str]) -> dict[str, Any]:
    """The entries of `_box_set` from an info file of mmdet3d. Drops other classes."""
    infos = parse_infos(path, content, classes)
    return {
        "scene": [info.id for info in infos for _ in info.labels],
        "label": [label for info in infos for label in info.labels.tolist()],
        "box": [box for info in infos for box in info.boxes.tolist()],
        "scenes": [info.id for info in infos],
    }
