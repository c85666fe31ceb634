"""What a ScanNet server may send that is not the file that was asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sr3d.data.download.scannet_checks import check_scan_file
from sr3d.data.scannet_files import LABEL_MAP, SPLITS, SUFFIXES
from sr3d.errors import Kind
from tests.data.download import server as www
from tests.data.download.files import tree, write
from tests.data.download.scans import (
    OBJECTS,
    PLY,
    SEGMENTS,
    TEXT,
    TRAIN,
    VAL,
    contents,
    download,
    local,
    mesh,
    remote,
    text_mesh,
)
from tests.data.download.server import Server
from tests.refusals import refuses

# The kind of file, its content, and what the error mentions.
BAD: dict[str, tuple[str, bytes, *tuple[str, ...]]] = {
    "not a mesh": (PLY, b"solid cube", "PLY"),
    "empty": (PLY, b"", "PLY"),
    "no end of the header": (PLY, mesh()[:60], "PLY"),
    "cut mesh": (PLY, mesh()[:-1], "89 bytes", "90"),
    "cut text mesh": (PLY, text_mesh()[:-8], "5 lines", "6"),
    "unknown type": (PLY, mesh().replace(b"uchar red", b"colour red"), "header"),
    "no number": (PLY, mesh().replace(b"vertex 4", b"vertex four"), "header"),
    "cut line": (PLY, mesh().replace(b"vertex 4", b"vertex"), "header"),
    "no element": (PLY, mesh().replace(b"element vertex 4\n", b""), "header"),
    "no vertices": (PLY, mesh(0), "vertices", "faces"),
    "negative": (PLY, mesh().replace(b"face 2", b"face -9"), "vertices", "faces"),
    "cut JSON": (SEGMENTS, b'{"segIndices": [1, 2', "JSON", "segIndices"),
    "no text": (SEGMENTS, b'{"segIndices": "\xff"}', "JSON", "segIndices"),
    "other JSON": (SEGMENTS, b'{"segGroups": []}', "JSON", "segIndices"),
    "a list": (OBJECTS, b"[]", "JSON", "segGroups"),
    "no list": (OBJECTS, b'{"segGroups": 3}', "segGroups"),
    "other scan": (
        OBJECTS,
        b'{"sceneId": "scannet.scene0706_00", "segGroups": []}',
        "scannet.scene0706_00",
    ),
    "no alignment": (TEXT, b"sceneType = Office\n", "axisAlignment"),
    "cut alignment": (TEXT, b"axisAlignment = 1 0 0 0 0 1", "axisAlignment", "16"),
    "no numbers": (TEXT, b"axisAlignment = " + b"x " * 16, "axisAlignment", "16"),
}


@pytest.mark.parametrize("case", BAD)
def test_content_that_is_none(out: Path, case: str) -> None:
    suffix, content, *named = BAD[case]
    write(out, {"part": content})
    with refuses(Kind.UNREADABLE, mentions=named):
        check_scan_file(out / "part", out / local(VAL[0], suffix))
    write(out, {"part": contents(VAL[0])[suffix]})
    check_scan_file(out / "part", out / local(VAL[0], suffix))


@pytest.mark.parametrize(
    ("suffix", "action", "named"),
    [
        (PLY, www.status(404), "404"),
        (SEGMENTS, www.page, "web page"),
        (PLY, www.body(mesh()[:-1]), "89 bytes"),
        (TEXT, www.body(b""), "axisAlignment"),
    ],
)
def test_one_bad_scan_does_not_stop_the_others(
    server: Server,
    scans: dict[str, bytes],
    out: Path,
    suffix: str,
    action: www.Action,
    named: str,
) -> None:
    bad = TRAIN[1]
    server.script[remote(bad, suffix)] = [action]
    with refuses(Kind.MISSING, file=out, mentions=["1 scans", f"({bad})"]) as error:
        download(server, out)
    assert str(out / "missing.txt") in str(error.value.remedy)
    late = SUFFIXES[SUFFIXES.index(suffix) :]
    lines = dict(
        line.split("\t", 1) for line in (out / "missing.txt").read_text().strip().split("\n")
    )
    assert set(lines) == {local(bad, s) for s in late}
    assert named in lines[local(bad, suffix)]
    for other in late[1:]:
        assert f"{bad}{suffix}" in lines[local(bad, other)]
    expected = {name: content for name, content in scans.items() if name not in lines}
    there = tree(out)
    del there["missing.txt"]
    assert there == expected

    server.requests.clear()
    assert download(server, out).fetched == len(late)
    assert sorted(server.paths) == sorted(remote(bad, s) for s in late)
    assert tree(out) == scans  # and no missing.txt


def test_a_text_mesh_is_a_mesh(out: Path) -> None:
    write(out, {"whole": text_mesh(), "without its last line end": text_mesh()[:-1]})
    for path in out.iterdir():
        check_scan_file(path, out / local(VAL[0], PLY))


def test_mesh_and_segments_of_unequal_size_are_both_deleted(
    server: Server, scans: dict[str, bytes], out: Path
) -> None:
    write(server.folder, {remote(VAL[0], PLY): mesh(5)})
    with refuses(Kind.MISSING, file="set"):
        download(server, out)
    lines = (out / "missing.txt").read_text()
    assert re.search(r"4 vertices .*scene0001_00_vh_clean_2\.ply.* 5\b", lines)
    assert not (out / local(VAL[0], PLY)).exists()
    assert not (out / local(VAL[0], SEGMENTS)).exists()
    write(server.folder, {remote(VAL[0], PLY): mesh()})
    download(server, out)
    assert tree(out) == scans


@pytest.mark.parametrize("segments", [b"{}", b'{"segIndices": [1]}'])
def test_a_mesh_is_compared_with_segments_that_were_there(
    server: Server, scans: dict[str, bytes], out: Path, segments: bytes
) -> None:
    old = out / local(VAL[0], SEGMENTS)
    old.parent.mkdir(parents=True)
    old.write_bytes(segments)
    with refuses(Kind.MISSING, file="set"):
        download(server, out)
    assert not old.exists()
    download(server, out)
    assert tree(out) == scans


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        (f"scannet/v2/tasks/{LABEL_MAP}", b"id\tname\n1\tchair\n", ["ScanNet"]),
        (f"scannet/v2/tasks/{LABEL_MAP}", b"raw_category\tnyu40id\n", ["ScanNet"]),
        (f"lists/{SPLITS['val']}", b"scene0001_00\nscene0005_00\n", ["1 scans", " 2"]),
        (f"lists/{SPLITS['train']}", b"scene0000_00\n", ["3 scans", " 1"]),
    ],
)
def test_wrong_tables_are_refused(
    server: Server,
    scans: dict[str, bytes],
    out: Path,
    name: str,
    content: bytes,
    named: list[str],
) -> None:
    write(server.folder, {name: content})
    with refuses(Kind.UNREADABLE, file=name, mentions=named):
        download(server, out)
    assert not (out / Path(name).name).exists()
    assert not any(path.startswith("scannet/v2/scans") for path in server.paths)


@pytest.mark.parametrize("change", [lambda b: b.rstrip(), lambda b: b.replace(b"\n", b"\r\n")])
def test_a_list_may_differ_in_white_space(
    server: Server, scans: dict[str, bytes], out: Path, change: Any
) -> None:
    write(server.folder, {f"lists/{SPLITS['train']}": change(scans[SPLITS["train"]])})
    assert download(server, out).fetched == 19
