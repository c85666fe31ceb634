"""OBJ, with vertex colours or the textures of its materials.

trimesh does not replace this reader: it clips vertex colours of 0 to 255, and makes parts without a
texture grey.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from sr3d.data.scans.content import Array, Cloud, Content, Mesh, Paint, vertex_paint
from sr3d.data.scans.surfaces import (
    PLAIN,
    default_colors,
    fans,
    find_texture,
    open_texture,
    paint_facts,
    texture_paint,
)
from sr3d.data.scans.text import is_number, is_utf16
from sr3d.errors import InputError, Kind

Rows = Array | list[list[Any]]
"""Numbers of each row: a table, or lists of different lengths."""

_NO_COLORS = "the mesh has neither vertex colours nor textures"
_OPTIONS = {  # options of map_Kd, and the number of words after each
    "-blendu": 1, "-blendv": 1, "-boost": 1, "-mm": 2, "-texres": 1, "-clamp": 1, "-bm": 1,
    "-imfchan": 1, "-type": 1, "-cc": 1,
}  # fmt: skip
_TRIPLES = ("-o", "-s", "-t")  # options with one to three numbers


@dataclass
class _Lines:
    """The lines of an OBJ file.

    vertices, places, faces: the words after `v`, `vt` and `f`. Faces are grouped by material. Their
    indices begin at 1.
    """

    vertices: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    faces: dict[str | None, list[str]] = field(default_factory=dict)
    libraries: list[str] = field(default_factory=list)


def read_obj(path: Path) -> Content:
    """All faces of the file, or the vertices of a file without faces.

    Colours come from textures, else from vertices, in 0 to 1 or 0 to 255. Colours of materials are
    not used, because nobody measured them.

    Raises:
        InputError: the file has no vertex, or a face refers to a missing vertex.
    """
    lines = _parse(path)
    if not lines.vertices:
        raise InputError(
            "holds no mesh and no points",
            file=path,
            kind=Kind.EMPTY,
            remedy="Export it with its geometry.",
        )
    vertices, colors, why = _vertices(path, _numbers(lines.vertices))
    parts: list[Cloud | Mesh] = []
    painted: list[str] = []
    bare: list[str] = []
    places = np.array([[*row, 0.0][:2] for row in _numbers(lines.places)]).reshape(-1, 2)
    images, missing = _materials(path, lines.libraries)
    for material, faces in lines.faces.items():
        triangles, corners = _triangles(path, faces, vertices, places)
        if not len(triangles):
            continue
        paint, note = None, why
        if material is not None:
            image = images.get(material, missing or f"no material file has {material}")
            paint, note = _paint(image, corners)
        # Only the vertices of this part. Vertices of other materials would count twice.
        used, inside = np.unique(triangles, return_inverse=True)
        inside, shades = inside.reshape(-1, 3), None
        if paint is None and colors is not None:
            shades = colors[used]
            paint, note = vertex_paint(inside, shades), "vertex colours"
        parts.append(Mesh(vertices[used], inside, paint, shades))
        (bare if paint is None else painted).append(note)
    if not parts:
        parts = [Cloud(vertices, colors)]
        (bare if colors is None else painted).append(
            "vertex colours" if colors is not None else why
        )
    return Content(parts, color_range="0-255", facts=paint_facts(painted, bare))


def _paint(image: Path | str, corners: Array) -> tuple[Paint | None, str]:
    """The paint of a texture and its name, or None and the reason.

    image: the file, or the reason why there is none. corners: (F, 3, 2), NaN if a face has no
    texture coordinates.
    """
    if not isinstance(image, Path):
        return None, image
    if np.isnan(corners).any():
        return None, f"faces of the texture {image.name} lack texture coordinates"
    try:
        return texture_paint(open_texture(image), corners, top_down=False), f"texture {image.name}"
    except ValueError as error:
        return None, f"the texture {image.name} {error}"


def _parse(path: Path) -> _Lines:
    found, material = _Lines(), None
    for line in _whole_lines(path):
        kind, _, rest = line.partition(" ")
        if "#" in rest and kind in ("v", "vt", "f"):
            rest = rest.partition("#")[0]
        match kind:
            case "v":
                found.vertices.append(rest)
            case "vt":
                found.places.append(rest)
            case "f":
                if "-" in rest:
                    rest = _absolute(rest, len(found.vertices), len(found.places))
                found.faces.setdefault(material, []).append(rest)
            case "usemtl":
                material = rest.strip() or None
            case "mtllib":
                found.libraries.append(rest.strip())
    return found


def _whole_lines(path: Path) -> Iterator[str]:
    """Lines without indentation, tabs and byte order mark. Lines that end in \\ are joined."""
    with path.open("rb") as file:
        encoding = "utf-16" if is_utf16(file.read(2)) else "utf-8-sig"
    with path.open(encoding=encoding, errors="replace") as file:
        begun = ""
        for line in file:
            line = begun + line.replace("\t", " ").strip()
            if line.endswith("\\"):
                begun = line[:-1] + " "
                continue
            begun = ""
            if line:
                yield line


def _absolute(rest: str, vertices: int, places: int) -> str:
    """Indices that begin at 1. Negative indices count back from the latest line."""
    ends = (vertices, places, 0)

    def corner(words: list[str]) -> str:
        pairs = zip(words, ends, strict=False)
        return "/".join(str(int(w) + end + 1) if w.startswith("-") else w for w, end in pairs)

    return " ".join(corner(word.split("/")[:2]) for word in rest.split())


def _numbers(rows: list[str]) -> Rows:
    """The numbers of each row. A table if all rows have equally many."""
    if not rows:
        return []
    try:
        return np.loadtxt(rows, dtype=np.float64, comments=None, ndmin=2)
    except ValueError:  # rows of different lengths
        return [[float(word) for word in row.split()] for row in rows]


def _corners(rows: list[str]) -> tuple[Rows, Rows]:
    """The indices, from 0, of the vertices and of the texture coordinates of each face. -1 if a
    face has none. Tables if all faces have the same form.
    """
    shapes = {tuple(map(bool, word.split("/"))) for word in rows[0].split()}
    forms = {(row.count("/"), row.count("//")) for row in rows}
    if len(shapes) == len(forms) == 1:
        shape, plain = shapes.pop(), [row.replace("/", " ") for row in rows]
        step = sum(shape)
        try:
            table = np.loadtxt(plain, dtype=np.int64, comments=None, ndmin=2) - 1
        except ValueError:  # faces with different numbers of corners
            pass
        else:
            own = table[:, ::step]
            return own, table[:, 1::step] if shape[1:] and shape[1] else np.full_like(own, -1)
    words = [[[int(part or 0) - 1 for part in word.split("/")] for word in row.split()]
             for row in rows]  # fmt: skip
    return (
        [[corner[0] for corner in face] for face in words],
        [[corner[1] if len(corner) > 1 else -1 for corner in face] for face in words],
    )


def _vertices(path: Path, rows: Rows) -> tuple[Array, Array | None, str]:
    """Positions (V, 3), colours (V, 3) from 0 to 255 or None, and the reason if there are none."""
    lengths = {rows.shape[1]} if isinstance(rows, np.ndarray) else set(map(len, rows))
    if min(lengths) < 3:
        raise InputError(
            "a vertex has fewer than three numbers",
            file=path,
            kind=Kind.VALUE,
            remedy="Export it again.",
        )
    whole = rows if isinstance(rows, np.ndarray) else np.array([row[:3] for row in rows])
    vertices = whole[:, :3].astype(np.float64)
    if max(lengths) < 6:
        return vertices, None, _NO_COLORS
    if lengths not in ({6}, {7}):
        few = sum(len(row) >= 6 for row in rows)
        return vertices, None, f"only {few} of {len(rows)} vertices have colours"
    colors = whole[:, 3:6]  # the last of seven numbers is an alpha
    if colors.max() <= 1:
        colors = colors * 255
    return (vertices, None, why) if (why := default_colors(colors)) else (vertices, colors, "")


def _triangles(path: Path, faces: list[str], vertices: Array, places: Array) -> tuple[Array, Array]:
    """Triangles (F, 3) and the texture coordinates (F, 3, 2) of their corners, NaN without."""
    own, textured = _corners(faces)
    triangles, origins = fans(own)
    if len(triangles) and not 0 <= triangles.min() <= triangles.max() < len(vertices):
        raise InputError(
            f"a face refers to a vertex beyond the {len(vertices)}",
            file=path,
            kind=Kind.VALUE,
            remedy="Export it again.",
        )
    if isinstance(textured, np.ndarray):
        starts, flat = np.arange(len(textured)) * textured.shape[1], textured.ravel()
    else:
        lengths = np.array([len(face) for face in textured], dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        flat = np.array(list(chain.from_iterable(textured)), dtype=np.int64)
    first, second = starts[origins[:, 0]], origins[:, 1]
    corners = flat[np.stack([first, first + second, first + second + 1], axis=1)]
    if len(corners) and corners.max(initial=-1) >= len(places):
        raise InputError(
            f"a face refers to a texture coordinate beyond the {len(places)}",
            file=path,
            kind=Kind.VALUE,
            remedy="Export it again.",
        )
    shown = np.full((*corners.shape, 2), np.nan)
    known = corners >= 0
    shown[known] = places[corners[known]]
    return triangles, shown


def _materials(path: Path, libraries: list[str]) -> tuple[dict[str, Path | str], str | None]:
    """The image of each material, or why it has none, and which material file is missing."""
    found: dict[str, Path | str] = {}
    missing = None
    for line in libraries:
        # A name may contain blanks, and a line may have several names.
        place = find_texture(path.parent, line)
        places = (
            [(line, place)]
            if place
            else [(name, find_texture(path.parent, name)) for name in line.split()]
        )
        for name, file in places:
            if file is None:
                missing = f"the material file {name} was not found. Put it beside the scan"
            else:
                found.update(_read_materials(path.parent, file))
    return found, missing


def _read_materials(folder: Path, file: Path) -> dict[str, Path | str]:
    found: dict[str, Path | str] = {}
    name = None
    for line in _whole_lines(file):
        kind, _, rest = line.partition(" ")
        if kind == "newmtl":
            name = rest.strip()
            found[name] = _NO_COLORS
        elif name and kind == "Kd" and len(set(rest.split())) > 1 and found[name] == _NO_COLORS:
            found[name] = PLAIN
        elif name and kind.lower() in ("map_kd", "map_ka") and not isinstance(found[name], Path):
            texture = _file_name(rest)
            place = find_texture(file.parent, texture) or find_texture(folder, texture)
            found[name] = place or (f"the texture {texture} was not found. Put it beside the scan")
    return found


def _file_name(rest: str) -> str:
    """The file name after the options of a `map_Kd` line. It may contain blanks."""
    words = rest.split()
    while words and words[0] in (*_OPTIONS, *_TRIPLES):
        option = words.pop(0)
        count = _OPTIONS.get(option, 3)
        while words and count and (option in _OPTIONS or is_number(words[0])):
            words.pop(0)
            count -= 1
    return " ".join(words)
