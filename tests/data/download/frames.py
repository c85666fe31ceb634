"""Two tiny frames of SUN RGB-D and the archives that hold them, on a local server."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from sr3d.data.download import sunrgbd
from sr3d.data.download.sunrgbd import RECORD, TABLES
from tests.data.download.files import tree, write
from tests.data.download.server import Server

MATLAB = b"MATLAB 5.0 MAT-file, made by a test"
FRAMES = ("kv1/NYUdata/NYU0001", "xtion/sun3ddata/home/home_1/0001")
TOOLBOX = {
    "traintestSUNRGBD/allsplit.mat": b"splits",
    "Metadata/SUNRGBDMeta.mat": b"v1 boxes",
}


def frame_files(frame: str) -> dict[str, bytes]:
    return {
        f"{frame}/depth/{Path(frame).name}_abs.png": b"depth of " + frame.encode(),
        f"{frame}/image/0001.jpg": b"image of " + frame.encode(),
        f"{frame}/intrinsics.txt": b"1 0 0 0 1 0 0 0 1",
        f"{frame}/extrinsics/20140808.txt": b"1 0 0 0 0 1 0 0 0 0 1 0",
        f"{frame}/extrinsics/20140809.txt": b"",
    }


UNWANTED = [
    "depth_bfx/0001.png", "fullres/0001.jpg", "annotation3Dfinal/index.json", "scene.txt",
    "image/0001.png", "depth/0001.mat", "seg.mat", "image/._0001.jpg",
]  # fmt: skip
FILES = {name: content for frame in FRAMES for name, content in frame_files(frame).items()}
EXPECTED = {
    **{f"SUNRGBD/{name}": content for name, content in FILES.items()},
    **{f"SUNRGBDtoolbox/{name}": content for name, content in TOOLBOX.items()},
    **dict.fromkeys(TABLES, MATLAB),
}


def pack(files: dict[str, bytes], prefix: str = "", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as out:
        for name, content in files.items():
            # Dated, lest two calls differ in the time of day.
            out.writestr(zipfile.ZipInfo(prefix + name), content, method)
    return packed.getvalue()


stored = partial(pack, method=zipfile.ZIP_STORED)


def frames_zip(prefix: str = "SUNRGBD/") -> bytes:
    more = {f"{frame}/{name}": b"unwanted" for frame in FRAMES for name in UNWANTED}
    return pack({"kv1/": b"", **more, **FILES}, prefix)


def toolbox_zip() -> bytes:
    return pack({**TOOLBOX, "readme.m": b"", "Metadata/more.mat": b""}, "SUNRGBDtoolbox/")


def corrupt(packed: bytes, content: bytes) -> bytes:
    """Change a byte of the stored member with this content."""
    assert packed.count(content) == 1
    return packed.replace(content, content[:-1] + bytes([content[-1] ^ 1]), 1)


def publish_frames(server: Server, monkeypatch: pytest.MonkeyPatch, **archives: bytes) -> None:
    contents = {"SUNRGBD": frames_zip(), "SUNRGBDtoolbox": toolbox_zip(), **archives}
    write(server.folder, {f"{name}.zip": content for name, content in contents.items()})
    write(server.folder, dict.fromkeys(TABLES, MATLAB))
    md5 = hashlib.md5(contents["SUNRGBDtoolbox"]).hexdigest()
    toolbox, frames = sunrgbd.ARCHIVES
    monkeypatch.setattr(sunrgbd, "ARCHIVES", (replace(toolbox, md5=md5), frames))


def unpacked(out: Path) -> dict[str, bytes]:
    """What is there, but for the record."""
    return {name: content for name, content in tree(out).items() if name != RECORD}
