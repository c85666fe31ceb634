"""Files that are not what their name says: Git LFS pointers, web pages, archives, other formats."""

from __future__ import annotations

import re
from pathlib import Path

from sr3d.errors import InputError

_LFS = b"version https://git-lfs.github.com/spec/"
_ANNEX = re.compile(rb"^/?(\.\./)*(\.git/)?annex/objects/")
_SAVE = "save it as .ply, for example with CloudCompare"

# What the first bytes of a file say, and the kinds of file that may begin so.
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
"""Kinds of file that hold scans and are not read here, with the way to one that is."""


def check_signature(path: Path) -> None:
    """Refuse a file whose first bytes show that it is not what its name says.

    Raises:
        InputError: names what it is instead, and how to get the scan.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise InputError(f"{path}: is empty; copy or export it again")
    if head.startswith(_LFS):
        size = re.search(rb"^size (\d+)", head, re.MULTILINE)
        whole = f" of the file's {int(size[1]):,} bytes" if size else ""
        raise InputError(
            f"{path}: is a Git LFS pointer{whole}, not the scan itself; run `git lfs pull` in its "
            "repository"
        )
    if _ANNEX.match(head):
        raise InputError(
            f"{path}: is a git-annex pointer, not the scan itself; run `git annex get` on it"
        )
    kind, start = path.suffix.lower(), head.lstrip().lower()
    if path.name.lower() == "points3d.bin" or (kind == ".txt" and b"POINT3D_ID" in head):
        raise InputError(
            f"{path}: is a sparse model of COLMAP, not a scan; reconstruct a dense cloud "
            "(fused.ply) or convert this one with `colmap model_converter --output_type PLY`, and "
            "scale it to metres"
        )
    if start.startswith((b"<!doctype html", b"<html")):
        raise InputError(
            f"{path}: is a web page, not a scan; open it in a browser to see what the server "
            "answered, for example a login, and download the scan from there"
        )
    if head.startswith(b"\x1f\x8b"):
        raise InputError(f"{path}: is compressed with gzip; unpack it with gunzip")
    for beginning, other, kinds in _BEGINNINGS:
        if head.startswith(beginning) and kind not in kinds:
            raise InputError(
                f"{path}: its content is that of a {other} file; rename it to "
                f"{path.with_suffix(other).name}"
            )
