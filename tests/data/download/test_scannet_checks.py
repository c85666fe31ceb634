"""What a ScanNet server may send that is not the file that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sr3d.data.download.scannet_checks import check_file
from sr3d.data.scannet_files import LABEL_MAP, SPLITS, SUFFIXES
from sr3d.errors import InputError, Kind
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

BAD: dict[str, tuple[str, bytes, str]] = {
    "not a mesh": (PLY, b"solid cube", "it is not a PLY mesh"),
    "empty": (PLY, b"", "it is not a PLY mesh"),
    "no end of the header": (PLY, mesh()[:60], "it is not a PLY mesh"),
    "cut mesh": (PLY, mesh()[:-1], "the mesh is cut: 89 bytes of 90 are there"),
    "cut text mesh": (PLY, text_mesh()[:-8], "the mesh is cut: 5 lines of 6 are there"),
    "unknown type": (PLY, mesh().replace(b"uchar red", b"colour red"), "header .* is damaged"),
    "no number": (PLY, mesh().replace(b"vertex 4", b"vertex four"), "header .* is damaged"),
    "cut line": (PLY, mesh().replace(b"vertex 4", b"vertex"), "header .* is damaged"),
    "no element": (PLY, mesh().replace(b"element vertex 4\n", b""), "header .* is damaged"),
    "no vertices": (PLY, mesh(0), "the mesh has no vertices or no faces"),
    "negative": (PLY, mesh().replace(b"face 2", b"face -9"), "no vertices or no faces"),
    "cut JSON": (SEGMENTS, b'{"segIndices": [1, 2', "it is not JSON with a list segIndices"),
    "no text": (SEGMENTS, b'{"segIndices": "\xff"}', "it is not JSON with a list segIndices"),
    "other JSON": (SEGMENTS, b'{"segGroups": []}', "it is not JSON with a list segIndices"),
    "a list": (OBJECTS, b"[]", "it is not JSON with a list segGroups"),
    "no list": (OBJECTS, b'{"segGroups": 3}', "its segGroups is not a list"),
    "other scan": (
        OBJECTS,
        b'{"sceneId": "scannet.scene0706_00", "segGroups": []}',
        "it is about the scan scannet.scene0706_00",
    ),
    "no alignment": (TEXT, b"sceneType = Office\n", "it has no line axisAlignment"),
    "cut alignment": (TEXT, b"axisAlignment = 1 0 0 0 0 1", "with 16 numbers"),
    "no numbers": (TEXT, b"axisAlignment = " + b"x " * 16, "with 16 numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_content_that_is_none(out: Path, case: str) -> None:
    suffix, content, reason = BAD[case]
    write(out, {"part": content})
    with pytest.raises(InputError, match=reason):
        check_file(out / "part", out / local(VAL[0], suffix))
    write(out, {"part": contents(VAL[0])[suffix]})
    check_file(out / "part", out / local(VAL[0], suffix))


@pytest.mark.parametrize(
    ("suffix", "action", "reason"),
    [
        (PLY, www.status(404), "has no such file (status 404)"),
        (SEGMENTS, www.page, "the server sent a web page"),
        (PLY, www.body(mesh()[:-1]), "the mesh is cut"),
        (TEXT, www.body(b""), "it has no line axisAlignment"),
    ],
)
def test_one_bad_scan_does_not_stop_the_others(
    server: Server,
    scans: dict[str, bytes],
    out: Path,
    suffix: str,
    action: www.Action,
    reason: str,
) -> None:
    bad = TRAIN[1]
    server.script[remote(bad, suffix)] = [action]
    with pytest.raises(InputError) as error:
        download(server, out)
    assert str(error.value) == (
        f"{out}: 1 scans lack files ({bad}); {out / 'missing.txt'} says which and why, and the "
        "same command goes on from here"
    )
    late = SUFFIXES[SUFFIXES.index(suffix) :]
    lines = dict(
        line.split("\t", 1) for line in (out / "missing.txt").read_text().strip().split("\n")
    )
    assert set(lines) == {local(bad, s) for s in late}
    assert reason in lines[local(bad, suffix)]
    for other in late[1:]:
        assert lines[local(bad, other)] == f"not fetched after {bad}{suffix} failed"
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
        check_file(path, out / local(VAL[0], PLY))


def test_mesh_and_segments_of_unequal_size_are_both_deleted(
    server: Server, scans: dict[str, bytes], out: Path
) -> None:
    write(server.folder, {remote(VAL[0], PLY): mesh(5)})
    with refuses(Kind.MISSING, file="set"):
        download(server, out)
    lines = (out / "missing.txt").read_text()
    assert "it is about 4 vertices but scene0001_00_vh_clean_2.ply, deleted too, about 5" in lines
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
    ("name", "content", "reason"),
    [
        (f"scannet/v2/tasks/{LABEL_MAP}", b"id\tname\n1\tchair\n", "not ScanNet's table of labels"),
        (f"scannet/v2/tasks/{LABEL_MAP}", b"raw_category\tnyu40id\n", "not ScanNet's table"),
        (f"lists/{SPLITS['val']}", b"scene0001_00\nscene0005_00\n", r"list of 1 scans \(it has 2"),
        (f"lists/{SPLITS['train']}", b"scene0000_00\n", r"list of 3 scans \(it has 1"),
    ],
)
def test_wrong_tables_are_refused(
    server: Server,
    scans: dict[str, bytes],
    out: Path,
    name: str,
    content: bytes,
    reason: str,
) -> None:
    write(server.folder, {name: content})
    with pytest.raises(InputError, match=reason):
        download(server, out)
    assert not (out / Path(name).name).exists()
    assert not any(path.startswith("scannet/v2/scans") for path in server.paths)


@pytest.mark.parametrize("change", [lambda b: b.rstrip(), lambda b: b.replace(b"\n", b"\r\n")])
def test_a_list_may_differ_in_white_space(
    server: Server, scans: dict[str, bytes], out: Path, change: Any
) -> None:
    write(server.folder, {f"lists/{SPLITS['train']}": change(scans[SPLITS["train"]])})
    assert download(server, out).fetched == 19
