"""PLY: ASCII or binary of either endianness, a cloud or a mesh.

Faces may be polygons or strips, with textures, or with colours of vertices or faces.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from plyfile import PlyData

from sr3d.data.scans.content import (
    Array,
    Cloud,
    Content,
    Fact,
    Mesh,
    Paint,
    range_of_type,
    vertex_paint,
)
from sr3d.data.scans.naming import read_named
from sr3d.data.scans.ply_files import open_ply
from sr3d.data.scans.surfaces import (
    fans,
    find_texture,
    open_texture,
    paint_facts,
    strip,
    texture_paint,
)
from sr3d.errors import InputError, Kind

_LISTS = ("vertex_indices", "vertex_index")
_PLACES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"))
_LONGEST = 1 << 20  # maximum number of bytes of a header
_SHADES = ("red", "green", "blue")


def read_ply(path: Path) -> Content:
    """The points, or the triangles if the file has any.

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
    return read_faces(file, path, found)


def read_faces(file: PlyData, path: Path, plain: Content) -> Content:
    """The surface of a file, or `plain`, the cloud of its vertices, if it has no faces.

    Colours come from its textures, else from its vertices, else from its faces.

    Raises:
        InputError: a face refers to a missing vertex, or the strips have no triangle.
    """
    (cloud,) = plain.parts
    assert isinstance(cloud, Cloud)
    faces, rows = _triangles(file)
    if faces is None or rows is None:
        faces = _strips(file, path)
        if faces is None:
            return plain
        _check(faces, path, len(cloud.points))
        return _untextured(file, plain, cloud, faces, None, "")
    _check(faces, path, len(cloud.points))
    names, corners = _texture_names(path), _texture_places(file, rows, faces)
    if names and corners is not None:
        return _textured(file, path, plain, cloud, faces, rows[:, 0], corners, names)
    why = f"it has the texture {names[0]} but no texture coordinates" if names else ""
    if corners is not None:
        why = "it has texture coordinates but no image name"
    return _untextured(file, plain, cloud, faces, rows[:, 0], why)


def _textured(
    file: PlyData,
    path: Path,
    plain: Content,
    cloud: Cloud,
    faces: Array,
    own: Array,
    corners: Array,
    names: list[str],
) -> Content:
    """One part per texture. own: (F,) the face of each triangle. corners: (F, 3, 2)."""
    data = file["face"].data
    numbers = data["texnumber"][own] if "texnumber" in data.dtype.names else np.zeros(len(own))
    numbers = np.where((numbers >= 0) & (numbers < len(names)), numbers, 0).astype(np.int64)
    parts: list[Cloud | Mesh] = []
    painted: list[str] = []
    bare: list[str] = []
    for number in np.unique(numbers):
        here = numbers == number
        paint, note = _paint(path, names[number], corners[here])
        used, inside = np.unique(faces[here], return_inverse=True)
        parts.append(Mesh(cloud.points[used], inside.reshape(-1, 3), paint))
        (bare if paint is None else painted).append(note)
    if not painted:
        return _untextured(file, plain, cloud, faces, own, bare[0])
    facts = [*plain.facts, *paint_facts(painted, bare)]
    return replace(plain, parts=parts, color_range="0-255", facts=facts)


def _paint(path: Path, name: str, corners: Array) -> tuple[Paint | None, str]:
    place = find_texture(path.parent, name)
    if place is None:
        return None, f"the texture {name} was not found. Put it beside the scan"
    try:
        pixels = open_texture(place)
    except ValueError as error:
        return None, f"the texture {name} {error}"
    return texture_paint(pixels, corners, top_down=False), f"texture {place.name}"


def _untextured(
    file: PlyData, plain: Content, cloud: Cloud, faces: Array, own: Array | None, why: str
) -> Content:
    """Colours of the vertices, else of the faces. own: (F,) the face of each triangle, None for
    strips. why: the reason why there is no texture, empty if the file mentions none.
    """
    colors, facts = cloud.colors, list(plain.facts)
    if colors is not None:
        mesh = Mesh(cloud.points, faces, vertex_paint(faces, colors), colors)
        facts += [Fact("texture", "not used", why)] if why else []
        return replace(plain, parts=[mesh], facts=facts)
    if own is not None and set(_SHADES) <= set(file["face"].data.dtype.names):
        data = file["face"].data
        shades = np.stack([data[name] for name in _SHADES], axis=1)[own]
        mesh = Mesh(cloud.points, faces, lambda index, _: shades[index])
        facts += paint_facts(["face colours"], [])
        facts += [Fact("texture", "not used", why)] if why else []
        return replace(plain, parts=[mesh], color_range=range_of_type(shades.dtype), facts=facts)
    facts += paint_facts([], [why]) if why else []
    return replace(plain, parts=[Mesh(cloud.points, faces)], facts=facts)


def _triangles(file: PlyData) -> tuple[Array | None, Array | None]:
    """(F, 3), polygons cut into fans, and (F, 2), see `fans`. None without faces."""
    if "face" not in file or len(file["face"].data) == 0:
        return None, None
    face = file["face"].data
    name = next((name for name in _LISTS if name in face.dtype.names), None)
    if name is None:
        return None, None
    faces, origins = fans(face[name])
    return (faces, origins) if len(faces) else (None, None)


def _strips(file: PlyData, path: Path) -> Array | None:
    """(F, 3) triangles of strips, as in Stanford's scans and VTK. None if there are no strips."""
    if "tristrips" not in file or len(file["tristrips"].data) == 0:
        return None
    data = file["tristrips"].data
    name = next((name for name in _LISTS if name in data.dtype.names), None)
    if name is None:
        return None
    faces = np.concatenate([strip(np.asarray(row)) for row in data[name]])
    if not len(faces):
        raise InputError(
            "its triangle strips have no triangle",
            file=path,
            kind=Kind.EMPTY,
            remedy="Export it as triangles.",
        )
    return faces


def _check(faces: Array, path: Path, vertices: int) -> None:
    if faces.min() < 0 or faces.max() >= vertices:
        raise InputError(
            f"a face refers to a vertex beyond the {vertices}",
            file=path,
            kind=Kind.VALUE,
            remedy="Export it again.",
        )


def _texture_names(path: Path) -> list[str]:
    """The images that comments of the header name, as MeshLab and others write them."""
    with path.open("rb") as file:
        header = file.read(_LONGEST).partition(b"end_header")[0].decode("latin-1")
    named = re.findall(r"^[ \t]*(?:comment|obj_info)[ \t]+TextureFile[ \t]+(\S.*?)\s*$", header,
                       re.MULTILINE | re.IGNORECASE)  # fmt: skip
    return [name.strip() for name in named]


def _texture_places(file: PlyData, rows: Array, faces: Array) -> Array | None:
    """(F, 3, 2) texture coordinates of the triangles' corners. None if there are none.

    rows: (F, 2): for each triangle its face, and the place of its second corner in the face.
    """
    data = file["face"].data
    if "texcoord" in data.dtype.names:
        lists = data["texcoord"]
        lengths = np.array([len(row) for row in lists])
        own, second = rows.T
        if (lengths[own] >= 2 * (second + 2)).all():
            flat = np.concatenate([np.asarray(row, dtype=np.float64) for row in lists])
            start = (np.cumsum(lengths) - lengths)[own]
            places = np.stack([0 * second, second, second + 1], axis=1)
            return flat[start[:, None, None] + 2 * places[..., None] + np.arange(2)]
    vertex = file["vertex"].data
    pair = next((pair for pair in _PLACES if set(pair) <= set(vertex.dtype.names)), None)
    if pair is None:
        return None
    return np.stack([vertex[name] for name in pair], axis=1).astype(np.float64)[faces]
