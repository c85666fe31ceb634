"""glTF files as other programs write them, put together from arrays."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray

_CODES = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125,
          "float32": 5126}  # fmt: skip
_WIDTHS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}

# A quad of 4 m x 3 m that stands, as two triangles.
QUAD = np.array([[0, 0, 0], [4, 0, 0], [4, 3, 0], [0, 3, 0]], dtype=np.float32)
QUAD_FACES = np.array([0, 1, 2, 0, 2, 3], dtype=np.uint16)
QUAD_PLACES = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], dtype=np.float32)


def png(pixels: Any) -> bytes:
    """An image file of (H, W, 3) pixels."""
    out = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(out, format="PNG")
    return out.getvalue()


class Gltf:
    """A document with one buffer. Entries of `document` may be changed before it is written."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "bufferViews": [],
            "accessors": [],
            "meshes": [],
            "nodes": [],
        }

    def view(self, data: bytes, **more: Any) -> int:
        self.buffer += b"\0" * (-len(self.buffer) % 4)
        about = {"buffer": 0, "byteOffset": len(self.buffer), "byteLength": len(data), **more}
        self.buffer += data
        self.document["bufferViews"].append(about)
        return len(self.document["bufferViews"]) - 1

    def accessor(self, values: Array, normalized: bool = False, stride: int = 0) -> int:
        rows = values.reshape(len(values), -1)
        if stride:
            wide = np.zeros((len(rows), stride), dtype=np.uint8)
            own = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
            wide[:, : own.shape[1]] = own
            view = self.view(wide.tobytes(), byteStride=stride)
        else:
            view = self.view(rows.tobytes())
        about = {
            "bufferView": view,
            "componentType": _CODES[str(rows.dtype)],
            "count": len(rows),
            "type": _WIDTHS[rows.shape[1]],
        }
        if normalized:
            about["normalized"] = True
        self.document["accessors"].append(about)
        return len(self.document["accessors"]) - 1

    def mesh(
        self, attributes: dict[str, int], indices: int | None = None, node: Any = None, **more: Any
    ) -> None:
        """A mesh of one primitive, and a node that places it."""
        primitive = {"attributes": attributes, **more}
        if indices is not None:
            primitive["indices"] = indices
        self.document["meshes"].append({"primitives": [primitive]})
        self.document["nodes"].append({"mesh": len(self.document["meshes"]) - 1, **(node or {})})

    def texture(self, pixels: Any, **material: Any) -> int:
        """A material of one texture, by its index. material: entries of pbrMetallicRoughness."""
        view = self.view(png(pixels))
        self.document["images"] = [{"bufferView": view, "mimeType": "image/png"}]
        self.document["textures"] = [{"source": 0}]
        basic = {"baseColorTexture": {"index": 0}, **material}
        self.document["materials"] = [{"pbrMetallicRoughness": basic}]
        return 0

    def write(self, path: Path) -> Path:
        """A GLB, or a JSON with a `.bin` beside it, as the name ends."""
        about = {"byteLength": len(self.buffer)}
        document = {
            **self.document,
            "scene": 0,
            "scenes": [
                {"nodes": self.document.get("roots", [*range(len(self.document["nodes"]))])}
            ],
            "buffers": [about],
        }
        document.pop("roots", None)
        if path.suffix == ".gltf":
            path.with_suffix(".bin").write_bytes(self.buffer)
            about["uri"] = f"{path.stem}.bin"  # type: ignore[assignment]
            path.write_text(json.dumps(document))
            return path
        text = json.dumps(document).encode()
        text += b" " * (-len(text) % 4)
        self.buffer += b"\0" * (-len(self.buffer) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
        chunks += struct.pack("<II", len(self.buffer), 0x004E4942) + bytes(self.buffer)
        path.write_bytes(b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks)
        return path


def quad(**more: Any) -> Gltf:
    """A document with the quad alone; more: of its primitive."""
    file = Gltf()
    places = {"POSITION": file.accessor(QUAD)}
    file.mesh(places, file.accessor(QUAD_FACES), **more)
    return file
