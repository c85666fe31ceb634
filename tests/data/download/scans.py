"""Four tiny scans on a local server, in the layout of ScanNet's publishers."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from sr3d.data.download import scannet
from sr3d.data.download.fetch import Download
from sr3d.data.download.scannet import download_scannet
from sr3d.data.scannet_files import LABEL_MAP, SPLITS, SUFFIXES
from tests.data.download.files import write
from tests.data.download.server import Server

TRAIN, VAL = ["scene0000_00", "scene0000_01", "scene0002_00"], ["scene0001_00"]
PLY, SEGMENTS, OBJECTS, TEXT = SUFFIXES
SCENES = TRAIN + VAL
HEADER = """ply
format {format} 1.0
comment a test
element vertex {vertices}
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
property uchar alpha
element face 2
property list uchar int vertex_indices
end_header
"""


def mesh(vertices: int = 4) -> bytes:
    header = HEADER.format(format="binary_little_endian", vertices=vertices).encode()
    faces = struct.pack("<B3i", 3, 0, 1, 2) * 2
    return header + struct.pack("<3f4B", 1, 2, 3, 10, 13, 10, 255) * vertices + faces


def text_mesh(vertices: int = 4) -> bytes:
    lines = ["1 2 3 10 20 30 255\n"] * vertices + ["3 0 1 2\n"] * 2
    return (HEADER.format(format="ascii", vertices=vertices) + "".join(lines)).encode()


def contents(scene: str) -> dict[str, bytes]:
    groups = [{"id": 0, "objectId": 0, "segments": [7], "label": "chair"}]
    return {
        PLY: mesh(),
        SEGMENTS: json.dumps({"sceneId": scene, "segIndices": [7, 7, 8, 8]}).encode(),
        OBJECTS: json.dumps({"sceneId": f"scannet.{scene}", "segGroups": groups}).encode(),
        TEXT: b"axisAlignment = 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1\nsceneType = Office\n",
    }


def remote(scene: str, suffix: str) -> str:
    return f"scannet/v2/scans/{scene}/{scene}{suffix}"


def local(scene: str, suffix: str) -> str:
    return f"scans/{scene}/{scene}{suffix}"


def publish_scans(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Put four scans on the server; the files of a complete download."""
    ids = {SPLITS["train"]: TRAIN, SPLITS["val"]: VAL}
    labels = b"id\traw_category\tnyu40id\n0\tchair\t5\n"
    lists = {name: "".join(f"{i}\n" for i in ids[name]).encode() for name in ids}
    scans = {(scene, s): content for scene in SCENES for s, content in contents(scene).items()}
    write(
        server.folder,
        {f"scannet/v2/tasks/{LABEL_MAP}": labels}
        | {f"lists/{name}": content for name, content in lists.items()}
        | {remote(*key): content for key, content in scans.items()},
    )
    digests = {n: (len(ids[n]), hashlib.sha256(lists[n]).hexdigest()) for n in ids}
    monkeypatch.setattr(scannet, "LISTS", digests)
    return {LABEL_MAP: labels, **lists, **{local(*key): c for key, c in scans.items()}}


def download(server: Server, out: Path, **kwargs: Any) -> Download:
    kwargs = {"accept_terms": True, **kwargs}
    # One address with and one without its last slash.
    return download_scannet(
        out, url=server.url + "scannet", lists_url=server.url + "lists/", **kwargs
    )
