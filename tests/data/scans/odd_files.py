"""Files as real programs and people write them, as bytes of one coloured room."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.data.scans.making import Array, room

POINTS, COLORS = room(points=2400)
COUNT = len(POINTS)
XYZ = [(name, POINTS[:, i]) for i, name in enumerate("xyz")]
RGB = [(name, COLORS[:, i]) for i, name in enumerate(("red", "green", "blue"))]

Fields = Sequence[tuple[str, Array]]

_PLY_TYPES = {
    "u1": "uchar", "u2": "ushort", "u4": "uint", "i4": "int", "f4": "float", "f8": "double",
}  # fmt: skip


def named(names: str, values: Array = COLORS) -> Fields:
    """Columns under other names."""
    return list(zip(names.split(), values.T, strict=True))


def packed(alpha: int = 255) -> Array:
    """uint32 0xAARRGGBB."""
    red, green, blue = COLORS.astype(np.uint32).T
    return (alpha << 24 | red << 16 | green << 8 | blue).astype(np.uint32)


def places(values: Array) -> Fields:
    return [(name, values[:, i]) for i, name in enumerate("xyz")]


def changed(rows: Sequence[int] | slice, value: Any, base: Array = POINTS) -> Array:
    """A copy with other values in some rows."""
    out = base.astype(np.float32 if base is POINTS else np.float64)
    out[rows if isinstance(rows, slice) else list(rows)] = value
    return out


def _table(fields: Fields) -> Array:
    names = [f"{i}" for i in range(len(fields))]
    kinds = [values.dtype.str[1:] for _, values in fields]
    rows = np.empty(len(fields[0][1]), dtype=list(zip(names, kinds, strict=True)))
    for name, (_, values) in zip(names, fields, strict=True):
        rows[name] = values
    return rows


def _words(fields: Fields) -> list[list[str]]:
    return [
        [f"{value:.9g}" if isinstance(value, float) else f"{value}" for value in row]
        for row in _table(fields).tolist()
    ]


def ply_header(fields: Fields, form: str = "binary_little_endian") -> list[str]:
    return [
        "ply",
        f"format {form} 1.0",
        f"element vertex {len(fields[0][1])}",
        *(f"property {_PLY_TYPES[values.dtype.str[1:]]} {name}" for name, values in fields),
        "end_header",
    ]


def ply(fields: Fields, lines: list[str] | None = None, end: str = "\n") -> bytes:
    """Binary. lines: of another header."""
    header = end.join(lines or ply_header(fields)) + end
    return header.encode() + _table(fields).tobytes()


def ply_text(
    fields: Fields, lines: list[str] | None = None, row: str = " ", end: str = "\n"
) -> bytes:
    """row and end: what stands between words and between rows."""
    header = "\n".join(lines or ply_header(fields, "ascii")) + "\n"
    return (header + end.join(row.join(words) for words in _words(fields)) + "\n").encode()


def pcd(fields: Fields, data: str = "binary", **lines: str) -> bytes:
    """lines: header lines that are different; an empty one is left out."""
    kinds = [values.dtype for _, values in fields]
    count = len(fields[0][1])
    header = {
        "VERSION": "0.7",
        "FIELDS": " ".join(name for name, _ in fields),
        "SIZE": " ".join(str(kind.itemsize) for kind in kinds),
        "TYPE": " ".join(kind.kind.upper() for kind in kinds),
        "COUNT": " ".join("1" for _ in kinds),
        "WIDTH": f"{count}",
        "HEIGHT": "1",
        "VIEWPOINT": "0 0 0 1 0 0 0",
        "POINTS": f"{count}",
        "DATA": data,
    }
    changed = {**header, **lines}
    order = [*(set(lines) - set(header)), *header]
    text = "".join(f"{name} {changed[name]}\n" for name in order if changed[name])
    if data == "ascii":
        rows = "\n".join(" ".join(words) for words in _words(fields))
        return f"# .PCD v.7\n{text}{rows}\n".encode()
    return f"# .PCD v.7\n{text}".encode() + _table(fields).tobytes()


def rows(*columns: Array, kind: str = "<f4") -> Array:
    """Columns side by side."""
    return np.concatenate([c.reshape(COUNT, -1) for c in columns], axis=1).astype(kind)


def npy(value: Array) -> bytes:
    out = io.BytesIO()
    np.save(out, value)
    return out.getvalue()


def npz(**arrays: Array) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def structured(*fields: tuple[str, Array], order: str = "<") -> Array:
    out = np.empty(
        len(fields[0][1]),
        dtype=[(name, order + v.dtype.str[1:], v.shape[1:]) for name, v in fields],
    )
    for name, value in fields:
        out[name] = value
    return out


def text(table: Array, before: str = "", row: str = " ", end: str = "\n", after: str = "\n") -> str:
    lines = [row.join(f"{value:.6g}" for value in line) for line in table.tolist()]
    return before + end.join(lines) + after


def lfs_pointer(size: int = 1_952_856) -> bytes:
    digest = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n"
    ).encode()


def unit_normals() -> Array:
    vectors = np.random.default_rng(5).normal(size=(COUNT, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def compressed_splats() -> bytes:
    """The header of SuperSplat's compressed format."""
    fields = ["packed_position", "packed_rotation", "packed_scale", "packed_color"]
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {COUNT}"]
    lines += [*(f"property uint {name}" for name in fields), "end_header"]
    return "\n".join(lines).encode() + b"\n" + struct.pack("<4I", 1, 2, 3, 4) * COUNT
