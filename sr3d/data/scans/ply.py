"""PLY: ASCII or binary of either endianness, a cloud or a mesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyParseError

from sr3d.data.scans.content import Array, Cloud, Content, Mesh, range_of_type, vertex_paint
from sr3d.errors import InputError

_COLORS = (
    ("red", "green", "blue"),
    ("r", "g", "b"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
)
_FACES = ("vertex_indices", "vertex_index")


def read_ply(path: Path) -> Content:
    """Raises `InputError` where the vertices have no x, y, z; the parser's own errors else."""
    try:
        # Triangles known in advance let plyfile map the faces instead of walking through them.
        file = PlyData.read(path, known_list_len={"face": dict.fromkeys(_FACES, 3)})
    except PlyParseError:
        file = PlyData.read(path)
    if "vertex" not in file:
        raise InputError(f"{path}: has no element 'vertex'; export it with its points")
    vertex = file["vertex"].data
    names = vertex.dtype.names
    if not {"x", "y", "z"} <= set(names):
        raise InputError(f"{path}: vertex has {', '.join(names)}; it needs x, y and z")
    points = np.stack([vertex[name] for name in "xyz"], axis=1)
    named = next((some for some in _COLORS if set(some) <= set(names)), None)
    colors = None if named is None else np.stack([vertex[name] for name in named], axis=1)
    told = None if colors is None else range_of_type(colors.dtype)
    faces = _triangles(file, path, len(points))
    if faces is None:
        return Content([Cloud(points, colors)], color_range=told)
    paint = None if colors is None else vertex_paint(faces, colors)
    return Content([Mesh(points, faces, paint, colors)], color_range=told)


def _triangles(file: PlyData, path: Path, vertices: int) -> Array | None:
    """(F, 3), polygons cut into fans; None without faces."""
    if "face" not in file or len(file["face"].data) == 0:
        return None
    face = file["face"].data
    name = next((name for name in _FACES if name in face.dtype.names), None)
    if name is None:
        return None
    rows = face[name]
    if rows.dtype == object:
        rows = [row for row in rows if len(row) >= 3]
        if not rows:
            return None
        fans = [np.stack([np.full(len(r) - 2, r[0]), r[1:-1], r[2:]], axis=1) for r in rows]
        triangles = np.concatenate(fans)
    else:
        triangles = np.asarray(rows)
    triangles = triangles.astype(np.int64)
    if triangles.min() < 0 or triangles.max() >= vertices:
        raise InputError(f"{path}: a face names a vertex beyond the {vertices}; export it again")
    return triangles
