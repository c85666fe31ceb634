"""A prepared set as a folder of scans with boxes, as `sr3d prepare folder` reads it.

    DIR/<scene>.ply               points and colours, metres, z up
    DIR/<scene>.ply.json          boxes, as `sr3d detect` writes them
    DIR/train.txt, DIR/val.txt    the splits
    DIR/classes.txt               the classes in their order

`sr3d prepare folder --classes DIR/classes.txt` reads the same scenes from it, with colours rounded
to bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from plyfile import PlyData, PlyElement

from sr3d.data.prepared import PreparedDataset, read_manifest
from sr3d.data.scene import Scene
from sr3d.errors import InputError, Kind
from sr3d.runs.files import write_bytes, write_json, write_text


def export_folder(
    data: Path, out: Path, *, progress: Callable[[int, int], None] | None = None
) -> int:
    """Write every scene of a prepared folder, and return the number of scenes.

    Coordinates are bitwise identical. Colours become bytes. progress: see `Progress`.

    Raises:
        InputError: `data` is not a prepared folder, or `out` is the same folder.
    """
    manifest = read_manifest(data)
    if out.resolve() == data.resolve():
        raise InputError(
            "is the prepared folder itself",
            file=out,
            kind=Kind.VALUE,
            remedy="Name another folder with --out.",
        )
    done, total = 0, len(manifest.scenes)
    for split, ids in manifest.splits.items():
        for scene in PreparedDataset(data, split):
            path = out / f"{scene.id}.ply"
            _write_ply(path, scene)
            write_json(path.with_name(f"{path.name}.json"), _boxes(scene, manifest.classes))
            done += 1
            if progress:
                progress(done, total)
        write_text(out / f"{split}.txt", "".join(f"{scene}\n" for scene in ids))
    write_text(out / "classes.txt", "".join(f"{name}\n" for name in manifest.classes))
    return total


def _boxes(scene: Scene, classes: list[str]) -> dict[str, Any]:
    rows = zip(scene.boxes.tensor.tolist(), scene.labels.tolist(), strict=True)
    return {
        "schema": "sr3d/detections",
        "version": 1,
        "file": f"{scene.id}.ply",
        "points": len(scene),
        "detections": [
            {"class": classes[label], "center": box[:3], "size": box[3:6], "yaw": box[6]}
            for box, label in rows
        ],
    }


def _write_ply(path: Path, scene: Scene) -> None:
    places = [(name, "<f4") for name in "xyz"]
    shades = [(name, "u1") for name in ("red", "green", "blue")]
    rows = np.empty(len(scene), dtype=[*places, *shades])
    colors = np.rint(scene.colors.numpy() * 255)
    for i in range(3):
        rows[places[i][0]] = scene.points[:, i].numpy()
        rows[shades[i][0]] = colors[:, i]
    buffer = io.BytesIO()
    PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(buffer)
    write_bytes(path, buffer.getbuffer())
