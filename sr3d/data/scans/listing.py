"""Which files are scans: those named, and those in the folders named."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from sr3d.data.scans.companions import role
from sr3d.data.scans.signatures import UNREAD
from sr3d.data.scans.text import TEXT_KINDS, is_text_scan
from sr3d.errors import InputError, Kind

KINDS = (
    ".ply", ".pcd", ".npy", ".npz", ".bin", ".obj", ".gltf", ".glb", ".las", ".laz", ".png",
    *TEXT_KINDS,
)  # fmt: skip
BOXES_MARK = "boxes of sr3d detect"  # a comment in the meshes of boxes that we write
_DEPTH_MODES = ("I;16", "I;16B", "I")
# A prepared data set, whole or not yet, which may lie beside the scans that it was made from.
_PREPARED = (("manifest.json", "points"), (".preparation.jsonl", "points"))

_log = logging.getLogger(__name__)


def find_scans(places: Sequence[Path], without: Path | None = None) -> list[tuple[Path, Path]]:
    """Each scan with its name: relative to the folder that it was found in, else the bare name.

    Of a folder, PNG files count if they have 16 bits a pixel, and text files if they hold rows of
    numbers. Left out are hidden files, prepared data sets, meshes of boxes that an earlier run
    wrote, and arrays that belong to the points of another file, see `role`. A log line says how
    many of those there were.

    without: a folder of outputs, which are no inputs, if it lies inside one of the places.

    Raises:
        InputError: a place that is absent, a folder without a scan, or two scans of one name.
    """
    found: dict[Path, Path] = {}
    for place in places:
        if place.is_dir():
            named = [(path, path.relative_to(place)) for path in _inside(place, without)]
        elif place.is_file():
            named = [(place, Path(place.name))]
        else:
            raise InputError(
                "no such file",
                file=place,
                kind=Kind.MISSING,
                remedy="Pass a scan, or a folder of scans.",
            )
        for path, name in named:
            if found.setdefault(name, path).resolve() != path.resolve():
                raise InputError(
                    f"has the same name as {found[name]}, so one result would replace the other",
                    file=path,
                    kind=Kind.CONFLICT,
                    remedy="Pass the scans one at a time, each with its own --out.",
                )
    return [(path, name) for name, path in found.items()]


def _inside(place: Path, without: Path | None) -> list[Path]:
    """The scans of a folder, in order."""
    scans, others = list[Path](), list[str]()
    for path in sorted(_files(place, without)):
        if path.suffix.lower() not in KINDS or not path.is_file():
            continue
        if (belongs := role(path)) is not None:
            others.append(f"{path.relative_to(place)} ({belongs})")
        elif _is_scan(path):
            scans.append(path)
    said = f"{len(others)} files are no scans: {', '.join(others[:3])}" + ", …" * (len(others) > 3)
    if not scans:
        problem = f"has no scan in it{f' ({said})' * bool(others)}"
        raise InputError(problem, file=place, kind=Kind.EMPTY, remedy=_remedy(place))
    if others:
        _log.info("%s: %s", place, said)
    return scans


def _files(place: Path, without: Path | None) -> Iterator[Path]:
    """All files below a folder, but for hidden ones, prepared sets and the folder `without`."""
    left_out = without.resolve() if without is not None else None
    for name, folders, files in os.walk(place):
        folder = Path(name)
        if folder != place and (folder.resolve() == left_out or _is_prepared(folder)):
            folders.clear()
            continue
        folders[:] = [each for each in folders if not each.startswith((".", "__MACOSX"))]
        yield from (folder / each for each in files if not each.startswith("."))


def _is_prepared(folder: Path) -> bool:
    return any(all((folder / name).exists() for name in names) for names in _PREPARED)


def _is_scan(path: Path) -> bool:
    kind = path.suffix.lower()
    if kind in (".ply", ".obj"):
        with path.open("rb") as file:
            return BOXES_MARK.encode() not in file.read(200)
    if kind in TEXT_KINDS:
        return is_text_scan(path)
    return kind != ".png" or is_depth_image(path)


def _remedy(place: Path) -> str:
    """What a folder without a scan has instead, and what to do with it."""
    kinds = Counter(
        path.suffix.lower() for path in _files(place, None) if path.suffix.lower() in UNREAD
    )
    if not kinds:
        return f"Pass files {', '.join(KINDS)}."
    kind, count = kinds.most_common(1)[0]
    return f"It has {count} '{kind}' files, which are not read: {UNREAD[kind]}."


def is_depth_image(path: Path) -> bool:
    """Whether it has 16 bits a pixel, by its header alone."""
    try:
        with Image.open(path) as image:
            return image.mode in _DEPTH_MODES
    except (OSError, UnidentifiedImageError):
        return False
