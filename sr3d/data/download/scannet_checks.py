"""Checks the content of downloaded ScanNet files. Errors contain only the reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sr3d.data.scannet_files import SUFFIXES
from sr3d.errors import InputError, Kind

_BYTES = {
    **dict.fromkeys(("char", "uchar", "int8", "uint8"), 1),
    **dict.fromkeys(("short", "ushort", "int16", "uint16"), 2),
    **dict.fromkeys(("int", "uint", "int32", "uint32", "float", "float32"), 4),
    **dict.fromkeys(("double", "float64"), 8),
}
_CORNERS = 3  # of every face, because all meshes are triangle meshes


def check_scan_file(path: Path, target: Path) -> None:
    """Check the content of `path`, which is to become the scan's file `target`.

    The mesh and the segments must have equally many vertices. If the other file exists and
    disagrees, either may be wrong, so the other file is deleted.
    """
    scene = target.parent.name
    suffix = target.name.removeprefix(scene)
    count = _CHECKS[suffix](path, scene)
    other_suffix = {_MESH: _SEGMENTS, _SEGMENTS: _MESH}.get(suffix)
    if other_suffix is None or not (other := target.with_name(scene + other_suffix)).exists():
        return
    try:
        others = str(_CHECKS[other_suffix](other, scene))
    except InputError:
        others = "none that can be read"
    if others != str(count):
        other.unlink()
        raise InputError(
            f"it is about {count} vertices but {other.name}, deleted too, about {others}",
            kind=Kind.UNREADABLE,
        )


def check_label_map(path: Path) -> None:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if len(lines) < 2 or not {"raw_category", "nyu40id"} <= set(lines[0].split("\t")):
        raise InputError("it is not ScanNet's table of labels", kind=Kind.UNREADABLE)


def check_list(path: Path, count: int, sha256: str) -> None:
    """Check the ids of a published list. Copies differ in white space, so bytes do not count."""
    ids = path.read_text(encoding="utf-8", errors="replace").split()
    if hashlib.sha256("".join(f"{name}\n" for name in ids).encode()).hexdigest() != sha256:
        raise InputError(
            f"it is not the published list of {count} scans (it has {len(ids)})",
            kind=Kind.UNREADABLE,
        )


def _check_mesh(path: Path, _: str) -> int:
    """Vertices of a PLY file that is at least as long as its header declares."""
    head, end, body = path.read_bytes().partition(b"end_header")
    lines = [line.split() for line in head.decode("latin1").splitlines()]
    if not end or lines[0] != ["ply"]:
        raise InputError("it is not a PLY mesh", kind=Kind.UNREADABLE)
    counts: dict[str, int] = {}
    sizes: dict[str, int] = {}
    binary, element = True, ""
    try:
        for words in filter(None, lines):
            if words[0] == "format":
                binary = words[1] != "ascii"
            elif words[0] == "element":
                element = words[1]
                counts[element], sizes[element] = int(words[2]), 0
            elif words[:2] == ["property", "list"]:
                sizes[element] += _BYTES[words[2]] + _CORNERS * _BYTES[words[3]]
            elif words[0] == "property":
                sizes[element] += _BYTES[words[1]]
    except (IndexError, KeyError, ValueError):
        raise InputError("the header of the PLY mesh is damaged", kind=Kind.UNREADABLE) from None
    if counts.get("vertex", 0) < 1 or counts.get("face", 0) < 1:
        raise InputError("the mesh has no vertices or no faces", kind=Kind.UNREADABLE)
    body = body.partition(b"\n")[2]
    unit, found = ("bytes", len(body)) if binary else ("lines", len(body.splitlines()))
    needed = sum(count * (sizes[name] if binary else 1) for name, count in counts.items())
    if found < needed:
        raise InputError(
            f"the mesh is cut: {found} {unit} of {needed} are there", kind=Kind.UNREADABLE
        )
    return counts["vertex"]


def _check_segments(path: Path, scene: str) -> int:
    """Vertices that `segIndices` covers."""
    return len(_read_list(path, scene, "segIndices"))


def _check_objects(path: Path, scene: str) -> int:
    return len(_read_list(path, scene, "segGroups"))


def _check_text(path: Path, _: str) -> int:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = {key.strip(): value for key, _, value in (line.partition("=") for line in lines)}
    try:
        numbers = [float(number) for number in pairs["axisAlignment"].split()]
    except (KeyError, ValueError):
        numbers = []
    if len(numbers) != 16:
        raise InputError("it has no line axisAlignment with 16 numbers", kind=Kind.UNREADABLE)
    return len(numbers)


def _read_list(path: Path, scene: str, key: str) -> list[Any]:
    try:
        value = json.loads(path.read_bytes())
        found, name = value[key], str(value.get("sceneId", scene))
    except (ValueError, TypeError, KeyError):
        raise InputError(f"it is not JSON with a list {key}", kind=Kind.UNREADABLE) from None
    if not isinstance(found, list):
        raise InputError(f"its {key} is not a list", kind=Kind.UNREADABLE)
    if not name.endswith(scene):
        raise InputError(f"it is about the scan {name}", kind=Kind.UNREADABLE)
    return found


_MESH, _SEGMENTS, _OBJECTS, _TEXT = SUFFIXES
_CHECKS: dict[str, Callable[[Path, str], int]] = {
    _MESH: _check_mesh,
    _SEGMENTS: _check_segments,
    _OBJECTS: _check_objects,
    _TEXT: _check_text,
}
