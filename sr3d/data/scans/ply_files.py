"""PLY files of every writer, as `plyfile` represents them.

plyfile maps binary files into memory, which is fast. But it requires one row per line in text
files, and reads each value in a Python loop. So this module reads text as the stream of words that
the format defines, and rewrites a header that plyfile refuses.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from plyfile import PlyData, PlyElement, PlyElementParseError, PlyParseError

from sr3d.data.scans.content import Array
from sr3d.data.scans.text import is_utf16, read_numbers
from sr3d.errors import InputError, Kind

FACES = ("vertex_indices", "vertex_index")
# If the faces are known to be triangles, plyfile maps them instead of looping over them.
_TRIANGLES = {"face": dict.fromkeys(FACES, 3)}

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f8", "float32": "f8", "double": "f8", "float64": "f8",
}  # fmt: skip  # text has the digits of a double, whatever its header says
_LONGEST = 1 << 20  # maximum number of bytes of a header


class _Property(NamedTuple):
    """types: of the value. For a list, of its length and its values."""

    name: str
    types: tuple[str, ...]

    @property
    def is_list(self) -> bool:
        return len(self.types) == 2


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: list[_Property]


@dataclass(frozen=True)
class _PlyHeader:
    """form: `ascii`, …. size: bytes up to the data."""

    form: str
    elements: list[_Element]
    size: int

    def plain(self) -> bytes:
        """The header as the format prescribes it, without comments."""
        lines = ["ply", f"format {self.form} 1.0"]
        for element in self.elements:
            lines.append(f"element {element.name} {element.count}")
            lines += [
                f"property {'list ' * one.is_list}{' '.join(one.types)} {one.name}"
                for one in element.properties
            ]
        return "\n".join([*lines, "end_header\n"]).encode()


def open_ply(path: Path) -> PlyData:
    """The elements of a PLY file.

    Raises:
        InputError: header or data are not PLY. PlyParseError: the same, found by plyfile.
    """
    with path.open("rb") as file:
        head = file.read(_LONGEST)
        if is_utf16(head):  # text, whatever the header declares
            file.seek(0)
            head = file.read().decode("utf-16", "replace").encode()
            header = _read_header(head, path)
            numbers = read_numbers(head[header.size :], path)
            return PlyData(_from_words(header, numbers, path), text=True)
        header = _read_header(head, path)
        if header.form == "ascii":
            file.seek(header.size)
            numbers = read_numbers(file.read(), path)
            return PlyData(_from_words(header, numbers, path), text=True)
    try:
        return PlyData.read(path, known_list_len=_TRIANGLES)
    except PlyElementParseError:  # polygons with different numbers of corners
        return PlyData.read(path)
    except (PlyParseError, ValueError):  # the header
        with tempfile.TemporaryFile() as plain, path.open("rb") as file:
            plain.write(header.plain())
            file.seek(header.size)
            shutil.copyfileobj(file, plain)
            plain.seek(0)
            return PlyData.read(plain)


def _read_header(head: bytes, path: Path) -> _PlyHeader:
    """The header, which may have indented and blank lines, any line ends, and repeated names."""
    start = re.match(rb"(?:\xef\xbb\xbf)?\s*(?:ply|PLY)[ \t]*(\r\n|\n|\r)", head)
    if start is None:
        first = head.split(b"\n")[0][:40].decode("latin-1").strip()
        raise InputError(
            f"not a readable PLY file: it begins with '{first}' instead of 'ply'",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Export it as PLY, or give it the suffix of its format.",
        )
    line_end = rb"\r" if start[1] == b"\r" else rb"\r?\n"
    end = re.search(rb"(?:^|[\r\n])[ \t]*end_header[ \t]*" + line_end, head)
    if end is None:
        raise InputError(
            "the PLY header has no line end_header",
            file=path,
            kind=Kind.EMPTY,
            remedy="Export it again.",
        )
    lines = re.split(r"\r\n|\n|\r", head[start.end() : end.start()].decode("latin-1"))
    form, elements = "", list[_Element]()
    for line in lines:
        match line.split():
            case [] | ["comment" | "obj_info", *_]:
                continue
            case ["format", form, *_]:
                continue
            case ["element", name, count] if count.isdecimal():
                elements.append(_Element(name, int(count), []))
            case ["property", "list", length, value, *words] if words and elements:
                _add(elements[-1], (length, value), words)
            case ["property", kind, *words] if words and elements:
                _add(elements[-1], (kind,), words)
            case _:
                raise InputError(
                    f"the PLY header has the line '{line.strip()}', which is not a format, element "
                    "or property",
                    file=path,
                    kind=Kind.UNREADABLE,
                    remedy="Export it again.",
                )
    return _PlyHeader(form, elements, end.end())


def _add(element: _Element, types: tuple[str, ...], words: list[str]) -> None:
    """Add a property. Its name must have one word and differ from the earlier ones."""
    name = "_".join(words).encode("ascii", "replace").decode()
    names = {one.name for one in element.properties}
    numbers = (f"{name}_{number}" for number in count(2))
    unused = name if name not in names else next(each for each in numbers if each not in names)
    element.properties.append(_Property(unused, types))


def _from_words(header: _PlyHeader, numbers: Array, path: Path) -> list[PlyElement]:
    elements, at = [], 0
    for element in header.elements:
        for one in element.properties:
            if unknown := set(one.types) - _TYPES.keys():
                raise InputError(
                    f"property {one.name} has the unknown type {unknown.pop()}",
                    file=path,
                    kind=Kind.UNKNOWN,
                    remedy="Export it as float or uchar.",
                )
        rows, used = _rows(element, numbers[at:], path)
        at += used
        elements.append(PlyElement.describe(rows, element.name))
    return elements


def _rows(element: _Element, numbers: Array, path: Path) -> tuple[Array, int]:
    """The rows of an element, and the number of words that they take."""
    places, width = _layout(element, numbers)
    counts = [place - 1 for one, place, _ in places if one.is_list]
    size = element.count * width
    table = numbers[:size].reshape(-1, width) if size and len(numbers) >= size else None
    if table is not None and not (table[:, counts] == table[0, counts]).all():
        table = None
    if table is None and counts and element.count:
        return _ragged(element, numbers, path)
    if table is None and element.count and width:
        raise _ends_early(element, len(numbers) // width, path)
    columns = {}
    for one, place, length in places:
        values = numbers[:0] if table is None else table[:, place : place + length]
        columns[one.name] = _cast(values if one.is_list else values.reshape(-1), one)
    rows = np.empty(
        element.count, dtype=[(k, v.dtype.str, v.shape[1:]) if v.ndim > 1 else (k, v.dtype.str)
                              for k, v in columns.items()]
    )  # fmt: skip
    for name, values in columns.items():
        rows[name] = values
    return rows, size


def _layout(element: _Element, numbers: Array) -> tuple[list[tuple[_Property, int, int]], int]:
    """The layout of the first row: properties, positions and lengths. Also the width of the row."""
    places, at = [], 0
    for one in element.properties:
        length = 1
        if one.is_list:
            first = float(numbers[at]) if at < len(numbers) else 0.0
            length = int(first) if 0 <= first <= len(numbers) else 0
            at += 1
        places.append((one, at, length))
        at += length
    return places, at


def _ragged(element: _Element, numbers: Array, path: Path) -> tuple[Array, int]:
    """Rows with lists of different lengths."""
    rows = np.empty(
        element.count,
        dtype=[(one.name, "O" if one.is_list else "f8") for one in element.properties],
    )
    words = iter(numbers.tolist())
    used = 0
    for i in range(element.count):
        for one in element.properties:
            try:
                value = next(words)
                used += 1
                if one.is_list:
                    some = list(islice(words, int(value)))
                    if len(some) < int(value):
                        raise StopIteration
                    used += len(some)
                    rows[one.name][i] = np.array(some).astype(_TYPES[one.types[1]])
                else:
                    rows[one.name][i] = value
            except StopIteration:
                raise _ends_early(element, i, path) from None
    return rows, used


def _cast(values: Array, one: _Property) -> Array:
    """Values of the property's type. Fractions stay floats even if the header declares integers."""
    whole = values.astype(_TYPES[one.types[-1]]) if np.isfinite(values).all() else values
    return whole if np.array_equal(whole, values) else values


def _ends_early(element: _Element, rows: int, path: Path) -> InputError:
    return InputError(
        f"the data end after {rows} of {element.count} rows of element {element.name}",
        file=path,
        kind=Kind.VALUE,
        remedy="Export or copy it again.",
    )
