"""Prepared scenes as files for mmdet3d (1.1 and later) and programs built on it.

The files are `points/<scene>.bin` and info pickles with boxes. Points are aligned already, so
ScanNet's axis_align_matrix is the identity. Images and calibrations are not part of prepared data.
Masks are not written. Info files have the paths of masks that mmdet3d's loaders join, but the masks
do not exist.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sr3d.data.mmdet3d.reader import AREAS, color_scale, info_file
from sr3d.data.prepared import PreparedDataset, read_manifest
from sr3d.data.scene import Scene
from sr3d.errors import InputError, Kind
from sr3d.runs.files import write_bytes

INFO_VERSION = "1.1"


@dataclass(frozen=True)
class Export:
    """The number of clouds, and the info files, that were written."""

    scenes: int
    infos: tuple[Path, ...]


def export_mmdet3d(
    data: Path, out: Path, *, progress: Callable[[int, int], None] | None = None
) -> Export:
    """Write a prepared folder in mmdet3d's layout. `prepare_mmdet3d` reads the same scenes from it.

    Clouds come first and info files last. progress: called with (done, all).

    Raises:
        InputError: `data` is not a prepared folder, or `out` is the same one.
    """
    manifest = read_manifest(data)
    if out.resolve() == data.resolve():
        raise InputError(
            "is the prepared folder itself",
            file=out,
            kind=Kind.VALUE,
            remedy="Name another with --out.",
        )
    total, done = len(manifest.scenes), 0
    rows: dict[str, list[dict[str, Any]]] = {}
    for split in manifest.splits:
        rows[split] = []
        for scene in PreparedDataset(data, split):
            _write_cloud(out / "points" / f"{scene.id}.bin", scene, color_scale(manifest.dataset))
            rows[split].append(_info(scene, manifest.dataset, manifest.rotated))
            done += 1
            if progress:
                progress(done, total)
    metainfo = {
        "categories": {name: label for label, name in enumerate(manifest.classes)},
        "dataset": manifest.dataset,
        "info_version": INFO_VERSION,
        "source": manifest.source,
        "digest": manifest.digest(),
    }
    written = []
    for name, entries in _files(manifest.dataset, rows).items():
        write_bytes(out / name, pickle.dumps({"metainfo": metainfo, "data_list": entries}, 4))
        written.append(out / name)
    return Export(total, tuple(written))


def _files(dataset: str, rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Scenes by the name of their info file."""
    if dataset != "s3dis":
        splits = dict.fromkeys(("train", "val", *rows))  # both, because mmdet3d requires both
        return {info_file(dataset, split): rows.get(split, []) for split in splits}
    every = [row for some in rows.values() for row in some]
    return {
        info_file(dataset, area): [
            row for row in every if row["lidar_points"]["lidar_path"].startswith(f"{area}_")
        ]
        for area in sorted(area for areas in AREAS.values() for area in areas)
    }


def _info(scene: Scene, dataset: str, rotated: bool) -> dict[str, Any]:
    cloud = f"{scene.id}.bin"
    width = 7 if rotated else 6
    info: dict[str, Any] = {
        "sample_idx": scene.id,
        "lidar_points": {"num_pts_feats": 6, "lidar_path": cloud},
        "instances": [
            {"bbox_3d": box[:width], "bbox_label_3d": label}
            for box, label in zip(scene.boxes.tensor.tolist(), scene.labels.tolist(), strict=True)
        ],
    }
    if dataset == "sunrgbd":
        return {**info, "images": {}}
    masks = {"pts_instance_mask_path": cloud, "pts_semantic_mask_path": cloud}
    return {**info, **masks, "axis_align_matrix": np.eye(4).tolist()}


def _write_cloud(path: Path, scene: Scene, white: int) -> None:
    colors = scene.colors.numpy()
    # A colour that was a byte divided by 255 becomes that byte again, so nothing changes.
    colors = np.rint(colors * np.float32(255)) if white == 255 else colors
    rows = np.concatenate([scene.points.numpy(), colors], axis=1)
    write_bytes(path, rows.astype("<f4").tobytes())
