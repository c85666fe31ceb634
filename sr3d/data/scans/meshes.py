"""OBJ, glTF and GLB, with vertex colours or textures, through trimesh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from sr3d.data.scans.content import Array, Cloud, Content, Mesh, Paint, vertex_paint
from sr3d.errors import InputError


def read_mesh_file(path: Path) -> Content:
    """All meshes and clouds of the file, each put where its scene has it.

    Raises:
        InputError: nothing to be seen in it.
    """
    scene = trimesh.load_scene(path, process=False)
    parts: list[Cloud | Mesh] = []
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        part = _part(scene.geometry[name], np.asarray(matrix, dtype=np.float64))
        if part is not None:
            parts.append(part)
    if path.suffix.lower() == ".obj" and not parts:
        parts = _bare_vertices(path)
    if not parts:
        raise InputError(f"{path}: holds no mesh and no points; export it with its geometry")
    gltf = path.suffix.lower() != ".obj"
    return Content(parts, up="y" if gltf else "z", color_range="0-255")


def _part(geometry: Any, matrix: Array) -> Cloud | Mesh | None:
    if isinstance(geometry, trimesh.PointCloud):
        colors = np.asarray(geometry.colors)
        known = colors.ndim == 2 and len(colors) == len(geometry.vertices)
        return Cloud(_moved(geometry.vertices, matrix), colors[:, :3] if known else None)
    if not isinstance(geometry, trimesh.Trimesh) or len(geometry.vertices) == 0:
        return None
    vertices, faces = _moved(geometry.vertices, matrix), np.asarray(geometry.faces)
    visual: Any = geometry.visual
    if visual.kind == "vertex":
        colors = np.asarray(visual.vertex_colors)[:, :3]
        return Mesh(vertices, faces, vertex_paint(faces, colors), colors)
    return Mesh(vertices, faces, _paint(visual, faces))


def _moved(vertices: Any, matrix: Array) -> Array:
    return np.asarray(vertices, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def _paint(visual: Any, faces: Array) -> Paint | None:
    """Of face colours, a texture or a material; None where the mesh has no colours at all."""
    if visual.kind == "face":
        colors = np.asarray(visual.face_colors)[:, :3]
        return lambda index, _: colors[index]
    if visual.kind != "texture":
        return None
    material = visual.material
    image = getattr(material, "image", None) or getattr(material, "baseColorTexture", None)
    if image is None or visual.uv is None:
        flat = np.asarray(material.main_color)[:3]
        return lambda index, _: np.tile(flat, (len(index), 1))
    pixels = np.asarray(image.convert("RGB"))
    places = np.asarray(visual.uv, dtype=np.float64)

    def paint(index: Array, weights: Array) -> Array:
        u, v = np.einsum("nk,nkc->nc", weights, places[faces[index]]).T % 1.0
        height, width = pixels.shape[:2]
        row = np.minimum(((1 - v) * height).astype(np.int64), height - 1)
        return pixels[row, np.minimum((u * width).astype(np.int64), width - 1)]

    return paint


def _bare_vertices(path: Path) -> list[Cloud | Mesh]:
    """An OBJ file of `v` lines alone: x, y, z and perhaps r, g, b, to 1 or to 255."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        rows = [line.split()[1:] for line in lines if line.startswith("v ")]
    if not rows:
        return []
    table = np.array([row[:6] for row in rows], dtype=np.float64)
    colors = table[:, 3:6] if table.shape[1] == 6 else None
    if colors is not None and colors.max() <= 1:
        colors = colors * 255
    return [Cloud(table[:, :3], colors)]
