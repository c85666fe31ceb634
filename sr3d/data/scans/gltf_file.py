"""The container of glTF 2.0: its JSON document, its buffers and its images."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from sr3d.data.scans.content import Array
from sr3d.data.scans.surfaces import find_texture
from sr3d.errors import InputError, Kind
from sr3d.runs.files import LFS_REMEDY, is_lfs_pointer

_MAGIC, _JSON, _BIN = b"glTF", 0x4E4F534A, 0x004E4942
_MOST = 10_000_000  # maximum number of values of an accessor without data, which are all 0
_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_REMEDIES = {
    "KHR_draco_mesh_compression": (
        "its meshes are compressed by Draco",
        "Export it without compression, or import it in Blender and export it with Compression "
        "off.",
    ),
    "EXT_meshopt_compression": (
        "its buffers are compressed by meshopt",
        "Export it without compression (gltfpack without -c and -cc).",
    ),
    "KHR_meshopt_compression": (
        "its buffers are compressed by meshopt",
        "Export it without compression (gltfpack without -c and -cc).",
    ),
}
# Extensions that are supported, or do not affect positions and colours.
_KNOWN = (
    "KHR_mesh_quantization", "KHR_texture_transform", "KHR_texture_basisu", "EXT_texture_webp",
    "EXT_texture_avif", "KHR_materials_", "EXT_materials_", "KHR_lights_", "EXT_lights_",
    "KHR_animation_", "KHR_xmp", "EXT_mesh_gpu_instancing", "EXT_mesh_features",
    "EXT_structural_metadata", "EXT_mesh_manifold",
)  # fmt: skip


@dataclass(frozen=True)
class GltfFile:
    """document: the JSON. binary: the chunk of a GLB, None if there is none."""

    path: Path
    document: dict[str, Any]
    binary: bytes | None
    _buffers: dict[int, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, path: Path) -> GltfFile:
        """Opens a `.gltf` or `.glb` file. The content decides between the two.

        Raises:
            InputError: another version, or a required extension that is not supported.
        """
        content = path.read_bytes()
        document, binary = _chunks(path, content) if content[:4] == _MAGIC else (content, None)
        value = json.loads(document)
        if not isinstance(value, dict):
            raise ValueError("its JSON is not an object")
        version = str(value.get("asset", {}).get("version", "unknown"))
        if not version.startswith("2"):
            raise InputError(
                f"is glTF of version {version}",
                file=path,
                kind=Kind.UNREADABLE,
                remedy="Export it as glTF 2.0.",
            )
        file = cls(path, value, binary)
        for name in value.get("extensionsRequired", ()):
            if name in _REMEDIES:
                raise file._compressed(name)
            if not name.startswith(_KNOWN):
                raise InputError(
                    f"requires the extension {name}, which is not supported",
                    file=path,
                    kind=Kind.UNREADABLE,
                    remedy="Export it without.",
                )
        return file

    def list(self, name: str) -> list[dict[str, Any]]:
        """An array of the document, empty if absent."""
        return list(self.document.get(name, ()))

    def refuse_compressed(self, primitive: dict[str, Any]) -> None:
        """Raise `InputError` for a primitive that exists only in Draco's form."""
        name = "KHR_draco_mesh_compression"
        position = self.list("accessors")[primitive["attributes"]["POSITION"]]
        if name in primitive.get("extensions", {}) and "bufferView" not in position:
            raise self._compressed(name)

    def accessor(self, index: int) -> Array:
        """(count, width) values. Normalised integers become float64."""
        about = self.list("accessors")[index]
        kind, width = np.dtype(_TYPES[about["componentType"]]), _WIDTHS[about["type"]]
        count = int(about["count"])
        if "bufferView" in about:
            rows = self._rows(about["bufferView"], about.get("byteOffset", 0), kind, count, width)
        elif count > _MOST:
            raise ValueError(f"accessors[{index}] has {count} values and no data")
        else:
            rows = np.zeros((count, width), dtype=kind)
        if sparse := about.get("sparse"):
            rows = self._replaced(rows, sparse, kind)
        if about.get("normalized") and kind.kind in "iu":
            return np.maximum(rows / np.iinfo(kind).max, -1.0)
        return rows

    def image(self, index: int) -> tuple[bytes, str]:
        """The bytes of an image, and its name.

        Raises:
            FileNotFoundError: its file does not exist.
        """
        about = self.list("images")[index]
        if "bufferView" in about:
            name = about.get("name") or f"images[{index}]"
            return bytes(self._view(about["bufferView"])), str(name)
        uri = str(about["uri"])
        if uri.startswith("data:"):
            return _data(uri), str(about.get("name") or f"images[{index}]")
        place = find_texture(self.path.parent, unquote(uri))
        if place is None:
            raise FileNotFoundError(unquote(uri))
        return place.read_bytes(), place.name

    def _rows(self, view: int, offset: int, kind: np.dtype, count: int, width: int) -> Array:
        data = self._view(view)
        step = self.list("bufferViews")[view].get("byteStride") or kind.itemsize * width
        needed = offset + (count - 1) * step + kind.itemsize * width if count else 0
        if needed > len(data):
            raise ValueError(f"{len(data)} bytes instead of {needed}, so it may be truncated")
        return np.ndarray((count, width), kind, data, offset, (step, kind.itemsize)).copy()

    def _replaced(self, rows: Array, sparse: dict[str, Any], kind: np.dtype) -> Array:
        """The rows after the replacements of a sparse accessor."""
        where, what, count = sparse["indices"], sparse["values"], int(sparse["count"])
        places = self._rows(
            where["bufferView"], where.get("byteOffset", 0),
            np.dtype(_TYPES[where["componentType"]]), count, 1,
        )  # fmt: skip
        values = self._rows(
            what["bufferView"], what.get("byteOffset", 0), kind, count, rows.shape[1]
        )
        rows[places[:, 0].astype(np.int64)] = values
        return rows

    def _view(self, index: int) -> memoryview:
        view = self.list("bufferViews")[index]
        for name in ("EXT_meshopt_compression", "KHR_meshopt_compression"):
            if name in view.get("extensions", {}) and not self._has_data(view["buffer"]):
                raise self._compressed(name)
        start = view.get("byteOffset", 0)
        return memoryview(self._buffer(view["buffer"]))[start : start + view["byteLength"]]

    def _has_data(self, index: int) -> bool:
        return "uri" in self.list("buffers")[index] or (index == 0 and self.binary is not None)

    def _buffer(self, index: int) -> bytes:
        if index not in self._buffers:
            self._buffers[index] = self._load(index)
        return self._buffers[index]

    def _load(self, index: int) -> bytes:
        uri = self.list("buffers")[index].get("uri")
        if uri is None:
            if index or self.binary is None:
                raise ValueError(f"buffers[{index}] has no data")
            return self.binary
        if uri.startswith("data:"):
            return _data(uri)
        place = self.path.parent / unquote(uri)
        if not place.is_file():
            raise InputError(
                f"its data are in {unquote(uri)}, which does not exist",
                file=self.path,
                kind=Kind.MISSING,
                remedy="Put that file beside it, or export as .glb.",
            )
        content = place.read_bytes()
        if is_lfs_pointer(content):
            raise InputError(LFS_REMEDY, file=place, kind=Kind.UNREADABLE)
        return content

    def _compressed(self, name: str) -> InputError:
        what, remedy = _REMEDIES[name]
        return InputError(
            f"{what} ({name}), which is not supported",
            file=self.path,
            kind=Kind.UNREADABLE,
            remedy=remedy,
        )


def _chunks(path: Path, content: bytes) -> tuple[bytes, bytes | None]:
    """The JSON and the binary chunk of a GLB."""
    (version,) = struct.unpack_from("<I", content, 4)
    if version != 2:
        raise InputError(
            f"is GLB of version {version}",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Export it as glTF 2.0.",
        )
    found: dict[int, bytes] = {}
    at = 12
    while at + 8 <= len(content):
        length, kind = struct.unpack_from("<II", content, at)
        found.setdefault(kind, content[at + 8 : at + 8 + length])
        at += 8 + length
    if at > len(content) or _JSON not in found:
        raise ValueError("it ends before its chunks do")
    return found[_JSON], found.get(_BIN)


def _data(uri: str) -> bytes:
    """The content of a data URI."""
    head, _, body = uri.partition(",")
    try:
        return base64.b64decode(body) if head.endswith(";base64") else unquote(body).encode()
    except binascii.Error:
        raise ValueError("a data URI is damaged") from None
