"""Reads mmdet3d's prepared clouds and info files as scenes. The raw data are not needed.

Its data sets differ. ScanNet's clouds are not aligned, but its boxes are, and the info file has the
matrix. SUN RGB-D's colours end at 1, all others at 255. S3DIS has one info file per area.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sr3d.data.datasets import DATASETS, Dataset, get_dataset
from sr3d.data.mmdet3d import masks
from sr3d.data.mmdet3d.infos import SceneInfo, read_infos
from sr3d.data.prepared import Manifest, PreparedWriter
from sr3d.data.readers import published
from sr3d.data.readers.conversion import ConversionOptions, Source, convert, select_scenes
from sr3d.data.scannet_files import align
from sr3d.data.scene import Scene, check_scene
from sr3d.errors import InputError, Kind
from sr3d.geometry.boxes import Boxes

Array = npt.NDArray[Any]

AREAS = {"train": ("Area_1", "Area_2", "Area_3", "Area_4", "Area_6"), "val": ("Area_5",)}
_AGAIN = "Make it with mmdet3d again."


def prepare_mmdet3d(
    root: Path,
    out: Path,
    *,
    dataset: str | None = None,
    infos: Mapping[str, Sequence[Path]] | None = None,
    clockwise: bool = False,
    scenes: Sequence[str] | None = None,
    append: bool = False,
    how: ConversionOptions = ConversionOptions(),
) -> Manifest:
    """Turn mmdet3d's prepared data into a prepared folder.

    root: holds `points/`, perhaps `instance_mask/`, and `<data set>_infos_<split>.pkl` (S3DIS:
    `s3dis_infos_Area_<n>.pkl`) directly or in `infos/`. dataset: its name. By default the only
    data set with info files there. infos: split to info files, if they have other names.
    clockwise: see `read_infos`. scenes: only these, by default all. append: add to the set in
    `out`.

    Raises:
        InputError: a missing or invalid file, or other counts than published. Nothing is written
            before all files are known to exist.
    """
    kind = get_dataset(dataset or _only_dataset(root))
    files = infos or _info_files(root, kind.name)
    lists: dict[str, list[str]] = {}
    known: dict[str, SceneInfo] = {}
    for split, paths in files.items():
        found = [i for path in paths for i in read_infos(path, kind.classes, clockwise=clockwise)]
        lists[split] = [info.id for info in found]
        known |= {info.id: info for info in found}
    sources = []
    for split, ids in select_scenes(lists, scenes).items():
        for scene in ids:
            cloud = root / "points" / known[scene].points
            mask = root / masks.FOLDER / known[scene].points
            used = (cloud, *files[split], *((mask,) if mask.is_file() else ()))
            read = partial(read_scene, cloud, known[scene], kind, mask)
            sources.append(Source(split, scene, used, read))
    labels = "v2 unless mmdet3d was told otherwise" if kind.name == "sunrgbd" else "of the infos"
    writer = PreparedWriter(
        out,
        kind.name,
        kind.classes,
        kind.rotated,
        f"{kind.name}, prepared by mmdet3d" + (", yaw clockwise" if clockwise else ""),
        labels=labels,
        append=append,
    )
    whole = scenes is None and infos is None
    remedy = (
        "Make them with mmdet3d's tools/create_data.py, or name with --scenes those that you have."
    )
    return convert(sources, writer, _published(kind.name, whole), remedy, how)


def read_scene(path: Path, info: SceneInfo, dataset: Dataset, mask: Path | None = None) -> Scene:
    """One cloud with its boxes. mask: its instance mask, which may be absent.

    Raises:
        InputError: names the file, what is wrong with it and what to do.
    """
    rows = read_cloud(path)
    brightest = float(rows[:, 3:].max())
    if brightest <= 1 < color_scale(dataset.name):
        raise InputError(
            f"colours end at {brightest:.3g}, but colours of {dataset.name} end at 255",
            file=path,
            kind=Kind.VALUE,
            remedy=_AGAIN,
        )
    if dataset.name == "scannet" and info.alignment is None:
        raise InputError(
            "the info file has no axis_align_matrix for it",
            file=path,
            kind=Kind.MISSING,
            remedy="Make it again.",
        )
    points = rows[:, :3].copy() if info.alignment is None else align(rows[:, :3], info.alignment)
    if dataset.name == "scannet":
        _check_frame(points, info.boxes, path)
    instance = None
    if mask is not None and not dataset.rotated:  # SUN RGB-D has none
        instance = masks.read_instances(mask, points, info.boxes)
    scene = Scene(
        id=info.id,
        points=torch.from_numpy(points),
        colors=torch.from_numpy(rows[:, 3:] / np.float32(color_scale(dataset.name))),
        boxes=Boxes.from_array(info.boxes),
        labels=torch.from_numpy(info.labels),
        instance=None if instance is None else torch.from_numpy(instance),
    )
    check_scene(scene, dataset.classes, str(path))
    return scene


def color_scale(dataset: str) -> int:
    """The value of white in mmdet3d's files. It is 1 in our files of procedural rooms."""
    return 255 if dataset in ("scannet", "s3dis") else 1


def read_cloud(path: Path) -> Array:
    """(N, 6) float32, the rows of a .bin file.

    Raises:
        InputError: the file is missing, empty or truncated, or holds NaN.
    """
    try:
        values = np.fromfile(path, dtype="<f4")
        size = path.stat().st_size
    except OSError as error:
        raise InputError(
            f"cannot be read ({error})", file=path, kind=Kind.UNREADABLE, remedy=_AGAIN
        ) from None
    if size == 0 or size % 24:
        raise InputError(
            f"{size} bytes are no whole number of 6-value points",
            file=path,
            kind=Kind.UNREADABLE,
            remedy=_AGAIN,
        )
    rows = values.reshape(-1, 6)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise InputError(
            f"point {bad[0]} is NaN or infinite", file=path, kind=Kind.VALUE, remedy=_AGAIN
        )
    return rows


def info_file(dataset: str, part: str) -> str:
    """mmdet3d's name for the info file of a split or, for S3DIS, of an area."""
    return f"{dataset}_infos_{part}.pkl"


def _check_frame(points: Array, boxes: Array, path: Path) -> None:
    """Check that no ScanNet box reaches beyond the points, as it spans some of them.

    Points that are aligned already, as in older mmdet3d and VoteNet's scripts, fail.
    """
    if not len(boxes):
        return
    low, high = boxes[:, :3] - boxes[:, 3:6] / 2, boxes[:, :3] + boxes[:, 3:6] / 2
    beyond = max(float((points.min(0) - low).max()), float((high - points.max(0)).max()))
    if beyond > 0.1:
        raise InputError(
            f"boxes reach {beyond:.2f} m beyond the points, which may be aligned already",
            file=path,
            kind=Kind.CONFLICT,
            remedy="Make both with one version of mmdet3d (1.0 or later stores them unaligned).",
        )


def _only_dataset(root: Path) -> str:
    names = {path.name.partition("_infos_")[0] for path in _places(root)}
    known = sorted(names & DATASETS.keys())
    if len(known) == 1:
        return known[0]
    if known:
        raise InputError(
            f"has info files of {' and '.join(known)}",
            file=root,
            kind=Kind.VALUE,
            remedy="Choose with --dataset.",
        )
    found = f" (found {', '.join(sorted(names))})" if names else ""
    raise InputError(
        f"no <data set>_infos_<split>.pkl in it or in its folder infos{found}",
        file=root,
        kind=Kind.MISSING,
        remedy="Make them with mmdet3d's tools/create_data.py, name their folder "
        "with --root or the files with --infos and --dataset.",
    )


def _places(root: Path) -> list[Path]:
    return [*root.glob("*_infos_*.pkl"), *root.glob("infos/*_infos_*.pkl")]


def _info_files(root: Path, dataset: str) -> dict[str, list[Path]]:
    found = {path.name: path for path in reversed(_places(root))}
    parts: dict[str, tuple[str, ...]] = {"train": ("train",), "val": ("val",)}
    names = {
        split: [info_file(dataset, part) for part in some]
        for split, some in (AREAS if dataset == "s3dis" else parts).items()
    }
    if absent := [name for some in names.values() for name in some if name not in found]:
        raise InputError(
            f"{absent[0]} is neither in {root} nor in {root / 'infos'}",
            kind=Kind.MISSING,
            remedy="Make it with mmdet3d's tools/create_data.py, name its folder with "
            "--root or other files with --infos.",
        )
    return {split: [found[name] for name in some] for split, some in names.items()}


def _published(dataset: str, whole: bool) -> published.PublishedCounts:
    match dataset:
        case "scannet":
            numbers = published.scannet()
        case "sunrgbd":
            numbers = published.sunrgbd("v2")
        case "s3dis":
            numbers = published.S3DIS
        case _:
            numbers = published.PublishedCounts()
    return numbers if whole else numbers.of_some_scenes()
