"""Finds the scans in a folder, by their names, their first bytes and their folders."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from sr3d.data.scans.companions import role
from sr3d.data.scans.text import TEXT_KINDS, is_text_scan
from sr3d.errors import InputError, Kind

_LFS = b"version https://git-lfs.github.com/spec/"
_ANNEX = re.compile(rb"^/?(\.\./)*(\.git/)?annex/objects/")
_SAVE = "save it as .ply, for example with CloudCompare"

# The first bytes of a file, its format, and the suffixes that may begin with them.
_BEGINNINGS: tuple[tuple[bytes, str, tuple[str, ...]], ...] = (
    (b"\x93NUMPY", ".npy", (".npy",)),
    (b"PK\x03\x04", ".npz", (".npz",)),
    (b"LASF", ".las", (".las", ".laz")),
    (b"glTF", ".glb", (".glb",)),
    (b"\x89PNG", ".png", (".png",)),
    (b"ply\n", ".ply", (".ply",)),
    (b"ply\r", ".ply", (".ply",)),
    (b"# .PCD", ".pcd", (".pcd",)),
    (b"VERSION 0.7", ".pcd", (".pcd",)),
    (b"VERSION .7", ".pcd", (".pcd",)),
)

UNREAD = {
    ".e57": _SAVE,
    ".ptx": _SAVE,
    ".drc": "decompress it with Draco's draco_decoder to .ply",
    ".splat": "export it as .ply, for example with SuperSplat",
    ".ksplat": "export it as .ply, for example with SuperSplat",
    ".spz": "export it as .ply, for example with SuperSplat",
    ".usdz": "export the scan as .ply, .obj or .glb from the app that made it",
    ".usd": "export the scan as .ply, .obj or .glb",
    ".usdc": "export the scan as .ply, .obj or .glb",
    ".fbx": "export the scan as .glb or .obj, for example with Blender",
    ".dae": "export the scan as .glb or .obj, for example with Blender",
    ".blend": "export the scan as .glb or .ply from Blender",
    ".stl": "save it as .ply or .obj, for example with MeshLab",
    ".off": "save it as .ply or .obj, for example with MeshLab",
    ".3ds": "save it as .ply or .obj, for example with MeshLab",
    ".vtk": "save it as .ply, for example with ParaView",
    ".vtp": "save it as .ply, for example with ParaView",
    ".rcp": "save it as .ply or .las with Autodesk ReCap",
    ".rcs": "save it as .ply or .las with Autodesk ReCap",
    ".bag": "export the cloud as .ply or .pcd",
    ".mat": "save the points as .npy or .txt",
    ".h5": "save the points as .npy",
    ".hdf5": "save the points as .npy",
    ".pth": "save the points as .npy",
    ".pt": "save the points as .npy",
    ".pkl": "save the points as .npy",
    ".zip": "unpack it and pass the scan inside",
    ".gz": "unpack it and pass the scan inside",
    ".7z": "unpack it and pass the scan inside",
    ".tar": "unpack it and pass the scan inside",
}
"""Suffixes of scans that are not supported, with the remedy for each."""

KINDS = (
    ".ply", ".pcd", ".npy", ".npz", ".bin", ".obj", ".gltf", ".glb", ".las", ".laz", ".png",
    *TEXT_KINDS,
)  # fmt: skip
BOXES_MARK = "boxes of sr3d detect"  # a comment in the meshes of boxes that we write
_DEPTH_MODES = ("I;16", "I;16B", "I")
# Files of a prepared data set, complete or not. A prepared set may be beside its own scans.
_PREPARED = (("manifest.json", "points"), (".preparation.jsonl", "points"))

_log = logging.getLogger(__name__)


def check_signature(path: Path) -> None:
    """Refuse a file whose first bytes contradict its suffix.

    Raises:
        InputError: names the actual kind of file, and how to get the scan.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise InputError("is empty", file=path, kind=Kind.EMPTY, remedy="Copy or export it again.")
    if head.startswith(_LFS):
        size = re.search(rb"^size (\d+)", head, re.MULTILINE)
        whole = f" of the file's {int(size[1]):,} bytes" if size else ""
        raise InputError(
            f"is a Git LFS pointer{whole}, not the scan itself",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Run `git lfs pull` in its repository.",
        )
    if _ANNEX.match(head):
        raise InputError(
            "is a git-annex pointer, not the scan itself",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Run `git annex get` on it.",
        )
    kind, start = path.suffix.lower(), head.lstrip().lower()
    if path.name.lower() == "points3d.bin" or (kind == ".txt" and b"POINT3D_ID" in head):
        raise InputError(
            "is a sparse model of COLMAP, not a scan",
            file=path,
            kind=Kind.CONFLICT,
            remedy="Reconstruct a dense cloud (fused.ply), or convert this model with `colmap "
            "model_converter --output_type PLY`. Scale it to metres.",
        )
    if start.startswith((b"<!doctype html", b"<html")):
        raise InputError(
            "is a web page, not a scan",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Open it in a browser to see what the server answered, for example a login. "
            "Download the scan from there.",
        )
    if head.startswith(b"\x1f\x8b"):
        raise InputError(
            "is compressed with gzip",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Unpack it with gunzip.",
        )
    for beginning, other, kinds in _BEGINNINGS:
        if head.startswith(beginning) and kind not in kinds:
            raise InputError(
                f"its content is that of a {other} file",
                file=path,
                kind=Kind.CONFLICT,
                remedy=f"Rename it to {path.with_suffix(other).name}.",
            )


def check_kind(path: Path) -> None:
    """Refuse a file that is not a scan by its suffix or its first bytes.

    Raises:
        InputError: names the format, and how to convert it to a scan.
    """
    kind = path.suffix.lower()
    if kind in UNREAD:
        remedy = f"{UNREAD[kind][:1].upper()}{UNREAD[kind][1:]}."
        raise InputError(
            f"'{kind}' files are not supported", file=path, kind=Kind.UNREADABLE, remedy=remedy
        )
    if kind not in KINDS:
        raise InputError(
            f"'{kind}' is not a format of scans",
            file=path,
            kind=Kind.UNREADABLE,
            remedy=f"Pass {', '.join(KINDS)}.",
        )
    check_signature(path)


def find_scans(places: Sequence[Path], without: Path | None = None) -> list[tuple[Path, Path]]:
    """Each scan with its name: the path relative to the given folder, or the name of a given file.

    In a folder, PNG files count if they have 16 bits per pixel, and text files if they hold rows of
    numbers. Skipped are hidden files, prepared data sets, meshes of boxes from earlier runs, and
    arrays that belong to the points of another file (see `role`). A log line counts them.

    without: a folder of outputs inside one of the places, which is left out.

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
    skipped = f"{len(others)} files are no scans: {', '.join(others[:3])}" + ", …" * (
        len(others) > 3
    )
    if not scans:
        problem = f"contains no scan{f' ({skipped})' * bool(others)}"
        raise InputError(problem, file=place, kind=Kind.EMPTY, remedy=_remedy(place))
    if others:
        _log.info("%s: %s", place, skipped)
    return scans


def _files(place: Path, without: Path | None) -> Iterator[Path]:
    """All files below a folder except hidden files, prepared sets and the folder `without`."""
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
    """The remedy for a folder without a scan."""
    kinds = Counter(
        path.suffix.lower() for path in _files(place, None) if path.suffix.lower() in UNREAD
    )
    if not kinds:
        return f"Pass files {', '.join(KINDS)}."
    kind, count = kinds.most_common(1)[0]
    return f"It has {count} '{kind}' files, which are not supported: {UNREAD[kind]}."


def is_depth_image(path: Path) -> bool:
    """Whether a PNG has 16 bits per pixel, by its header alone."""
    try:
        with Image.open(path) as image:
            return image.mode in _DEPTH_MODES
    except (OSError, UnidentifiedImageError):
        return False
