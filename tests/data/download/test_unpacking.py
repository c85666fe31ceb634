"""SUN RGB-D's archives: damaged, hostile, or unpacked halfway."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sr3d.data.download import archive
from sr3d.data.download.sunrgbd import BOXES, RECORD, download_sunrgbd
from sr3d.errors import Kind
from tests.data.download.files import write
from tests.data.download.frames import (
    EXPECTED,
    FILES,
    FRAMES,
    TOOLBOX,
    corrupt,
    frames_zip,
    pack,
    publish_frames,
    stored,
    unpacked,
)
from tests.data.download.server import Server
from tests.refusals import refuses


@pytest.mark.parametrize("prefix", ["", "SUNRGBD/", "n/fs/sun3d/data/SUNRGBD/", "SUNRGBD/SUNRGBD/"])
def test_any_leading_folder(
    server: Server, out: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    publish_frames(server, monkeypatch, SUNRGBD=frames_zip(prefix))
    download_sunrgbd(out, url=server.url.rstrip("/"))
    assert unpacked(out) == EXPECTED


def test_a_damaged_archive_that_a_person_brought_stays(
    server: Server, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_frames(server, monkeypatch)
    write(out, {"SUNRGBD.zip": frames_zip()[:-10]})
    with refuses(Kind.UNREADABLE, file="SUNRGBD.zip"):
        download_sunrgbd(out, url=server.url)
    assert (out / "SUNRGBD.zip").exists()
    (out / "SUNRGBD.zip").unlink()
    download_sunrgbd(out, url=server.url)
    assert unpacked(out) == EXPECTED


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        (BOXES, b"MATLAB 4", "MATLAB"),
        ("SUNRGBD.zip", frames_zip()[:-30], "zip"),
        ("SUNRGBD.zip", pack({"SUNRGBD/kv1/readme.txt": b""}), " 1 "),
        (
            "SUNRGBD.zip",
            pack({"SUNRGBD/../../kv1/a/intrinsics.txt": b""}),
            "SUNRGBD/../../kv1/a/intrinsics.txt",
        ),
        ("SUNRGBD.zip", pack({"../x": b"", **FILES}), " ../x "),
        ("SUNRGBD.zip", pack({"/SUNRGBD/kv1/a/intrinsics.txt": b""}), "/SUNRGBD/kv1/a/"),
        ("SUNRGBDtoolbox.zip", pack(TOOLBOX), "md5"),
    ],
)
@pytest.mark.usefixtures("frames")
def test_wrong_content_is_not_kept(
    server: Server, out: Path, name: str, content: bytes, named: str
) -> None:
    good = (server.folder / name).read_bytes()
    (server.folder / name).write_bytes(content)
    with refuses(Kind.UNREADABLE, file=name, mentions=[named, str(out / name)]):
        download_sunrgbd(out, url=server.url)
    assert not list(out.glob(f"{name}*"))
    assert not (out / "SUNRGBD").exists()
    assert "x" not in {path.name for path in out.parent.rglob("*")}
    (server.folder / name).write_bytes(good)
    download_sunrgbd(out, url=server.url)
    assert unpacked(out) == EXPECTED


def test_a_damaged_member_is_never_taken(
    server: Server, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = FILES[f"{FRAMES[1]}/image/0001.jpg"]
    publish_frames(server, monkeypatch, SUNRGBD=corrupt(stored(FILES), image))
    with refuses(Kind.UNREADABLE, file="SUNRGBD.zip"):
        download_sunrgbd(out, url=server.url)
    there = unpacked(out)
    assert f"SUNRGBD/{FRAMES[0]}/image/0001.jpg" in there
    assert there.items() <= EXPECTED.items()  # neither the member, nor the archive
    publish_frames(server, monkeypatch)
    server.requests.clear()
    download_sunrgbd(out, url=server.url)
    assert server.paths == ["SUNRGBD.zip"]
    assert unpacked(out) == EXPECTED


@pytest.mark.usefixtures("frames")
def test_unpacking_goes_on(server: Server, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(what: str, done: int, _: int) -> None:
        if what == "SUNRGBD.zip, files" and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_sunrgbd(out, url=server.url, progress=interrupt)
    first = sorted(path for path in (out / "SUNRGBD").rglob("*") if path.is_file())
    assert len(first) == 4
    assert json.loads((out / RECORD).read_text())["SUNRGBD.zip"]["members"] is None

    first[0].write_bytes(b"of another size")
    (first[1].parent / (first[1].name + ".part")).write_bytes(b"left by a killed process")
    written: list[str] = []
    unpack = archive._unpack_member

    def note(opened: Any, info: Any, target: Path) -> None:
        written.append(str(target.relative_to(out / "SUNRGBD")))
        unpack(opened, info, target)

    monkeypatch.setattr(archive, "_unpack_member", note)
    (first[1]).unlink()
    server.requests.clear()
    download_sunrgbd(out, url=server.url)
    assert server.requests == []
    assert set(written) == set(FILES) - {str(p.relative_to(out / "SUNRGBD")) for p in first[2:]}
    assert unpacked(out) == EXPECTED
    assert json.loads((out / RECORD).read_text())["SUNRGBD.zip"]["members"] == 10


@pytest.mark.usefixtures("frames")
def test_a_half_unpacked_folder_is_not_taken_for_one_made_by_hand(
    server: Server, out: Path
) -> None:
    """It has both tables, allsplit.mat and a frame, as one made by hand."""
    with pytest.raises(KeyboardInterrupt):
        download_sunrgbd(out, url=server.url, progress=_interrupt_after_a_frame)
    assert (out / f"SUNRGBD/{FRAMES[0]}/intrinsics.txt").exists()
    download_sunrgbd(out, url=server.url)
    assert unpacked(out) == EXPECTED


def _interrupt_after_a_frame(what: str, done: int, _: int) -> None:
    if what == "SUNRGBD.zip, files" and done == 5:
        raise KeyboardInterrupt


def test_space_is_asked_for_before_unpacking(
    server: Server, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = {**FILES, f"{FRAMES[0]}/depth/big.png": bytes(200_000)}
    publish_frames(server, monkeypatch, SUNRGBD=pack(big, "SUNRGBD/"))
    usage = shutil.disk_usage(server.folder)._replace(free=150_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with refuses(mentions=["0.2", "0.1"]):
        download_sunrgbd(out, url=server.url)
    assert (out / "SUNRGBD.zip").exists()  # whole, and not to be fetched again
    assert not (out / "SUNRGBD").exists()
