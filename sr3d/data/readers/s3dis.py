"""Reads the original S3DIS: the text files of a room's objects become points and boxes.

    Area_<n>/<room>/Annotations/<class>_<k>.txt     an object: lines `x y z r g b`, metres, 0..255

Area 5 is the validation set. The rules are the same as for all published numbers
(open-mmlab/mmdetection3d, `data/s3dis`). A room consists of all its objects, shifted so that its
minimum is 0. A box is the minimum and the maximum of an object's points. Two rules differ on
purpose. Files are sorted by name instead of the file system's order. Copies of files, such as
reportedly `wall_3 (1).txt` of Area_5/office_36, are skipped, so they do not double its points.
"""

from __future__ import annotations

import logging
import math
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sr3d.data.datasets import S3DIS
from sr3d.data.prepared import Manifest, PreparedWriter
from sr3d.data.readers.conversion import ConversionOptions, Source, convert, select_scenes
from sr3d.data.readers.published import S3DIS as PUBLISHED
from sr3d.data.scene import Scene, check_scene
from sr3d.errors import InputError, Kind
from sr3d.geometry.boxes import Boxes

Array = npt.NDArray[Any]

FOLDER = "Stanford3dDataset_v1.2_Aligned_Version"
VAL_AREA = 5
OTHER_CLASSES = (
    "beam", "ceiling", "clutter", "column", "door", "floor", "stairs", "staris", "wall", "window",
)  # fmt: skip
"""S3DIS's classes besides furniture. "staris" is a misspelling in the data set."""

_AGAIN = "Download S3DIS again"
_STRAY = re.compile(rb"[^ -~\t]")

_log = logging.getLogger(__name__)


class FileNotes:
    """Minor defects, reported once at the end instead of room by room."""

    def __init__(self) -> None:
        self._things: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, what: str, thing: str, count: int = 1) -> None:
        # Several threads read rooms. Extending a list is atomic, counting is not.
        self._things[what].extend([thing] * count)

    def warn(self) -> None:
        for what, things in sorted(self._things.items()):
            counts = sorted(Counter(things).items())
            _log.warning("%s: %s", what, ", ".join(f"{name} ({count})" for name, count in counts))


def prepare_s3dis(
    raw: Path,
    out: Path,
    *,
    scenes: Sequence[str] | None = None,
    append: bool = False,
    how: ConversionOptions = ConversionOptions(),
) -> Manifest:
    """Turn raw rooms into a prepared folder: Area 5 is val, the other areas are train.

    raw: the folder of the six areas, or its parent. scenes: only these rooms, with names such as
    `Area_1_office_2`. By default every room, whose counts must equal the published ones. append:
    add to the set in `out`.

    Raises:
        InputError: a missing or invalid file, or other counts. Nothing is written before every
            room is known to have annotations.
    """
    rooms = {_scene_id(room): room for area in _areas(raw) for room in _rooms(area)}
    val = [scene for scene, room in rooms.items() if _area_number(room.parent) == VAL_AREA]
    lists = {"train": [scene for scene in rooms if scene not in val], "val": val}
    notes = FileNotes()
    sources = [
        Source(
            split=split,
            id=scene,
            # A room without annotations counts as a room that lacks a file.
            files=tuple(_annotations(rooms[scene])) or (rooms[scene] / "Annotations" / "*.txt",),
            read=partial(read_room, rooms[scene], notes),
        )
        for split, ids in select_scenes(lists, scenes).items()
        for scene in ids
    ]
    writer = PreparedWriter(
        out,
        "s3dis",
        S3DIS.classes,
        False,
        "S3DIS v1.2 aligned, raw annotations",
        labels="5 furniture classes",
        append=append,
    )
    remedy = f"{_AGAIN}, or name with --scenes the rooms that you have."
    published = PUBLISHED if scenes is None else PUBLISHED.of_some_scenes()
    manifest = convert(sources, writer, published, remedy, how)
    notes.warn()
    return manifest


def read_room(folder: Path, notes: FileNotes) -> Scene:
    """One room, `Area_<n>/<room>`: float32 metres from its minimum, colours in [0, 1], boxes.

    notes: collects minor defects of its files.

    Raises:
        InputError: names the file, what is wrong with it and what to do.
    """
    positions, colors, instance, start = [], [], [], 0
    furniture: list[tuple[Path, int, slice]] = []
    for path in _annotations(folder):
        name = _class_of(path, notes)
        rows = _read_object(path, name, notes) if name else np.zeros((0, 6))
        if len(rows) == 0:
            continue
        positions.append(rows[:, :3].copy())  # a view would keep all of `rows` in memory
        colors.append(rows[:, 3:].astype(np.float32) / 255)
        instance.append(np.full(len(rows), len(furniture) if name in S3DIS.classes else -1))
        if name in S3DIS.classes:
            own = slice(start, start + len(rows))
            furniture.append((path, S3DIS.classes.index(name), own))
        start += len(rows)
    if not positions:
        raise InputError(
            "contains no file with points",
            file=folder / "Annotations",
            kind=Kind.EMPTY,
            remedy=f"{_AGAIN}.",
        )
    exact = np.concatenate(positions)
    exact -= exact.min(axis=0)
    points = exact.astype(np.float32)
    scene = Scene(
        id=_scene_id(folder),
        points=torch.from_numpy(points),
        colors=torch.from_numpy(np.concatenate(colors)),
        boxes=Boxes.from_array(np.array([_box(points[own], path) for path, _, own in furniture])),
        labels=torch.tensor([label for _, label, _ in furniture], dtype=torch.int64),
        instance=torch.from_numpy(np.concatenate(instance)),
    )
    check_scene(scene, S3DIS.classes, str(folder))
    return scene


def _box(points: Array, source: Path) -> Array:
    """(6,) centre and size. A flat object is an error, because furniture is not flat."""
    low, high = points.min(axis=0), points.max(axis=0)
    if not (high > low).all():
        size = " × ".join(f"{edge:g}" for edge in high - low)
        raise InputError(
            f"is flat ({size} m)",
            file=source,
            kind=Kind.VALUE,
            remedy=f"{_AGAIN}, or remove it.",
        )
    return np.concatenate([(low + high) / 2, high - low])


def _class_of(path: Path, notes: FileNotes) -> str:
    """The class in a file's name. Empty for a copy or another stray file, which is skipped."""
    named = re.fullmatch(r"(.+)_[0-9]+", path.stem)
    name, start = named[1] if named else "", path.stem.split("_")[0]
    if start in S3DIS.classes and name != start:
        raise InputError(
            f"not named {start}_<number>.txt, so it may be a copy",
            file=path,
            kind=Kind.VALUE,
            remedy="Remove or rename it.",
        )
    if not name:
        notes.add("skipped files that are not named <class>_<number>.txt", str(path))
    elif name not in S3DIS.classes + OTHER_CLASSES:
        notes.add("treated objects of unknown class as other than furniture", name)
    return name


def _read_object(path: Path, name: str, notes: FileNotes) -> Array:
    """The rows of an object of that class. May be empty if the class is not furniture."""
    rows, repaired = read_annotation(path)
    if repaired:
        notes.add("repaired lines with a stray character", str(path), repaired)
    if len(rows) == 0:
        if name in S3DIS.classes:
            raise InputError("holds no points", file=path, kind=Kind.EMPTY, remedy=f"{_AGAIN}.")
        notes.add("skipped empty files", str(path))
    return rows


def read_annotation(path: Path) -> tuple[Array, int]:
    """(N, 6) float64 x, y, z, r, g, b of a file, and the number of repaired lines.

    Raises:
        InputError: names the file and the line.
    """
    try:
        with open(path, "rb") as file:
            if not any(line.strip() for line in file):  # NumPy would print a warning
                return np.zeros((0, 6)), 0
        try:
            rows = np.loadtxt(path, comments=None, encoding="latin1", ndmin=2)
        except ValueError:
            return _read_lines(path)
        # NumPy accepts more than we do. Reading line by line finds the line for the message.
        return (rows, 0) if _sound(rows) else _read_lines(path)
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror})",
            file=path,
            kind=Kind.UNREADABLE,
            remedy=f"{_AGAIN}.",
        ) from None


def _sound(rows: Array) -> bool:
    if rows.shape[1] != 6 or not np.isfinite(rows).all():
        return False
    return bool(rows[:, 3:].min() >= 0 and rows[:, 3:].max() <= 255)


def _read_lines(path: Path) -> tuple[Array, int]:
    """`read_annotation` for a file with a defect. Slower, but can repair lines."""
    values, repaired = array("d"), 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not (text := line.strip()):
                continue
            if (numbers := _numbers(text)) is None:
                numbers = next(filter(None, map(_numbers, _repairs(text))), None)
                repaired += 1
            if numbers is None:
                raise InputError(
                    f"line {number} must have six numbers, x y z and r g b from 0 to 255, "
                    f"and is {str(text[:60])[1:]}",
                    file=path,
                    kind=Kind.VALUE,
                    remedy=f"{_AGAIN}, or correct the line.",
                )
            values.extend(numbers)
    return np.array(values).reshape(-1, 6), repaired


def _numbers(text: bytes) -> list[float] | None:
    """The six numbers of a line, if it is six numbers and the last three are a colour."""
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        return None
    if len(numbers) != 6 or not all(map(math.isfinite, numbers)) or b"_" in text:
        return None  # float() reads 1_0 as 10
    return numbers if min(numbers[3:]) >= 0 and max(numbers[3:]) <= 255 else None


def _repairs(text: bytes) -> Iterator[bytes]:
    """Possible corrections of a line with stray characters, the most likely first.

    The known stray characters lost a bit: `167.\\x1000000` had a 0, `-9.1\\x160` had a 6, and
    `185\\x00187` had a space. So the first correction sets the bit again. If the result is not six
    numbers, the next ones replace the character by a space, and then remove it.
    """
    if _STRAY.search(text):
        yield _STRAY.sub(lambda stray: bytes([stray[0][0] | 0x20]), text)
        yield _STRAY.sub(b" ", text)
        yield _STRAY.sub(b"", text)


def _areas(raw: Path) -> list[Path]:
    """The folders of the areas, in the order of their numbers."""
    remedy = f"Name {FOLDER} or its parent with --raw."
    if not raw.is_dir():
        raise InputError("no such folder", file=raw, kind=Kind.MISSING, remedy=remedy)
    for folder in (raw, raw / FOLDER):
        areas = [path for path in folder.glob("Area_*") if _area_number(path) and path.is_dir()]
        if areas:
            return sorted(areas, key=_area_number)
    raise InputError(
        "contains no folders Area_1 to Area_6", file=raw, kind=Kind.EMPTY, remedy=remedy
    )


def _area_number(area: Path) -> int:
    """The number in the name of an area, 0 for another name."""
    match = re.fullmatch(r"Area_([1-9][0-9]*)", area.name)
    return int(match[1]) if match else 0


def _rooms(area: Path) -> list[Path]:
    return sorted((p for p in area.iterdir() if p.is_dir() and p.name[0] != "."), key=_natural)


def _annotations(room: Path) -> list[Path]:
    """The text files of a room's objects, sorted. Skips hidden files, which macOS creates."""
    paths = (room / "Annotations").glob("*.txt")
    return sorted((p for p in paths if p.is_file() and p.name[0] != "."), key=_natural)


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Sorts office_2 before office_10."""
    parts = enumerate(re.split(r"([0-9]+)", path.name))
    return [int(part) if i % 2 else part for i, part in parts], path.name


def _scene_id(room: Path) -> str:
    return f"{room.parent.name}_{room.name}"
