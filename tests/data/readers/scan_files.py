"""A tiny scan in ScanNet's raw layout, written by the tests that read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from plyfile import PlyData, PlyElement

from sr3d.data.scannet_files import LABEL_MAP

ID = "scene9000_00"
# 90° about z, then a shift.
TURN: list[list[float]] = [[0, -1, 0, 2], [1, 0, 0, 3], [0, 0, 1, 0.5], [0, 0, 0, 1]]
NUMBERS = " ".join(str(v) for row in TURN for v in row)
# Two objects and a wall. Segments 10 and 11 are the chair, 20 the table, 30 the wall.
VERTICES = np.array(
    [
        [0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3],
        [5, 5, 0], [6, 7, 1], [5, 6, 0.5],
        [9, 9, 9], [9, 0, 9], [0, 9, 9],
    ],
    dtype=np.float32,
)  # fmt: skip
COLORS = np.arange(30, dtype=np.uint8).reshape(10, 3) * 8
SEGMENTS = [10, 10, 11, 11, 20, 20, 20, 30, 30, 30]
OBJECTS = [("office chair", [10, 11]), ("table", [20]), ("wall", [30])]
LABELS = {"office chair": 5, "table": 7, "wall": 1}


def write_scan(scans: Path, scene: str = ID) -> Path:
    folder = scans / scene
    folder.mkdir(parents=True)
    write_mesh(folder / f"{scene}_vh_clean_2.ply")
    write_segments(folder / f"{scene}_vh_clean_2.0.010000.segs.json")
    write_objects(folder / f"{scene}.aggregation.json")
    (folder / f"{scene}.txt").write_text(f"axisAlignment = {NUMBERS}\nsceneType = Office\n")
    return folder


def write_mesh(
    path: Path,
    vertices: np.ndarray = VERTICES,
    *,
    text: bool = False,
    order: str = "<",
    more: tuple[str, ...] = ("alpha",),
    color: str = "u1",
    without: str = "",
    face: tuple[int, ...] = (0, 1, 2),
) -> None:
    names = [("x", "f4"), ("y", "f4"), ("z", "f4")]
    names += [(name, color) for name in ("red", "green", "blue")] + [(name, "u1") for name in more]
    data = np.zeros(len(vertices), dtype=[pair for pair in names if pair[0] != without])
    for i, name in enumerate(("x", "y", "z", "red", "green", "blue")):
        if name != without:
            data[name] = vertices[:, i] if i < 3 else COLORS[: len(vertices), i - 3]
    faces = np.empty(4, dtype=[("vertex_indices", "i4", (len(face),))])
    faces["vertex_indices"] = face
    PlyData(
        [PlyElement.describe(data, "vertex"), PlyElement.describe(faces, "face")],
        text=text,
        byte_order=order,
    ).write(str(path))


def write_segments(path: Path, segments: Any = SEGMENTS) -> None:
    path.write_text(json.dumps({"sceneId": ID, "segIndices": segments}))


def write_objects(path: Path, objects: Any = OBJECTS, ids: Any = None) -> None:
    groups = [
        {"id": i, "objectId": i if ids is None else ids[i], "label": label, "segments": segments}
        for i, (label, segments) in enumerate(objects)
    ]
    path.write_text(json.dumps({"sceneId": f"scannet.{ID}", "segGroups": groups}))


def write_meta(folder: Path, train: str = f"{ID}\n", val: str = "scene9001_00\n") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{i}\t{raw}\t{nyu}\n" for i, (raw, nyu) in enumerate(LABELS.items()))
    (folder / LABEL_MAP).write_text("id\traw_category\tnyu40id\n" + rows)
    (folder / "scannetv2_train.txt").write_text(train)
    (folder / "scannetv2_val.txt").write_text(val)


def file(raw: Path, suffix: str) -> Path:
    return raw / "scans" / ID / (ID + suffix)


PLY, SEGS, AGGREGATION, TXT = (
    "_vh_clean_2.ply", "_vh_clean_2.0.010000.segs.json", ".aggregation.json", ".txt",
)  # fmt: skip
