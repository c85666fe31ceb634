"""Surfaces of mesh files: triangles of polygons and strips, and colours of texture images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from sr3d.data.scans.content import Array, Fact, Paint
from sr3d.runs.files import LFS_REMEDY, is_lfs_pointer


def fans(polygons: Array | Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """Cuts polygons into fans of triangles.

    polygons: one row of corners each. Rows with fewer than three corners are skipped. Returns the
    triangles (F, 3) as corner values, and (F, 2): for each triangle its polygon, and the place of
    its second corner in the polygon. Its first corner has place 0, its third corner the next place.
    """
    if isinstance(polygons, np.ndarray) and polygons.ndim == 2:
        tables = [(np.arange(len(polygons)), polygons)]
    else:
        lengths = np.array([len(row) for row in polygons], dtype=np.int64)
        groups = [np.flatnonzero(lengths == length) for length in np.unique(lengths)]
        tables = [(own, np.array([polygons[i] for i in own.tolist()])) for own in groups]
    corners, origins = [np.empty((0, 3), np.int64)], [np.empty((0, 2), np.int64)]
    for own, table in tables:
        for second in range(1, table.shape[1] - 1):
            corners.append(table[:, [0, second, second + 1]].astype(np.int64))
            origins.append(np.stack([own, np.full(len(own), second)], axis=1))
    return np.concatenate(corners), np.concatenate(origins)


def strip(row: Array) -> Array:
    """(F, 3) triangles of one row of vertices. -1 ends a strip and begins another."""
    row = np.asarray(row, dtype=np.int64)
    triples = np.stack([row[:-2], row[1:-1], row[2:]], axis=1)
    return triples[_whole(triples)]


def fan(row: Array) -> Array:
    """(F, 3) triangles around the first vertex of a row."""
    row = np.asarray(row, dtype=np.int64)
    triples = np.stack([np.full(len(row) - 2, row[0]), row[1:-1], row[2:]], axis=1)
    return triples[_whole(triples)]


def _whole(triples: Array) -> Array:
    """A mask of proper triangles. Strips repeat vertices to turn a corner."""
    a, b, c = triples.T
    return (triples >= 0).all(axis=1) & (a != b) & (b != c) & (a != c)


PLAIN = "its materials have plain colours, which no scanner measured"
"""The reason why colours of materials do not count as colours of a mesh."""

Wrap = Callable[[Array], Array]


def repeat(places: Array) -> Array:
    """Texture coordinates mapped into [0, 1), as for a repeated image."""
    return places % 1.0


def clamp(places: Array) -> Array:
    """Texture coordinates mapped into [0, 1], as for an image with stretched edges."""
    return places.clip(0.0, 1.0)


def mirror(places: Array) -> Array:
    """Texture coordinates mapped into [0, 1], as for an image that repeats mirrored."""
    return 1.0 - abs(places % 2.0 - 1.0)


def open_texture(source: Any) -> Array:
    """(H, W, 3) uint8 pixels of an image file or of a binary stream.

    Raises:
        ValueError: the image has an unsupported format, or it is damaged.
    """
    try:
        with Image.open(source) as image:
            if image.mode.startswith("I"):  # grey with 16 bits, which `convert` would cut to 8
                grey = (np.asarray(image) / 257).clip(0, 255).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError:
        pointer = isinstance(source, Path) and is_lfs_pointer(source.read_bytes()[:64])
        reason = "has an unsupported image format. Save it as PNG or JPEG"
        raise ValueError(LFS_REMEDY if pointer else reason) from None
    except (OSError, SyntaxError) as error:
        raise ValueError(f"cannot be read ({error}). Save it as PNG or JPEG") from None


def find_texture(folder: Path, name: str) -> Path | None:
    """The image that a mesh file refers to. Its path may be from another machine or system.

    First looks for the whole path below `folder`, then for the name alone in `folder` and its
    direct subfolders. If no name fits exactly, upper and lower case count as the same.
    """
    bare = PureWindowsPath(name).name  # takes both kinds of slashes
    whole = folder / PurePosixPath(name.replace("\\", "/"))
    if whole.is_file():
        return whole
    folders = [folder, *(place for place in _inside(folder) if place.is_dir())]
    exact = [place / bare for place in folders if (place / bare).is_file()]
    if exact:
        return exact[0]
    files = (file for place in folders for file in _inside(place) if file.is_file())
    return next((file for file in files if file.name.lower() == bare.lower()), None)


def _inside(folder: Path) -> list[Path]:
    """The entries of a folder, none if it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def default_colors(colors: Array) -> str:
    """The reason if colours (V, 3) of vertices, 0 to 255, are a program's default, else empty."""
    for shade, name in ((0, "black"), (255, "white")):
        if (colors == shade).all():
            return f"all vertices are {name}, as if no colours were recorded"
    return ""


def texture_paint(
    pixels: Array,
    corners: Array,
    *,
    top_down: bool,
    wrap: tuple[Wrap, Wrap] = (repeat, repeat),
    factor: Array | None = None,
) -> Paint:
    """Colours of a texture, 0 to 255.

    pixels: (H, W, 3). corners: (F, 3, 2), the texture coordinates of each face's corners.
    top_down: whether v begins at the image's first row (glTF) or at its last one (OBJ, PLY).
    factor: (3,), multiplies the colours.
    """
    height, width = pixels.shape[:2]

    def paint(index: Array, weights: Array) -> Array:
        u, v = np.einsum("nk,nkc->nc", weights, corners[index]).T
        u, v = wrap[0](u), wrap[1](v)
        v = v if top_down else 1 - v
        row = (v * height).astype(np.int64).clip(0, height - 1)
        column = (u * width).astype(np.int64).clip(0, width - 1)
        colors = pixels[row, column]
        return colors if factor is None else colors * factor

    return paint


def paint_facts(painted: Sequence[str], bare: Sequence[str]) -> list[Fact]:
    """Facts on the colours of a mesh file.

    painted: the sources of the parts with colours. bare: the reasons of the parts without colours.
    """
    sources, reasons = list(dict.fromkeys(painted)), list(dict.fromkeys(bare))
    why = "; ".join(reasons[:3]) + ("; …" if len(reasons) > 3 else "")
    if not painted:
        return [Fact("colours", "none", f"{why}. Grey is used instead")]
    names = ", ".join(sources[:3]) + (", …" if len(sources) > 3 else "")
    if not bare:
        return [Fact("colour source", names, "in the file")]
    total = len(painted) + len(bare)
    return [Fact("colour source", names, f"{len(bare)} of {total} parts are grey: {why}")]
