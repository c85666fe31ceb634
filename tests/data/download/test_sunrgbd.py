"""SUN RGB-D's download: two tables, and what is needed of two archives."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from sr3d.data.download.fetch import Download
from sr3d.data.download.sunrgbd import BOXES, RECORD, TABLES, download_sunrgbd
from tests.data.download import server as www
from tests.data.download.files import times, tree, write
from tests.data.download.frames import (
    EXPECTED,
    MATLAB,
    frames_zip,
    publish_frames,
    stored,
    unpacked,
)
from tests.data.download.server import Server
from tests.refusals import refuses
from tests.shared_data import shared


@pytest.mark.usefixtures("frames")
def test_fetches_and_unpacks_what_is_needed(server: Server, out: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    done = download_sunrgbd(out, url=server.url, progress=lambda *args: seen.append(args))
    assert unpacked(out) == EXPECTED
    zips = {
        name: (server.folder / name).read_bytes() for name in ("SUNRGBD.zip", "SUNRGBDtoolbox.zip")
    }
    assert done == Download(4, 0, sum(map(len, zips.values())) + 2 * len(MATLAB))
    assert json.loads((out / RECORD).read_text()) == {
        name: {
            "url": server.url + name,
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "members": 10 if name == "SUNRGBD.zip" else 2,
        }
        for name, content in zips.items()
    }
    assert ("SUNRGBD.zip, MB", 1, 1) in seen
    assert seen[-10:] == [("SUNRGBD.zip, files", i, 10) for i in range(1, 11)]


@pytest.mark.usefixtures("frames")
def test_a_complete_folder_is_not_touched(server: Server, out: Path) -> None:
    download_sunrgbd(out, url=server.url)
    server.requests.clear()
    before = times(out.parent)
    assert download_sunrgbd(out, url=server.url) == Download(0, 4, 0)
    assert server.requests == []
    assert times(out.parent) == before


@pytest.mark.usefixtures("frames")
def test_a_folder_made_by_hand_is_taken_as_it_is(server: Server, out: Path) -> None:
    made = {name: c for name, c in EXPECTED.items() if "SUNRGBDMeta.mat" not in name}
    write(out, made)
    done = download_sunrgbd(out, url=server.url)
    assert (done.fetched, done.bytes) == (0, 0)
    assert server.requests == []
    assert tree(out.parent) == {f"{out.name}/{name}": content for name, content in made.items()}


@pytest.mark.usefixtures("frames")
def test_the_official_folder_may_lie_in_the_named_one(server: Server, out: Path) -> None:
    made = {f"OFFICIAL_SUNRGBD/{name}": content for name, content in EXPECTED.items()}
    write(out, made)
    assert download_sunrgbd(out, url=server.url) == Download(0, 4, 0)
    assert server.requests == []


@pytest.mark.parametrize(
    "without", [BOXES, "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat", "SUNRGBD/"]
)
@pytest.mark.usefixtures("frames")
def test_a_folder_that_lacks_something_is_completed(
    server: Server, out: Path, without: str
) -> None:
    there = {name: c for name, c in EXPECTED.items() if not name.startswith(without)}
    write(out, {**there, "SUNRGBD/notes.txt": b"no frame"})
    download_sunrgbd(out, url=server.url)
    assert unpacked(out) == {**EXPECTED, "SUNRGBD/notes.txt": b"no frame"}


@pytest.mark.usefixtures("frames")
def test_archives_may_be_kept(server: Server, out: Path) -> None:
    download_sunrgbd(out, url=server.url, keep_archives=True)
    assert set(unpacked(out)) == {*EXPECTED, "SUNRGBD.zip", "SUNRGBDtoolbox.zip"}


@pytest.mark.usefixtures("frames")
def test_an_archive_that_a_person_brought_is_used_and_stays(server: Server, out: Path) -> None:
    write(out, {"SUNRGBD.zip": frames_zip()})
    done = download_sunrgbd(out, url=server.url)
    assert (done.fetched, done.present) == (3, 1)
    assert "SUNRGBD.zip" not in server.paths
    assert unpacked(out) == {**EXPECTED, "SUNRGBD.zip": frames_zip()}
    record = json.loads((out / RECORD).read_text())["SUNRGBD.zip"]
    assert record["url"] is None
    assert record["members"] == 10


@pytest.mark.usefixtures("frames")
def test_a_cut_archive_is_resumed(server: Server, out: Path) -> None:
    server.script["SUNRGBD.zip"] = [www.cut(1000)]
    download_sunrgbd(out, url=server.url)
    asked = [h.get("Range") for path, h in server.requests if path == "SUNRGBD.zip"]
    assert asked == [None, "bytes=1000-"]
    assert unpacked(out) == EXPECTED


def test_matlab_7_is_matlab_too(server: Server, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_frames(server, monkeypatch)
    (server.folder / BOXES).write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")
    assert download_sunrgbd(out, url=server.url).fetched == 4


@pytest.mark.parametrize("record", ["", "[]", '{"SUNRGBD.zip": {"path": 1}}'])
@pytest.mark.usefixtures("frames")
def test_a_damaged_record_says_nothing(server: Server, out: Path, record: str) -> None:
    download_sunrgbd(out, url=server.url)
    (out / RECORD).write_text(record)
    download_sunrgbd(out, url=server.url)
    assert unpacked(out) == EXPECTED
    assert json.loads((out / RECORD).read_text())["SUNRGBD.zip"]["members"] == 10


@pytest.mark.usefixtures("frames")
def test_space_is_asked_for_before_the_download(
    server: Server, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (server.folder / "SUNRGBD.zip").stat().st_size
    usage = shutil.disk_usage(server.folder)._replace(free=2 * size - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with refuses(mentions=["SUNRGBD.zip"]):
        download_sunrgbd(out, url=server.url)
    assert not (out / "SUNRGBD.zip").exists()


def test_real_frames(server: Server, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shared("real/sunrgbd/OFFICIAL_SUNRGBD")
    files = tree(real / "SUNRGBD")
    more = {n.replace("/depth/", "/depth_bfx/"): b"no" for n in files if "/depth/" in n}
    assert len(more) == 3
    publish_frames(
        server,
        monkeypatch,
        SUNRGBD=stored({**files, **more}),
        SUNRGBDtoolbox=stored(tree(real / "SUNRGBDtoolbox"), "SUNRGBDtoolbox/"),
    )
    for name in TABLES:
        (server.folder / name).write_bytes((real / name).read_bytes())
    download_sunrgbd(out, url=server.url)
    assert unpacked(out) == tree(real)


def test_a_real_folder_is_taken_in_place(server: Server, out: Path) -> None:
    # Linked, so that a mistake would not write among the real files.
    shutil.copytree(shared("real/sunrgbd/OFFICIAL_SUNRGBD"), out, copy_function=os.symlink)
    before = times(out.parent)
    assert download_sunrgbd(out, url=server.url) == Download(0, 4, 0)
    assert server.requests == []
    assert times(out.parent) == before
