"""Small scans, and the files of every kind that hold them."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path
from typing import Any

import laspy
import lzf
import numpy as np
import trimesh
from plyfile import PlyData, PlyElement

from sr3d.data.rooms.generate import generate_room

Array = np.ndarray


@cache
def room(seed: int = 3, rotated: bool = False, points: int = 4000) -> tuple[Array, Array]:
    """Points (N, 3) float32 metres, z up, and colours (N, 3) uint8."""
    scene = generate_room(seed, rotated=rotated, points=points)
    return scene.points.numpy(), (scene.colors.numpy() * 255).round().astype(np.uint8)


def write_ply(
    path: Path, points: Array, colors: Array | None = None, faces: Any = None, **how: Any
) -> None:
    """how: `text` and `byte_order`, as plyfile has them; `kind`, the type of coordinates."""
    kind = how.pop("kind", "f4")
    fields = [(name, kind) for name in "xyz"]
    if colors is not None:
        fields += [(name, colors.dtype.str) for name in ("red", "green", "blue")]
    rows = np.empty(len(points), dtype=fields)
    for i, (name, _) in enumerate(fields):
        rows[name] = points[:, i] if i < 3 else colors[:, i - 3]  # type: ignore[index]
    elements = [PlyElement.describe(rows, "vertex")]
    if faces is not None:
        table = np.empty(len(faces), dtype=[("vertex_indices", "O")])
        table["vertex_indices"] = [np.array(face, dtype=np.int32) for face in faces]
        elements.append(PlyElement.describe(table, "face", val_types={"vertex_indices": "i4"}))
    PlyData(elements, **how).write(path)


def write_pcd(path: Path, points: Array, colors: Array | None, data: str) -> None:
    """data: ascii, binary or binary_compressed; colours as the bits of a float, as PCL has them."""
    fields = [(name, "<f4") for name in "xyz"] + ([("rgb", "<f4")] if colors is not None else [])
    rows = np.empty(len(points), dtype=fields)
    for i, name in enumerate("xyz"):
        rows[name] = points[:, i]
    if colors is not None:
        red, green, blue = colors.astype(np.uint32).T
        rows["rgb"] = (red << 16 | green << 8 | blue).view(np.float32)
    names, count = [name for name, _ in fields], len(fields)
    header = (
        f"# .PCD v0.7\nVERSION 0.7\nFIELDS {' '.join(names)}\nSIZE {'4 ' * count}\n"
        f"TYPE {'F ' * count}\nCOUNT {'1 ' * count}\nWIDTH {len(points)}\nHEIGHT 1\n"
        f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(points)}\nDATA {data}\n"
    ).encode()
    if data == "ascii":
        lines = [" ".join(f"{value:.9g}" for value in row.tolist()) for row in rows]
        path.write_bytes(header + "\n".join(lines).encode() + b"\n")
    elif data == "binary":
        path.write_bytes(header + rows.tobytes())
    else:
        whole = b"".join(rows[name].tobytes() for name in names)
        packed = lzf.compress(whole, 2 * len(whole) + 16)  # it does not give up on noise
        path.write_bytes(header + struct.pack("<II", len(packed), len(whole)) + packed)


def write_las(path: Path, points: Array, colors: Array | None) -> None:
    header = laspy.LasHeader(point_format=2 if colors is not None else 0, version="1.2")
    header.scales = np.full(3, 1e-4)
    header.offsets = np.floor(points.min(axis=0))
    file = laspy.LasData(header)
    file.x, file.y, file.z = points.astype(np.float64).T
    if colors is not None:
        file.red, file.green, file.blue = (colors.astype(np.uint16) * 257).T
    file.write(str(path))


def write_any(path: Path, points: Array, colors: Array) -> None:
    """One file of whatever kind `path` ends in; glTF's y is up, as its rules have it."""
    match path.suffix:
        case ".ply":
            write_ply(path, points, colors)
        case ".pcd":
            write_pcd(path, points, colors, "binary")
        case ".npy":
            np.save(path, np.concatenate([points, colors], axis=1))
        case ".npz":
            np.savez(path, points=points, colors=colors)
        case ".bin":
            np.concatenate([points, colors], axis=1).astype("<f4").tofile(path)
        case ".obj":
            rows = np.concatenate([points, colors / 255], axis=1)
            path.write_text("".join(f"v {' '.join(f'{v:.9g}' for v in row)}\n" for row in rows))
        case ".glb" | ".gltf":
            y_up = points @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=np.float64)
            trimesh.PointCloud(y_up, colors=colors).export(path)
        case ".las" | ".laz":
            write_las(path, points, colors)
        case kind:
            raise ValueError(kind)
