"""Reads the original ScanNet V2: a mesh, its segments and its objects become points and boxes.

A scan is a folder of four files:

    <id>/<id>_vh_clean_2.ply                      the mesh: vertices with colours, and triangles
    <id>/<id>_vh_clean_2.0.010000.segs.json       the segment of each vertex
    <id>/<id>.aggregation.json                    the objects: a category and some segments each
    <id>/<id>.txt                                 `axisAlignment`, which aligns walls with x and y

The rules are the same as for all published numbers (facebookresearch/votenet and
open-mmlab/mmdetection3d, `data/scannet`). Points are aligned first. A box is the minimum and the
maximum of an object's vertices. A segment of several objects belongs to the last of them.
"""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from plyfile import PlyData

from sr3d.data.datasets import SCANNET
from sr3d.data.prepared import Manifest, PreparedWriter
from sr3d.data.readers.conversion import ConversionOptions, Source, convert, select_scenes
from sr3d.data.readers.published import scannet
from sr3d.data.scannet_files import LABEL_MAP, SPLITS, SUFFIXES, align, check_alignment
from sr3d.data.scene import Scene, check_scene
from sr3d.errors import InputError, Kind
from sr3d.geometry.boxes import Boxes
from sr3d.runs.files import read_json, sha256

Array = npt.NDArray[Any]

NYU40_IDS = (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39)
"""The NYU40 category of each class. "garbagebin" is NYU40's "other furniture"."""

_log = logging.getLogger(__name__)


def prepare_scannet(
    raw: Path,
    out: Path,
    *,
    meta: Path | None = None,
    scenes: Sequence[str] | None = None,
    append: bool = False,
    how: ConversionOptions = ConversionOptions(),
) -> Manifest:
    """Turn raw scans into a prepared folder, each in the split of the published lists.

    raw: the ScanNet folder or its `scans` folder. meta: the folder of the label map and the two
    lists. By default `raw`, its parent, or a folder `meta` in either. scenes: only these scans. By
    default every scan of both lists, whose counts must equal the published ones. append: add to the
    set in `out`.

    Raises:
        InputError: a missing or invalid file, or other counts. Nothing is written before all files
            are known to exist.
    """
    scans = raw / "scans" if (raw / "scans").is_dir() else raw
    if not scans.is_dir():
        raise InputError(
            "no such folder",
            file=raw,
            kind=Kind.MISSING,
            remedy="Name the folder that contains ScanNet's `scans` with --raw.",
        )
    places = [meta] if meta else [scans, scans.parent, scans / "meta", scans.parent / "meta"]
    label_file = _find(LABEL_MAP, places)
    label_map = read_label_map(label_file)
    lists = {split: read_list(_find(name, places)) for split, name in SPLITS.items()}
    unknown: Counter[str] = Counter()

    def read(folder: Path) -> Scene:
        scan, ignored = read_annotated(folder, label_map)
        unknown.update(ignored)
        return scan

    sources = [
        Source(
            split=split,
            id=scene,
            files=tuple(scans / scene / (scene + suffix) for suffix in SUFFIXES),
            read=partial(read, scans / scene),
        )
        for split, ids in select_scenes(lists, scenes).items()
        for scene in ids
    ]
    writer = PreparedWriter(
        out,
        "scannet",
        SCANNET.classes,
        False,
        "ScanNet V2, raw scans",
        labels=f"18 classes of NYU40, label map {sha256(label_file)[:12]}",
        append=append,
    )
    published = scannet() if scenes is None else scannet().of_some_scenes()
    remedy = "Download them from ScanNet, or name with --scenes the scans that you have."
    manifest = convert(sources, writer, published, remedy, how)
    if unknown:
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(unknown.items()))
        _log.warning("ignored objects whose category is not in the label map: %s", listed)
    return manifest


def read_annotated(folder: Path, label_map: Mapping[str, int]) -> tuple[Scene, list[str]]:
    """One annotated scan, and the category of each object that is not in the label map.

    Aligned: float32 metres, colours in [0, 1], boxes of the 18 classes. Its segments are the
    superpoints. label_map: raw category to NYU40 id. An object with another category gets no class.

    Raises:
        InputError: names the file, what is wrong with it and what to do.
    """
    mesh, segments, aggregation, text = (folder / (folder.name + suffix) for suffix in SUFFIXES)
    vertices, colors = read_mesh(mesh)
    points = align(vertices, read_alignment(text))
    objects = read_objects(aggregation)
    superpoints = read_segments(segments, len(vertices))
    owner = _owners(superpoints, objects, aggregation)
    boxes: list[Array] = []
    labels, instance = [], np.full(len(points), -1)
    for index, (category, _) in enumerate(objects):
        nyu40, mask = label_map.get(category, 0), owner == index
        if nyu40 in NYU40_IDS and (own := points[mask]).size:
            low, high = own.min(axis=0), own.max(axis=0)
            instance[mask] = len(boxes)
            boxes.append(np.concatenate([(low + high) / 2, high - low]))
            labels.append(NYU40_IDS.index(nyu40))
    scene = Scene(
        id=folder.name,
        points=torch.from_numpy(points),
        colors=torch.from_numpy(colors),
        boxes=Boxes.from_array(np.array(boxes)),
        labels=torch.tensor(labels, dtype=torch.int64),
        instance=torch.from_numpy(instance),
        superpoints=torch.from_numpy(superpoints),
    )
    check_scene(scene, SCANNET.classes, str(folder))
    return scene, [category for category, _ in objects if category not in label_map]


def read_mesh(path: Path) -> tuple[Array, Array]:
    """Vertices (N, 3) float32 in metres and colours (N, 3) float32 in [0, 1] of a PLY file.

    Binary or ASCII. Other vertex properties are ignored.
    """
    # If the faces are known to be triangles, plyfile maps them instead of looping over them.
    triangles = {"vertex_indices": 3, "vertex_index": 3}
    again = "Download the scan again."
    try:
        vertex = PlyData.read(path, known_list_len={"face": triangles})["vertex"].data
        points = np.stack([vertex[name] for name in ("x", "y", "z")], axis=1).astype(np.float32)
        colors = np.stack([vertex[name] for name in ("red", "green", "blue")], axis=1)
    except FileNotFoundError:
        raise InputError("no such file", file=path, kind=Kind.MISSING, remedy=again) from None
    except Exception as error:  # a damaged file makes the parser raise almost anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"not a coloured triangle mesh ({reason})", file=path, kind=Kind.VALUE, remedy=again
        ) from None
    if len(points) == 0:
        raise InputError("the mesh has no vertices", file=path, kind=Kind.EMPTY, remedy=again)
    if colors.dtype != np.uint8:
        raise InputError(
            f"colours are {colors.dtype}, not uchar from 0 to 255",
            file=path,
            kind=Kind.VALUE,
            remedy=again,
        )
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        raise InputError(
            f"vertex {bad[0]} is NaN or infinite", file=path, kind=Kind.VALUE, remedy=again
        )
    return points, colors.astype(np.float32) / 255


def read_segments(path: Path, vertices: int) -> Array:
    """(N,) int64, the segment of each vertex."""
    value = read_json(path)
    try:
        segments = np.array(value["segIndices"])
    except (TypeError, KeyError, ValueError):
        raise InputError(
            "no list `segIndices`", file=path, kind=Kind.VALUE, remedy="Download the scan again."
        ) from None
    if segments.shape != (vertices,) or segments.dtype.kind != "i":
        raise InputError(
            f"`segIndices` must be {vertices} whole numbers, one per vertex of "
            f"the mesh, and is {segments.dtype} {segments.shape}",
            file=path,
            kind=Kind.VALUE,
            remedy="Download the mesh and its segments again.",
        )
    return segments.astype(np.int64)


def read_objects(path: Path) -> list[tuple[str, Array]]:
    """The objects in the order of the file: raw category and segments (S,) int64."""
    value = read_json(path)
    try:
        # A repeated objectId replaces the earlier object, in its place.
        objects = {
            int(group["objectId"]): (
                str(group["label"]),
                np.array(group["segments"], dtype=np.int64).reshape(-1),
            )
            for group in value["segGroups"]
        }
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise InputError(
            "`segGroups` must list objects with objectId, label and segments "
            f"({type(error).__name__}: {error})",
            file=path,
            kind=Kind.VALUE,
            remedy="Download the scan again.",
        ) from None
    return list(objects.values())


def _owners(segments: Array, objects: list[tuple[str, Array]], source: Path) -> Array:
    """(N,) the object of each vertex as an index into `objects`, or -1.

    If two objects share segments, the later object gets them. scene0217_00 lists each of its
    objects twice (ScanNet/ScanNet issue 51).
    """
    known, inverse = np.unique(segments, return_inverse=True)
    owner = np.full(len(known), -1)
    for index, (category, own) in enumerate(objects):
        place = np.searchsorted(known, own).clip(max=len(known) - 1)
        strange = own[known[place] != own]
        if len(strange):
            raise InputError(
                f"object '{category}' refers to segment {strange[0]}, which no vertex has",
                file=source,
                kind=Kind.VALUE,
                remedy="Download the segments and the aggregation of this scan again.",
            )
        owner[place] = index
    return owner[inverse]


def read_alignment(path: Path) -> Array:
    """(4, 4) float64: `axisAlignment` of a scan's text file, which maps scan to room coordinates.

    Only test scans lack it. They have no objects either, so a missing alignment is an error here.
    """
    if not path.exists():
        raise InputError(
            "no such file", file=path, kind=Kind.MISSING, remedy="Download the scan again."
        )
    matrix = find_alignment(path)
    if matrix is None:
        raise InputError(
            "no axisAlignment, which every train and val scan has",
            file=path,
            kind=Kind.MISSING,
            remedy="Download it again.",
        )
    return matrix


def find_alignment(path: Path) -> Array | None:
    """`read_alignment`, but None if the file or the line is missing.

    Raises:
        InputError: not a text file, or the matrix is not a rotation about z and a shift.
    """
    if not path.exists():
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"not a text file ({error})",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Download the scan again.",
        ) from None
    values = {key.strip(): value for key, _, value in (line.partition("=") for line in lines)}
    if "axisAlignment" not in values:
        return None
    return check_alignment(values["axisAlignment"].split(), f"{path}: axisAlignment")


def read_label_map(path: Path) -> dict[str, int]:
    """Raw category to NYU40 id, from ScanNet's table of labels."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            table = {row["raw_category"]: int(row["nyu40id"]) for row in rows}
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(
            "not ScanNet's label map, a tab-separated table with raw_category "
            f"and nyu40id ({type(error).__name__}: {error})",
            file=path,
            kind=Kind.VALUE,
            remedy="Download it again.",
        ) from None
    if not table:
        raise InputError(
            "the label map is empty", file=path, kind=Kind.EMPTY, remedy="Download it again."
        )
    return table


def read_list(path: Path) -> list[str]:
    """The scan ids of a split, from a file with one per line."""
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"not a list of scans ({error})",
            file=path,
            kind=Kind.VALUE,
            remedy="Download it again.",
        ) from None


def _find(name: str, places: Sequence[Path]) -> Path:
    for place in places:
        if (place / name).is_file():
            return place / name
    raise InputError(
        f"{name} is not in {', '.join(map(str, places))}",
        kind=Kind.MISSING,
        remedy="The label map is in the ScanNet download. The lists of train and val scans are in "
        "Tasks/Benchmark of github.com/ScanNet/ScanNet. Name their folder with --meta.",
    )
