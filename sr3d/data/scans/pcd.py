"""PCD, of the Point Cloud Library: ASCII, binary, and binary compressed by LZF.

pypcd4 does not replace this reader: it reads a truncated file without an error, and refuses
COLUMNS, repeated names, names with spaces, a byte order mark and tabs.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import lzf
import numpy as np

from sr3d.data.scans.content import Array, Content, Fact
from sr3d.data.scans.naming import different, read_named
from sr3d.data.scans.text import is_utf16, read_numbers
from sr3d.errors import InputError, Kind

_BOM = b"\xef\xbb\xbf"
_KINDS = {"F": "f", "I": "i", "U": "u"}
# Names of one word that may stand between names with spaces.
_SINGLE = {
    "x", "y", "z", "rgb", "rgba", "r", "g", "b", "a", "red", "green", "blue", "intensity", "label",
    "ring", "curvature", "normal_x", "normal_y", "normal_z", "nx", "ny", "nz", "_",
}  # fmt: skip
_AT_REST = (0, 0, 0, 1, 0, 0, 0)
_GROWTH = 88  # LZF makes at most 264 bytes of 3


@dataclass(frozen=True)
class _PcdHeader:
    dtype: np.dtype
    points: int
    data: str
    facts: tuple[Fact, ...]


def read_pcd(path: Path) -> Content:
    """The points of a PCD file. Unmeasured points of organised clouds are NaN.

    Raises:
        InputError: the header is not a PCD header, or the data do not match it.
    """
    content = path.read_bytes()
    if is_utf16(content):
        content = content.decode("utf-16", "replace").encode()
    header, start = _header(content, path)
    fields = _fields(header, content[start:], path)
    text = header.data == "ascii"
    return read_named(fields, path, "FIELDS", text, header.facts)


def _header(content: bytes, path: Path) -> tuple[_PcdHeader, int]:
    """The header, and the offset of the data."""
    lines: dict[str, list[str]] = {}
    at = len(_BOM) if content.startswith(_BOM) else 0
    while "DATA" not in lines:
        end = content.find(b"\n", at)
        if end < 0 or end > 65536:
            raise InputError(
                "not a readable PCD file: its header has no line DATA",
                file=path,
                kind=Kind.UNREADABLE,
                remedy="Export it again.",
            )
        words = content[at:end].decode("latin-1").split("#")[0].split()
        at = end + 1
        if words:
            lines[words[0].upper()] = words[1:]
    try:
        # Files of version 0.5 have COLUMNS.
        words, sizes = lines.get("FIELDS") or lines["COLUMNS"], lines["SIZE"]
        names = _names(words, len(sizes), path)
        counts = [int(count) for count in lines.get("COUNT") or ["1"] * len(names)]
        dtype = np.dtype(
            [
                (name, f"<{_KINDS[kind]}{size}", (count,))
                if count != 1
                else (name, f"<{_KINDS[kind]}{size}")
                for name, size, kind, count in zip(names, sizes, lines["TYPE"], counts, strict=True)
            ]
        )
        points = lines.get("POINTS")
        count = int(points[0]) if points else int(lines["WIDTH"][0]) * int(lines["HEIGHT"][0])
        if count < 0:
            raise ValueError(f"{count} points")
        return _PcdHeader(dtype, count, lines["DATA"][0].lower(), _pose(lines)), at
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise InputError(
            f"the PCD header is incomplete or wrong ({error})",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Export it again.",
        ) from None


def _names(words: list[str], count: int, path: Path) -> list[str]:
    """`count` different names. Some writers put names with spaces into FIELDS, every padding field
    has the name `_`, and CloudCompare writes some names twice.
    """
    names: list[str] = []
    for i, word in enumerate(words):
        if i and len(words) > count and not {word.lower(), words[i - 1].lower()} & _SINGLE:
            names[-1] += f" {word}"
        else:
            names.append(word)
    if len(names) != count:
        raise InputError(
            f"FIELDS has {len(words)} names ({' '.join(words)}) and SIZE has {count} values",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Rename fields that have a space in their name and export it again.",
        )
    return different(names)


def _pose(lines: dict[str, list[str]]) -> tuple[Fact, ...]:
    pose = [float(word) for word in lines.get("VIEWPOINT", [])]
    if len(pose) != 7 or np.array_equal(pose, _AT_REST):
        return ()
    shown = " ".join(lines["VIEWPOINT"])
    return (Fact("viewpoint", shown, "the pose of the sensor, which does not move the points"),)


def _fields(header: _PcdHeader, data: bytes, path: Path) -> dict[str, Array]:
    """The values of each field, (N,) or (N, count)."""
    size = header.dtype.itemsize * header.points
    match header.data:
        case "ascii":
            return _from_text(header, data, path)
        case "binary":
            if len(data) < size:
                raise InputError(
                    f"DATA has {len(data)} bytes, but {header.points} points need {size}",
                    file=path,
                    kind=Kind.UNREADABLE,
                    remedy="Copy or export it again.",
                )
            rows = np.frombuffer(data, dtype=header.dtype, count=header.points)
            return {name: rows[name] for name in rows.dtype.names or ()}
        case "binary_compressed":
            return _by_field(header, _decompressed(data, size, path))
        case kind:
            raise InputError(
                f"DATA {kind} is unknown",
                file=path,
                kind=Kind.UNKNOWN,
                remedy="Export it as ascii or binary.",
            )


def _decompressed(data: bytes, size: int, path: Path) -> bytes:
    """`size` bytes from the data of a compressed file: two lengths, then LZF data.

    Memory for `size` bytes is reserved only if the data can hold that many.
    """
    packed, whole = struct.unpack_from("<II", data) if len(data) >= 8 else (0, -1)
    if whole != size or packed > len(data) - 8 or whole > _GROWTH * packed:
        raise InputError(
            "is cut off or does not match POINTS",
            file=path,
            field="DATA",
            kind=Kind.UNREADABLE,
            remedy="Copy or export it again.",
        )
    if size == 0:
        return b""
    try:
        content: bytes | None = lzf.decompress(data[8 : 8 + packed], whole)
    except ValueError:
        content = None
    if content is None or len(content) != whole:  # None: more than `whole`
        raise InputError(
            "is damaged",
            file=path,
            field="DATA",
            kind=Kind.UNREADABLE,
            remedy="Copy or export it again.",
        )
    return content


def _from_text(header: _PcdHeader, data: bytes, path: Path) -> dict[str, Array]:
    """The values of each field. They stay float64, because float32 would round a packed colour."""
    names = header.dtype.names or ()
    counts = [int(np.prod(header.dtype[name].shape)) for name in names]
    numbers, width = read_numbers(data, path), sum(counts)
    if numbers.size < header.points * width:
        raise InputError(
            f"DATA has {numbers.size // width} points, but POINTS is {header.points}",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Copy or export it again.",
        )
    if numbers.size > header.points * width:
        raise InputError(
            f"DATA has {numbers.size} numbers, but {header.points} points of "
            f"{width} values need fewer, so FIELDS, COUNT and POINTS do not match "
            "the data",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Export it again.",
        )
    table, ends = numbers.reshape(-1, width), np.cumsum(counts)
    return {
        name: table[:, end - 1] if count == 1 else table[:, end - count : end]
        for name, count, end in zip(names, counts, ends, strict=True)
    }


def _by_field(header: _PcdHeader, data: bytes) -> dict[str, Array]:
    """The values of each field. Compressed clouds store one field after the other."""
    fields, at = {}, 0
    for name in header.dtype.names or ():
        kind = header.dtype[name]
        size = header.points * int(np.prod(kind.shape))
        values = np.frombuffer(data, dtype=kind.base, offset=at, count=size)
        fields[name] = values.reshape(header.points, *kind.shape)
        at += values.nbytes
    return fields
