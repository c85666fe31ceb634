"""PLY: ASCII or binary of either endianness, a cloud or a mesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from plyfile import PlyData

from sr3d.data.scans.content import Array, Content, Mesh, vertex_paint
from sr3d.data.scans.naming import read_named
from sr3d.data.scans.ply_files import FACES, open_ply
from sr3d.errors import InputError


def read_ply(path: Path) -> Content:
    """The points, or the triangles if there are some.

    Raises:
        InputError: the vertices have no x, y, z. PlyParseError and others: a damaged file.
    """
    file = open_ply(path)
    if "vertex" not in file:
        have = ", ".join(element.name for element in file.elements) or "none"
        raise InputError(
            f"{path}: has no element 'vertex' (it has {have}); export it with its points"
        )
    vertex = file["vertex"].data
    found = read_named({name: vertex[name] for name in vertex.dtype.names}, path, "vertex")
    points, colors = found.points, found.colors
    faces = _triangles(file, path, len(points))
    if faces is None:
        return found.content()
    paint = None if colors is None else vertex_paint(faces, colors)
    mesh = Mesh(points, faces, paint, colors)
    return Content([mesh], color_range=found.color_range, color_source=found.color_source)


def _triangles(file: PlyData, path: Path, vertices: int) -> Array | None:
    """(F, 3), polygons cut into fans; None without faces."""
    if "face" not in file or len(file["face"].data) == 0:
        return None
    face = file["face"].data
    name = next((name for name in FACES if name in face.dtype.names), None)
    if name is None:
        return None
    rows = face[name]
    if rows.dtype == object:
        rows = [row for row in rows if len(row) >= 3]
        if not rows:
            return None
        fans = [np.stack([np.full(len(r) - 2, r[0]), r[1:-1], r[2:]], axis=1) for r in rows]
        triangles = np.concatenate(fans)
    elif rows.shape[1] < 3:
        return None
    else:
        corners = range(1, rows.shape[1] - 1)
        triangles = np.concatenate([rows[:, [0, i, i + 1]] for i in corners])
    triangles = triangles.astype(np.int64)
    if triangles.min() < 0 or triangles.max() >= vertices:
        raise InputError(f"{path}: a face names a vertex beyond the {vertices}; export it again")
    return triangles
