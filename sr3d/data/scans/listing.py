"""Which files are scans: those named, and those in the folders named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from sr3d.errors import InputError

KINDS = (
    ".ply", ".pcd", ".npy", ".npz", ".bin", ".obj", ".gltf", ".glb", ".las", ".laz", ".png",
)  # fmt: skip
BOXES_MARK = "boxes of sr3d detect"  # a comment in the meshes of boxes that we write
_DEPTH_MODES = ("I;16", "I;16B", "I")


def find_scans(places: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Each scan with its name: relative to the folder that it was found in, else the bare name.

    Of a folder, PNG files count where they have 16 bits a pixel, and meshes of boxes, which an
    earlier run wrote there, do not.

    Raises:
        InputError: a place that is absent, a folder without a scan, or two scans of one name.
    """
    found: dict[Path, Path] = {}
    for place in places:
        if place.is_dir():
            inside = [path for path in sorted(place.rglob("*")) if _is_scan(path)]
            if not inside:
                raise InputError(f"{place}: has no scan in it; pass files {', '.join(KINDS)}")
            named = [(path, path.relative_to(place)) for path in inside]
        elif place.is_file():
            named = [(place, Path(place.name))]
        else:
            raise InputError(f"{place}: no such file; pass a scan, or a folder of scans")
        for path, name in named:
            if found.setdefault(name, path).resolve() != path.resolve():
                raise InputError(
                    f"{path}: has the name of {found[name]}, so their results would too; "
                    "give them one at a time, each with its own --out"
                )
    return [(path, name) for name, path in found.items()]


def _is_scan(path: Path) -> bool:
    kind = path.suffix.lower()
    if kind not in KINDS or not path.is_file() or path.name.startswith("."):
        return False
    if kind in (".ply", ".obj"):
        with path.open("rb") as file:
            return BOXES_MARK.encode() not in file.read(200)
    return kind != ".png" or is_depth_image(path)


def is_depth_image(path: Path) -> bool:
    """Whether it has 16 bits a pixel, by its header alone."""
    try:
        with Image.open(path) as image:
            return image.mode in _DEPTH_MODES
    except (OSError, UnidentifiedImageError):
        return False
