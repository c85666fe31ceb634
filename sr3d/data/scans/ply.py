"""PLY: ASCII or binary of either endianness, a cloud or a mesh."""

from __future__ import annotations

from pathlib import Path

from sr3d.data.scans.content import Content
from sr3d.data.scans.naming import read_named
from sr3d.data.scans.ply_files import open_ply
from sr3d.data.scans.ply_mesh import read_faces
from sr3d.errors import InputError, Kind


def read_ply(path: Path) -> Content:
    """The points, or the triangles if there are some.

    Raises:
        InputError: the vertices have no x, y, z. PlyParseError and others: a damaged file.
    """
    file = open_ply(path)
    if "vertex" not in file:
        have = ", ".join(element.name for element in file.elements) or "none"
        raise InputError(
            f"has no element 'vertex' (it has {have})",
            file=path,
            kind=Kind.EMPTY,
            remedy="Export it with its points.",
        )
    vertex = file["vertex"].data
    found = read_named({name: vertex[name] for name in vertex.dtype.names}, path, "vertex")
    return read_faces(file, path, found.content())
