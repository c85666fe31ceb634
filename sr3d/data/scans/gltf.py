"""glTF 2.0 and GLB, with vertex colours and textures (Khronos' specification of glTF 2.0).

trimesh does not replace this reader. It silently ignores `normalized` integers, factors of
textures, their transforms and their second coordinates.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sr3d.data.scans.content import Array, Cloud, Content, Mesh, Paint, vertex_paint
from sr3d.data.scans.gltf_file import GltfFile
from sr3d.data.scans.guessing import find_up
from sr3d.data.scans.sampling import some_points
from sr3d.data.scans.surfaces import (
    PLAIN,
    clamp,
    default_colors,
    fan,
    mirror,
    open_texture,
    paint_facts,
    repeat,
    strip,
    texture_paint,
)
from sr3d.errors import InputError, Kind

_POINTS, _TRIANGLES, _STRIP, _FAN = 0, 4, 5, 6  # modes of a primitive. The others are lines
_WRAPS = {33071: clamp, 33648: mirror, 10497: repeat}
_DEEPEST = 200  # maximum depth of nested nodes. Deeper nesting is a loop
_NO_COLORS = "its meshes have neither vertex colours nor textures"
_KTX2 = (
    "textures are compressed as KTX2 (Basis Universal), which is not supported. "
    "Export with PNG or JPEG textures"
)


def read_gltf(path: Path) -> Content:
    """All triangles and points of the default scene, placed by its nodes.

    Colours are the colours of vertices and textures, times the material's factor. A factor without
    them is a material's colour and does not count, because nobody measured it.

    Raises:
        InputError: the scene is empty, or it needs an unsupported feature.
    """
    file = GltfFile.open(path)
    parts: list[Cloud | Mesh] = []
    painted: list[str] = []
    bare: list[str] = []
    for mesh, matrix in _placed_meshes(file):
        for primitive in mesh.get("primitives", ()):
            part, source, why = _part(file, primitive, matrix)
            if part is None:
                continue
            parts.append(part)
            (painted if source else bare).append(source or why)
    if not parts:
        raise InputError(
            "holds no mesh and no points",
            file=path,
            kind=Kind.EMPTY,
            remedy="Export it with its geometry.",
        )
    facts = paint_facts(painted, bare)
    content = Content(parts, up="y", sure=True, color_range="0-255", facts=facts)
    return replace(content, why_up=_why_up(some_points(content)))


def _why_up(points: Array) -> str:
    """Some writers leave z up, against the format. Only the scan shows it."""
    seen = find_up(points, "y").value.removeprefix("-")
    doubt = f". The scan looks as if {seen} were up. If so, set --up" if seen != "y" else ""
    return f"prescribed by glTF{doubt}"


def _placed_meshes(file: GltfFile) -> Iterator[tuple[dict[str, Any], Array]]:
    """Every mesh of the scene with the (4, 4) matrix that places it."""
    nodes = file.list("nodes")
    scenes = file.list("scenes")
    if scenes:
        roots = scenes[file.document.get("scene", 0)].get("nodes", [])
    else:
        below = {child for node in nodes for child in node.get("children", ())}
        roots = [i for i in range(len(nodes)) if i not in below]
    waiting = [(i, np.eye(4), 0) for i in reversed(roots)]
    while waiting:
        index, above, depth = waiting.pop()
        if depth > _DEEPEST:
            raise InputError(
                f"nodes[{index}]: is its own descendant",
                file=file.path,
                kind=Kind.VALUE,
                remedy="Export it again.",
            )
        node = nodes[index]
        matrix = above @ _matrix(node)
        if "EXT_mesh_gpu_instancing" in node.get("extensions", {}):
            raise InputError(
                f"nodes[{index}]: has instances (EXT_mesh_gpu_instancing), which are not supported",
                file=file.path,
                kind=Kind.VALUE,
                remedy="Export without instancing.",
            )
        if "mesh" in node:
            yield file.list("meshes")[node["mesh"]], matrix
        waiting += [(i, matrix, depth + 1) for i in reversed(node.get("children", []))]


def _matrix(node: dict[str, Any]) -> Array:
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = node.get("rotation", (0.0, 0.0, 0.0, 1.0))
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix[:3, :3] = turn * np.array(node.get("scale", (1.0, 1.0, 1.0)))
    matrix[:3, 3] = node.get("translation", (0.0, 0.0, 0.0))
    return matrix


def _part(
    file: GltfFile, primitive: dict[str, Any], matrix: Array
) -> tuple[Cloud | Mesh | None, str | None, str]:
    """A primitive, the source of its colours, and the reason if it has none."""
    mode, attributes = primitive.get("mode", _TRIANGLES), primitive["attributes"]
    if mode not in (_POINTS, _TRIANGLES, _STRIP, _FAN) or "POSITION" not in attributes:
        return None, None, ""
    file.refuse_compressed(primitive)
    places = file.accessor(attributes["POSITION"]).astype(np.float64)
    vertices = places @ matrix[:3, :3].T + matrix[:3, 3]
    if "indices" in primitive:
        order = file.accessor(primitive["indices"])[:, 0].astype(np.int64)
        if len(order) and order.max() >= len(vertices):
            raise InputError(
                f"a face refers to a vertex beyond the {len(vertices)}",
                file=file.path,
                kind=Kind.VALUE,
                remedy="Export it again.",
            )
    else:
        order = np.arange(len(vertices))
    factor, texture, plain = _material(file, primitive)
    colors = _vertex_colors(file, attributes)
    if mode == _POINTS:
        if colors is None:
            return Cloud(vertices[order]), None, "its points have no colours"
        return Cloud(vertices[order], colors[order] * factor), "vertex colours", ""
    match mode:
        case 4:
            faces = order[: len(order) // 3 * 3].reshape(-1, 3)
        case 5:
            faces = strip(order)
        case _:
            faces = fan(order)
    if not len(faces):
        return None, None, ""
    painted, source, why = None, None, plain
    if texture is not None:
        painted, source, why = _texture(file, texture, attributes, faces, factor)
    # Primitives may share vertices. Each then gets a copy of its own vertices.
    used, inside = np.unique(faces, return_inverse=True)
    faces, vertices = inside.reshape(-1, 3), vertices[used]
    shades = None if colors is None else colors[used]
    if painted is not None and shades is not None:
        painted = _times(painted, vertex_paint(faces, shades / 255))
    if painted is not None:
        return Mesh(vertices, faces, painted), source, ""
    if shades is not None:
        shades = shades * factor
        return Mesh(vertices, faces, vertex_paint(faces, shades), shades), "vertex colours", ""
    return Mesh(vertices, faces), None, why


def _times(first: Paint, second: Paint) -> Paint:
    return lambda index, weights: first(index, weights) * second(index, weights)


def _vertex_colors(file: GltfFile, attributes: dict[str, Any]) -> Array | None:
    """(V, 3) from 0 to 255. None if absent, or if all have a program's default colour."""
    if "COLOR_0" not in attributes:
        return None
    colors = file.accessor(attributes["COLOR_0"])[:, :3]
    if colors.dtype.kind == "u":  # some writers forget `normalized`
        colors = colors / np.iinfo(colors.dtype).max
    colors = colors.astype(np.float64)
    colors = colors if colors.max(initial=0) > 1.001 else colors * 255
    return None if default_colors(colors) else colors


def _material(
    file: GltfFile, primitive: dict[str, Any]
) -> tuple[Array, dict[str, Any] | None, str]:
    """The factor (3,) of colours, the entry of the texture, and the reason if there is none."""
    if "material" not in primitive:
        return np.ones(3), None, _NO_COLORS
    material = file.list("materials")[primitive["material"]]
    basic = material.get("pbrMetallicRoughness", {})
    older = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness", {})
    for values, texture, factor, usual in (
        (basic, "baseColorTexture", "baseColorFactor", 1.0),
        (older, "diffuseTexture", "diffuseFactor", 1.0),
        (material, "emissiveTexture", "emissiveFactor", 0.0),
    ):
        shade = _rgb(values.get(factor), usual)
        if texture in values and shade.any():  # a factor of 0 hides it
            return shade, values[texture], ""
    plain = _rgb(basic.get("baseColorFactor"), 1.0)
    why = _NO_COLORS if (plain == plain[0]).all() else PLAIN
    return plain if plain.any() else np.ones(3), None, why


def _rgb(factor: list[float] | None, usual: float) -> Array:
    return np.array((factor or [usual] * 3)[:3], dtype=np.float64)


def _texture(
    file: GltfFile,
    entry: dict[str, Any],
    attributes: dict[str, Any],
    faces: Array,
    factor: Array,
) -> tuple[Paint | None, str | None, str]:
    """The texture's paint and its name, or the reason why there is none."""
    transform = entry.get("extensions", {}).get("KHR_texture_transform", {})
    name = f"TEXCOORD_{transform.get('texCoord', entry.get('texCoord', 0))}"
    if name not in attributes:
        return None, None, f"meshes with a texture lack texture coordinates ({name})"
    texture = file.list("textures")[entry["index"]]
    more = texture.get("extensions", {})
    sources = [
        more.get(kind, {}).get("source") for kind in ("EXT_texture_webp", "EXT_texture_avif")
    ]
    index = next((i for i in (*sources, texture.get("source")) if i is not None), None)
    if index is None:
        known = "KHR_texture_basisu" in more
        return None, None, _KTX2 if known else f"textures[{entry['index']}] has no image"
    try:
        data, shown = file.image(index)
        if data[1:5] == b"KTX ":
            return None, None, _KTX2
        pixels = open_texture(io.BytesIO(data))
    except FileNotFoundError as error:
        return None, None, f"the texture {error.args[0]} was not found. Put it beside the file"
    except ValueError as error:
        return None, None, f"the texture images[{index}] {error}"
    sampler = file.list("samplers")[texture["sampler"]] if "sampler" in texture else {}
    wrap = tuple(_WRAPS[sampler.get(name, 10497)] for name in ("wrapS", "wrapT"))
    places = _moved(file.accessor(attributes[name]), transform)
    paint = texture_paint(
        pixels, places[faces], top_down=True, wrap=(wrap[0], wrap[1]), factor=factor
    )
    times = "" if (factor == 1).all() else " times " + " ".join(f"{value:.3g}" for value in factor)
    return paint, f"texture {shown}{times}", ""


def _moved(places: Array, transform: dict[str, Any]) -> Array:
    """Texture coordinates (V, 2), transformed by KHR_texture_transform."""
    if places.dtype.kind == "u":
        places = places / np.iinfo(places.dtype).max
    angle = float(transform.get("rotation", 0.0))
    cos, sin = np.cos(angle), np.sin(angle)
    scaled = places.astype(np.float64) * np.array(transform.get("scale", (1.0, 1.0)))
    return scaled @ np.array([[cos, -sin], [sin, cos]]) + transform.get("offset", (0.0, 0.0))
