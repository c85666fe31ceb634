"""Which arrays of a folder are points, and which belong to the points of another file.

Pointcept writes one folder per scene (coord.npy, color.npy, segment.npy). mmdet3d writes one folder
per kind (points, semantic_mask, instance_mask) or suffixes (_vert.npy, _ins_label.npy, _bbox.npy).
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np

POINT_WORDS = (
    "points", "point", "coord", "coords", "coordinates", "xyz", "vert", "verts", "vertex",
    "vertices", "pos", "positions", "position", "pc", "pcd", "cloud", "pointcloud", "point_cloud",
    "xyzrgb", "data",
)  # fmt: skip
COLOR_WORDS = ("color", "colors", "colour", "colours", "rgb", "rgbs")
_NORMAL_WORDS = ("normal", "normals")
_LABEL_WORDS = (
    "label", "labels", "gt", "mask", "masks", "seg", "segs", "segment", "segments",
    "segmentation", "semantic", "semantics", "sem", "instance", "instances", "ins", "inst",
    "superpoint", "superpoints", "points_mask", "lidarseg", "panoptic", "bbox", "bboxes", "box",
    "boxes", "votes", "pose", "poses", "intrinsic", "intrinsics", "extrinsic", "extrinsics",
    "matrix", "calib", "trajectory",
)  # fmt: skip
_FOLDERS = {
    *COLOR_WORDS, *_NORMAL_WORDS, *_LABEL_WORDS, "super_points", "pts_semantic", "pts_instance",
    "annotations",
}  # fmt: skip
_BOX_ARRAYS = {"scene", "label", "box"}  # in our files of ground truth and detections
_MANY = 1000  # lists of boxes have fewer rows
_ARRAYS = (".npy", ".bin")
_TEXTS = (".txt", ".csv", ".xyz", ".asc", ".pts")
_COLOR_KINDS = (".npy",)


def role(path: Path) -> str | None:
    """What a file holds if it belongs to the points of another file, None if it may hold points.

    Decided by its name, its folder's name, or the shape of its array.
    """
    kind = path.suffix.lower()
    if kind == ".ply":
        return "labels" if re.search(r"[._]labels$", path.stem) else None
    if kind == ".npz":
        if _parted(path.stem)[1] == "votes":  # VoteNet's files of SUN RGB-D
            return "labels or boxes"
        return "boxes" if _names(path) >= _BOX_ARRAYS else None
    if kind not in (*_ARRAYS, *_TEXTS):
        return None
    folder = path.parent.name.lower()
    if folder in _FOLDERS or folder.removesuffix("_mask") in _FOLDERS:
        return folder
    shape = _shape(path) if kind == ".npy" else None
    if shape is not None and _is_no_cloud(shape):
        return "no points by its shape"
    if shape is not None and len(shape) == 2 and shape[0] >= _MANY and shape[1] >= 6:
        return None  # scan_label.npy of x, y, z, r, g, b, label
    return named_role(path) or label_role(path)


def named_role(path: Path) -> str | None:
    """`colours` or `normals` if the name says so, because both have three columns as points do.

    Arrays of an NPZ file have names of their own.
    """
    words = set() if path.suffix.lower() == ".npz" else _words(path)
    if words & set(COLOR_WORDS):
        return "colours"
    return "normals" if words & set(_NORMAL_WORDS) else None


def label_role(path: Path) -> str | None:
    """`labels or boxes` if the name of a file says that it holds labels or boxes."""
    return "labels or boxes" if _words(path) & set(_LABEL_WORDS) else None


def colors_beside(path: Path) -> Path | None:
    """The file with the colours of a file of points, by name: color.npy beside coord.npy."""
    head, word = _parted(path.stem)
    if word not in POINT_WORDS:
        return None
    names = (f"{head}{color}{kind}" for color in COLOR_WORDS for kind in _COLOR_KINDS)
    return next((place for name in names if (place := path.with_name(name)).is_file()), None)


def _parted(stem: str) -> tuple[str, str]:
    """`scene0000_00_vert` is `scene0000_00_` and `vert`."""
    match = re.fullmatch(r"(.*[._-])?([^._-]+)", stem)
    return ((match[1] or ""), match[2].lower()) if match else ("", stem.lower())


def _words(path: Path) -> set[str]:
    """The last part of a name, with and without numbers: `segment20` is `segment`."""
    word = _parted(path.stem)[1]
    return {word, word.rstrip("0123456789")}


def _is_no_cloud(shape: tuple[int, ...]) -> bool:
    """Whether an array is a matrix, or has one or two values per point."""
    if len(shape) != 2:
        return len(shape) < 2
    return max(shape) <= 4 or (shape[1] < 3 and shape[0] > 16)


def _names(path: Path) -> set[str]:
    """The arrays of an NPZ file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return set()  # the reader reports damage


def _shape(path: Path) -> tuple[int, ...] | None:
    """The shape in the header of an NPY file. None if it has named fields or cannot be read,
    because the reader reports damage.
    """
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return None if array.dtype.names else array.shape
