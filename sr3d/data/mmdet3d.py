"""Clouds as mmdet3d prepares them (`points/<scene>.bin` and info pickles), turned into scenes.

Read here: ScanNet with infos of version 1.1 (mmdet3d 1.1 and later, UniDet3D), in which boxes are
aligned, with their geometric centres, but points are not: mmdet3d aligns them while loading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sr3d.data.box_files import read_ground_truth
from sr3d.data.datasets import SCANNET
from sr3d.data.prepared import Manifest, PreparedWriter
from sr3d.data.safe_pickle import load_pickle
from sr3d.data.scannet import align, check_alignment
from sr3d.data.scene import Scene, check_scene
from sr3d.data.selection import require_files, select_scenes
from sr3d.errors import InputError
from sr3d.geometry.boxes import Boxes

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SceneInfo:
    """One scene of an info file, whichever version wrote it.

    points: name of its cloud. boxes: (K, 7) float32, geometric centre, full size, yaw, in the frame
    to which `alignment`, (4, 4) float64 or absent, takes the points. labels: (K,) int64.
    """

    id: str
    points: str
    boxes: Array
    labels: Array
    alignment: Array | None


def prepare_mmdet3d_scannet(
    root: Path,
    out: Path,
    *,
    scenes: Sequence[str] | None = None,
    append: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Turn mmdet3d's ScanNet into a prepared folder, with the splits of its two info files.

    root: holds `points/`, and `scannet_infos_{train,val}.pkl` directly or in `infos/`.
    scenes: only these; by default all of both files. append: add to what `out` holds.
    progress: called with (done, all).

    Raises:
        InputError: a missing or unusable file; nothing is written before all are known to exist.
    """
    infos = {
        split: read_infos(_find_infos(root, f"scannet_infos_{split}.pkl"), SCANNET.classes)
        for split in ("train", "val")
    }
    chosen = select_scenes({split: [i.id for i in found] for split, found in infos.items()}, scenes)
    wanted = [
        (split, info) for split, found in infos.items() for info in found
        if info.id in chosen.get(split, ())
    ]  # fmt: skip
    clouds = {info.id: root / "points" / info.points for _, info in wanted}
    require_files(
        {scene: [path] for scene, path in clouds.items()},
        "make them with mmdet3d's tools/create_data.py, or name with --scenes those that you have",
    )
    writer = PreparedWriter(
        out, "scannet", SCANNET.classes, False, "ScanNet V2, prepared by mmdet3d", append=append
    )
    for done, (split, info) in enumerate(wanted, start=1):
        writer.add(split, read_scannet_cloud(clouds[info.id], info))
        if progress:
            progress(done, len(wanted))
    return writer.finish()


def read_scannet_cloud(path: Path, info: SceneInfo) -> Scene:
    """One cloud with its boxes: points (N, 6) float32 in the file, unaligned xyz and rgb 0 to 255.

    Raises:
        InputError: names the file, what is wrong with it and what to do.
    """
    rows = read_cloud(path)
    if float(rows[:, 3:].max()) <= 1:
        raise InputError(f"{path}: colours end at 1, ScanNet's at 255; make it with mmdet3d again")
    if info.alignment is None:
        raise InputError(f"{path}: the info file has no axis_align_matrix for it; make it again")
    points = align(rows[:, :3], info.alignment)
    _check_frame(points, info.boxes, path)
    scene = Scene(
        id=info.id,
        points=torch.from_numpy(points),
        colors=torch.from_numpy(rows[:, 3:] / np.float32(255)),
        boxes=Boxes.from_array(info.boxes),
        labels=torch.from_numpy(info.labels),
    )
    check_scene(scene, SCANNET.classes, str(path))
    return scene


def read_cloud(path: Path) -> Array:
    """(N, 6) float32, the rows of a .bin file.

    Raises:
        InputError: the file is missing, empty or truncated, or holds NaN.
    """
    again = "make it with mmdet3d again"
    try:
        values = np.fromfile(path, dtype="<f4")
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); {again}") from None
    if size == 0 or size % 24:
        raise InputError(f"{path}: {size} bytes are no whole number of 6-value points; {again}")
    rows = values.reshape(-1, 6)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise InputError(f"{path}: point {bad[0]} is NaN or infinite; {again}")
    return rows


def read_infos(path: Path, classes: Sequence[str]) -> list[SceneInfo]:
    """The scenes of an info pickle of version 1.1, labels turned into indices of `classes`.

    Raises:
        InputError: not such a file, or one without some of the classes.
    """
    truth = read_ground_truth(path, classes)  # checks the file
    rows = {scene: np.flatnonzero(truth.scene == scene) for scene in truth.scenes}
    infos = []
    for entry in load_pickle(path)["data_list"]:
        name = Path(entry["lidar_points"]["lidar_path"]).name
        alignment = entry.get("axis_align_matrix")
        if alignment is not None:
            alignment = check_alignment(alignment, f"{path}: axis_align_matrix of {name}")
        own = rows[Path(name).stem]
        infos.append(SceneInfo(Path(name).stem, name, truth.box[own], truth.label[own], alignment))
    return infos


def _check_frame(points: Array, boxes: Array, path: Path) -> None:
    """A ScanNet box spans some of the points, so none may reach beyond them.

    Points that were aligned already, as older mmdet3d and VoteNet's own scripts store them, fail.
    """
    if not len(boxes):
        return
    low, high = boxes[:, :3] - boxes[:, 3:6] / 2, boxes[:, :3] + boxes[:, 3:6] / 2
    beyond = max(float((points.min(0) - low).max()), float((high - points.max(0)).max()))
    if beyond > 0.1:
        raise InputError(
            f"{path}: boxes reach {beyond:.2f} m beyond the points, which are perhaps aligned "
            "already; make both with one version of mmdet3d (1.0 or later stores them unaligned)"
        )


def _find_infos(root: Path, name: str) -> Path:
    for place in (root, root / "infos"):
        if (place / name).is_file():
            return place / name
    raise InputError(
        f"{name} is neither in {root} nor in {root / 'infos'}; make it with mmdet3d's "
        "tools/create_data.py and name its folder with --root"
    )
