"""PCD, of the Point Cloud Library: ASCII, binary, and binary compressed by LZF."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from sr3d.data.scans.content import Array, Cloud, Content, Fact, range_of_type
from sr3d.data.scans.lzf import decompress
from sr3d.errors import InputError


@dataclass(frozen=True)
class _Header:
    dtype: np.dtype
    points: int
    data: str


def read_pcd(path: Path) -> Content:
    """Points with NaN, which organised clouds have where nothing was measured, are left out.

    Raises:
        InputError: a header that is no PCD header, or data that do not fit it.
    """
    content = path.read_bytes()
    header, start = _header(content, path)
    rows = _rows(header, content[start:], path)
    names = rows.dtype.names or ()
    if not {"x", "y", "z"} <= set(names):
        raise InputError(f"{path}: FIELDS are {', '.join(names)}; x, y and z are needed")
    points = np.stack([rows[name] for name in "xyz"], axis=1)
    colors = _colors(rows)
    measured = np.isfinite(points).all(axis=1)
    facts = []
    if not measured.all():
        missing = int((~measured).sum())
        facts.append(Fact("left out", f"{missing} points", "NaN, as PCD marks what is unmeasured"))
        points, colors = points[measured], None if colors is None else colors[measured]
    told = None if colors is None else range_of_type(colors.dtype)
    return Content([Cloud(points, colors)], color_range=told, facts=facts)


def _header(content: bytes, path: Path) -> tuple[_Header, int]:
    """And where the data begin."""
    fields: dict[str, list[str]] = {}
    at = 0
    while "DATA" not in fields:
        end = content.find(b"\n", at)
        if end < 0 or end > 65536:
            raise InputError(f"{path}: not a PCD file, its header has no DATA; write it again")
        words = content[at:end].decode("latin-1").split("#")[0].split()
        at = end + 1
        if words:
            fields[words[0].upper()] = words[1:]
    try:
        names, sizes, types = (fields[key] for key in ("FIELDS", "SIZE", "TYPE"))
        counts = fields.get("COUNT", ["1"] * len(names))
        kinds = {"F": "f", "I": "i", "U": "u"}
        dtype = np.dtype(
            [
                # Padding is called _, as often as there is some.
                (f"_{i}" if name == "_" else name, f"<{kinds[kind]}{size}", (int(count),))
                if int(count) != 1
                else (f"_{i}" if name == "_" else name, f"<{kinds[kind]}{size}")
                for i, (name, size, kind, count) in enumerate(
                    zip(names, sizes, types, counts, strict=True)
                )
            ]
        )
        points = fields.get("POINTS")
        count = int(points[0]) if points else int(fields["WIDTH"][0]) * int(fields["HEIGHT"][0])
        return _Header(dtype, count, fields["DATA"][0].lower()), at
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise InputError(
            f"{path}: the PCD header is incomplete ({error}); write it again"
        ) from None


def _rows(header: _Header, data: bytes, path: Path) -> Array:
    size = header.dtype.itemsize * header.points
    match header.data:
        case "ascii":
            return _ascii(header, data, path)
        case "binary":
            packed = data
        case "binary_compressed":
            compressed, whole = struct.unpack_from("<II", data)
            if whole != size or compressed > len(data) - 8:
                raise InputError(f"{path}: DATA is cut off or does not fit POINTS; write it again")
            return _by_field(header, decompress(data[8 : 8 + compressed], whole))
        case kind:
            raise InputError(f"{path}: DATA {kind} is unknown; write it as ascii or binary")
    if len(packed) < size:
        raise InputError(
            f"{path}: DATA has {len(packed)} bytes, {header.points} points need {size}; "
            "write it again"
        )
    return np.frombuffer(packed, dtype=header.dtype, count=header.points)


def _ascii(header: _Header, data: bytes, path: Path) -> Array:
    names = header.dtype.names or ()
    counts = [int(np.prod(header.dtype[name].shape)) for name in names]
    table = np.loadtxt(BytesIO(data), dtype=np.float64, ndmin=2, max_rows=header.points)
    if table.shape != (header.points, sum(counts)):
        raise InputError(
            f"{path}: DATA is {table.shape}, POINTS and FIELDS say "
            f"({header.points}, {sum(counts)}); write it again"
        )
    rows = np.empty(header.points, dtype=header.dtype)
    at = 0
    for name, count in zip(names, counts, strict=True):
        rows[name] = table[:, at : at + count].reshape(rows[name].shape)
        at += count
    return rows


def _by_field(header: _Header, data: bytes) -> Array:
    """Compressed clouds are stored field after field."""
    rows = np.empty(header.points, dtype=header.dtype)
    at = 0
    for name in header.dtype.names or ():
        kind = header.dtype[name]
        values = np.frombuffer(data, dtype=kind.base, offset=at, count=rows[name].size)
        rows[name] = values.reshape(rows[name].shape)
        at += values.nbytes
    return rows


def _colors(rows: Array) -> Array | None:
    """`rgb` and `rgba` are 0xAARRGGBB, `rgb` often in the bits of a float."""
    names = rows.dtype.names or ()
    for name in ("rgb", "rgba"):
        if name in names:
            bits = rows[name]
            if bits.dtype.kind == "f":
                bits = np.ascontiguousarray(bits, dtype="<f4").view("<u4")
            bits = bits.astype(np.uint32)
            return np.stack([bits >> shift & 255 for shift in (16, 8, 0)], axis=1).astype(np.uint8)
    for some in (("r", "g", "b"), ("red", "green", "blue")):
        if set(some) <= set(names):
            return np.stack([rows[name] for name in some], axis=1)
    return None
