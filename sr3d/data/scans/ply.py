"""PLY: ASCII or binary of either endianness, a cloud or a mesh."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyParseError

from sr3d.data.scans.content import Cloud, Content, range_of_type
from sr3d.data.scans.ply_mesh import read_faces
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
    return read_faces(file, path, Content([Cloud(points, colors)], color_range=told))
