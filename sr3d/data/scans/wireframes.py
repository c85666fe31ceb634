"""Boxes as a mesh of thin bars along their edges, which every mesh viewer shows.

trimesh does not replace this module: it makes 1,200 meshes of 100 boxes, which takes 3,000 times as
long.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement

from sr3d.data.scans.content import Array
from sr3d.data.scans.listing import BOXES_MARK
from sr3d.errors import InputError, Kind
from sr3d.runs.files import atomic_path, write_bytes

# An edge has a lower corner and an axis. Its two corners have indices that differ in one bit.
_EDGES = [(i, k) for k in range(3) for i in range(8) if not i >> k & 1]
# The 12 triangles of a cuboid, seen from outside. Its corners are numbered like a box's corners.
_TRIANGLES = np.array(
    [
        (0, 2, 1), (1, 2, 3), (4, 5, 6), (5, 7, 6), (0, 1, 4), (1, 5, 4),
        (2, 6, 3), (3, 6, 7), (0, 4, 2), (2, 4, 6), (1, 3, 5), (3, 7, 5),
    ]
)  # fmt: skip


def wireframes(corners: Array, thickness: float) -> tuple[Array, Array]:
    """Bars of 12 edges a box: vertices (K, 96, 3) and triangles (K, 144, 3) into all vertices.

    corners: (K, 8, 3), in the order of `Boxes.corners`. thickness: of each bar, in the same unit.
    """
    axes = np.stack([corners[:, 1 << k] - corners[:, 0] for k in range(3)], axis=1)
    lengths = np.linalg.norm(axes, axis=2, keepdims=True)
    half = axes / np.maximum(lengths, 1e-12) * (thickness / 2)
    signs = np.array([[(i >> k & 1) * 2 - 1 for k in range(3)] for i in range(8)])
    # Every bar is the cuboid around the two ends of its edge.
    shape = signs @ half  # (K, 8, 3)
    bars = np.empty((len(corners), 12, 8, 3))
    for bar, (first, along) in enumerate(_EDGES):
        second = first | 1 << along
        upper = signs[:, along] > 0
        bars[:, bar, ~upper] = corners[:, None, first] + shape[:, ~upper]
        bars[:, bar, upper] = corners[:, None, second] + shape[:, upper]
    vertices = bars.reshape(len(corners), 96, 3)
    starts = np.arange(len(corners) * 12).reshape(-1, 12, 1, 1) * 8
    return vertices, (starts + _TRIANGLES).reshape(len(corners), 144, 3)


def write_wireframes(
    path: Path, corners: Array, thickness: float, names: Sequence[str], colors: Array
) -> None:
    """Write a `.ply` or `.obj` of K boxes atomically.

    names: of the boxes, for OBJ, where each box is an object. colors: (K, 3) uint8.

    Raises:
        InputError: another suffix, or a file that cannot be written.
    """
    vertices, triangles = wireframes(corners, thickness)
    match path.suffix.lower():
        case ".ply":
            buffer = io.BytesIO()
            _ply(vertices, triangles, colors).write(buffer)
            write_bytes(path, buffer.getbuffer())
        case ".obj":
            with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as out:
                out.write(f"# {BOXES_MARK}\n")
                for one, faces, name, color in zip(vertices, triangles, names, colors, strict=True):
                    out.write(f"o {name.replace(' ', '_')}\n")
                    paint = " ".join(f"{value / 255:.4f}" for value in color)
                    out.writelines(f"v {x:.9g} {y:.9g} {z:.9g} {paint}\n" for x, y, z in one)
                    out.writelines(f"f {a} {b} {c}\n" for a, b, c in faces + 1)
        case kind:
            raise InputError(
                f"'{kind}': boxes are written as .ply or .obj", file=path, kind=Kind.VALUE
            )


def _ply(vertices: Array, triangles: Array, colors: Array) -> PlyData:
    # Survey coordinates need more digits than float32 has.
    place = [(name, "f8") for name in "xyz"]
    rows = np.empty(
        vertices.shape[0] * 96, dtype=[*place, ("red", "u1"), ("green", "u1"), ("blue", "u1")]
    )
    for i, name in enumerate("xyz"):
        rows[name] = vertices[..., i].ravel()
    for i, name in enumerate(("red", "green", "blue")):
        rows[name] = np.repeat(colors[:, i], 96)
    faces = np.empty(triangles.shape[0] * 144, dtype=[("vertex_indices", "i4", (3,))])
    faces["vertex_indices"] = triangles.reshape(-1, 3)
    elements = [PlyElement.describe(rows, "vertex"), PlyElement.describe(faces, "face")]
    return PlyData(elements, comments=[BOXES_MARK])
