"""Small folders of scans with labels, and what the annotation tools' own code would write."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from tests.data.scans.making import room, write_any

Array = np.ndarray

CHAIR = {"class": "chair", "center": [0.5, 0.25, 0.5], "size": [0.5, 0.75, 1.0], "yaw": 0.0}
TABLE = {"class": "table", "center": [-0.5, 0.5, 0.25], "size": [1.5, 1.0, 0.5], "yaw": 0.0}


def write_scan(path: Path, seed: int = 3, scale: float = 1.0, count: int = 1500) -> None:
    """A procedural room of whatever kind `path` ends in, in a unit of 1 / `scale` metres."""
    points, colors = room(seed, points=count)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_any(path, points * scale, colors)


def write_boxes(path: Path, *boxes: dict[str, Any], **others: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"detections": boxes, **others}))


def write_folder(folder: Path, count: int = 4, kind: str = ".ply") -> Path:
    """`count` scans, scan0 to scan3, with a chair and a table each."""
    for i in range(count):
        write_scan(folder / f"scan{i}{kind}", seed=3 + i)
        write_boxes(folder / f"scan{i}{kind}.json", CHAIR, TABLE)
    return folder


def turn_x(angle: float) -> Array:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])


def turn_y(angle: float) -> Array:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def turn_z(angle: float) -> Array:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def labelcloud_vertices(center: Array, size: Array, degrees: Array) -> list[list[float]]:
    """The eight corners in the order of labelCloud's `BBox.get_vertices`."""
    x, y, z = size / 2
    signs = [
        (-x, -y, -z), (-x, y, -z), (x, y, -z), (x, -y, -z),
        (-x, -y, z), (-x, y, z), (x, y, z), (x, -y, z),
    ]  # fmt: skip
    rx, ry, rz = np.radians(degrees)
    turn = turn_z(rz) @ turn_y(ry) @ turn_x(rx)
    return [[round(float(v), 8) for v in turn @ np.array(corner) + center] for corner in signs]


def labelcloud_file(path: Path, objects: list[dict[str, Any]]) -> None:
    """As its `export_labels` writes one; `path` is beside the scan."""
    content = {
        "folder": "pointclouds",
        "filename": f"{path.stem}.ply",
        "path": f"pointclouds/{path.stem}.ply",
        "objects": objects,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent="\t"))


def xyz(values: Any) -> dict[str, float]:
    return dict(zip("xyz", map(float, values), strict=True))
