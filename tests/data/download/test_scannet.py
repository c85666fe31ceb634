"""ScanNet's download, from a local server in the publishers' layout."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sr3d.data.download import scannet
from sr3d.data.download.fetch import Download
from sr3d.data.scannet_files import LABEL_MAP, SPLITS, SUFFIXES
from sr3d.errors import InputError, Kind
from tests.data.download import server as www
from tests.data.download.files import times, tree, write
from tests.data.download.scans import (
    OBJECTS,
    PLY,
    TEXT,
    TRAIN,
    VAL,
    download,
    local,
    mesh,
    remote,
)
from tests.data.download.server import Server
from tests.refusals import refuses
from tests.shared_data import shared


def test_fetches_what_detection_needs(server: Server, scans: dict[str, bytes], out: Path) -> None:
    write(server.folder, {remote(TRAIN[0], "_vh_clean.ply"): b"not needed"})
    seen: list[tuple[str, int, int]] = []
    done = download(server, out, progress=lambda *args: seen.append(args))
    assert tree(out) == scans
    assert done == Download(fetched=19, present=0, bytes=sum(map(len, scans.values())))
    assert seen == [("scans", i, 4) for i in (1, 2, 3, 4)]
    assert len(server.requests) == 19


def test_a_complete_folder_is_not_touched(
    server: Server, scans: dict[str, bytes], out: Path
) -> None:
    write(out, scans)
    before = times(out.parent)
    assert download(server, out, accept_terms=False) == Download(fetched=0, present=19, bytes=0)
    assert server.requests == []
    assert times(out.parent) == before


@pytest.mark.parametrize("place", ["meta", "scans", "scans/meta"])
def test_tables_are_found_where_the_reader_looks(
    server: Server, scans: dict[str, bytes], out: Path, place: str
) -> None:
    write(out, {name if "/" in name else f"{place}/{name}": c for name, c in scans.items()})
    assert download(server, out, accept_terms=False).present == 19
    assert server.requests == []


def test_scans_that_lie_in_the_named_folder_itself(
    server: Server, scans: dict[str, bytes], out: Path
) -> None:
    write(out, {name.removeprefix("scans/"): content for name, content in scans.items()})
    assert download(server, out, accept_terms=False).present == 19
    assert server.requests == []


@pytest.mark.parametrize("without", ["", local(VAL[0], TEXT), LABEL_MAP, SPLITS["train"]])
def test_without_acceptance_nothing_is_asked_for_or_written(
    server: Server, scans: dict[str, bytes], out: Path, without: str
) -> None:
    """In an empty folder, and in one that lacks a single file."""
    if without:
        write(out, {name: content for name, content in scans.items() if name != without})
    before = times(out.parent)
    with pytest.raises(InputError) as error:
        download(server, out, accept_terms=False)
    for part in (
        "http://kaldir.vc.cit.tum.de/scannet/ScanNet_TOS.pdf",
        "scannet@googlegroups.com",
        "`download.scannet.accept_terms: true` in config.yaml",
        "--accept-terms",
        "`raw.scannet`",
    ):
        assert part in str(error.value)
    assert server.requests == []
    assert times(out.parent) == before


def test_only_what_is_missing_is_fetched(
    server: Server, scans: dict[str, bytes], out: Path
) -> None:
    download(server, out)
    (out / local(TRAIN[1], OBJECTS)).unlink()
    (out / local(TRAIN[2], PLY)).write_bytes(b"mine, taken as it is")
    server.requests.clear()
    done = download(server, out)
    assert server.paths == [remote(TRAIN[1], OBJECTS)]
    assert done == Download(1, 18, len(scans[local(TRAIN[1], OBJECTS)]))
    assert (out / local(TRAIN[2], PLY)).read_bytes() == b"mine, taken as it is"


def test_chosen_scans(server: Server, scans: dict[str, bytes], out: Path) -> None:
    done = download(server, out, scenes=[VAL[0], TRAIN[1], VAL[0]])
    assert (done.fetched, done.present) == (11, 0)
    assert download(server, out, scenes=[VAL[0], TRAIN[1], VAL[0]]).present == 11
    assert sorted(p.name for p in (out / "scans").iterdir()) == [TRAIN[1], VAL[0]]
    with refuses(Kind.UNKNOWN, mentions=["ScanNet"]):
        download(server, out, scenes=["scene0000_07"])


def test_many_missing_scans_are_counted_and_three_named(
    server: Server, scans: dict[str, bytes], out: Path
) -> None:
    shutil.rmtree(server.folder / "scannet/v2/scans")
    named = "(scene0000_00, scene0000_01, scene0001_00, …)"
    with refuses(Kind.MISSING, file=out, mentions=["4 scans", named]) as error:
        download(server, out)
    assert str(out / "missing.txt") in str(error.value.remedy)
    assert len((out / "missing.txt").read_text().splitlines()) == 16


def test_missing_files_that_a_person_brought(
    server: Server, scans: dict[str, bytes], out: Path
) -> None:
    server.script[remote(VAL[0], TEXT)] = [www.status(403)]
    with pytest.raises(InputError):
        download(server, out)
    (out / local(VAL[0], TEXT)).write_bytes(scans[local(VAL[0], TEXT)])
    download(server, out, accept_terms=False)
    assert tree(out) == scans


def test_lists_that_are_there_are_taken_as_they_are(
    server: Server, scans: dict[str, bytes], out: Path
) -> None:
    out.mkdir(parents=True)
    (out / SPLITS["train"]).write_text(TRAIN[0])
    (out / SPLITS["val"]).write_text(VAL[0])
    done = download(server, out)
    assert (done.fetched, done.present) == (9, 2)


def test_a_cut_scan_is_resumed(server: Server, scans: dict[str, bytes], out: Path) -> None:
    big = mesh(4) + bytes(5000)
    write(server.folder, {remote(VAL[0], PLY): big})
    server.script[remote(VAL[0], PLY)] = [www.cut(3000)]
    download(server, out)
    asked = [h.get("Range") for path, h in server.requests if path == remote(VAL[0], PLY)]
    assert asked == [None, "bytes=3000-"]
    assert (out / local(VAL[0], PLY)).read_bytes() == big


def test_a_full_disk_ends_it(
    server: Server,
    scans: dict[str, bytes],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    download(server, out, scenes=[TRAIN[0]])
    usage = shutil.disk_usage(out)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with refuses(mentions=["_vh_clean_2.ply"]):
        download(server, out, parallel=1)
    assert not (out / "missing.txt").exists()


def test_an_interruption_ends_it_soon(
    server: Server, scans: dict[str, bytes], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(threading.Event):
        def set(self) -> None:
            super().set()
            server.released.set()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    # The second scan waits until the interruption has been noted.
    server.script[remote(TRAIN[1], PLY)] = [www.stall(100)]
    monkeypatch.setattr(scannet, "threading", SimpleNamespace(Event=Stop))
    with pytest.raises(KeyboardInterrupt):
        download(server, out, parallel=1, progress=interrupt)
    assert remote(TRAIN[2], PLY) not in server.paths
    assert not (out / local(TRAIN[1], PLY)).exists()
    assert download(server, out).present == 7
    assert tree(out) == scans


def test_not_more_scans_at_a_time_than_asked_for(
    server: Server, scans: dict[str, bytes], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers: list[int] = []
    real = scannet.ThreadPoolExecutor

    def pool(count: int) -> Any:
        workers.append(count)
        return real(count)

    monkeypatch.setattr(scannet, "ThreadPoolExecutor", pool)
    download(server, out, parallel=2)
    (out / local(VAL[0], TEXT)).unlink()
    download(server, out, parallel=500)
    assert workers == [2, 8]
    with pytest.raises(InputError, match="parallel"):
        download(server, out.parent / "other", parallel=0)


def test_a_real_scan(server: Server, out: Path) -> None:
    """The scans lists and one real scan, through every check."""
    real = shared("real/scannet")
    remotes = server.folder / "scannet" / "v2"
    remotes.mkdir(parents=True)
    (remotes / "scans").symlink_to(real / "scans")
    (remotes / "tasks").symlink_to(real / "meta")
    (server.folder / "lists").symlink_to(real / "meta")
    server.script[remote("scene0000_00", PLY)] = [www.cut(2_000_000)]
    done = download(server, out, scenes=["scene0000_00"])
    assert done.fetched == 7
    for suffix in SUFFIXES:
        name = local("scene0000_00", suffix)
        assert (out / name).read_bytes() == (real / name).read_bytes()
    for name in (LABEL_MAP, *SPLITS.values()):
        assert (out / name).read_bytes() == (real / "meta" / name).read_bytes()


def test_a_real_folder_is_taken_in_place(server: Server, out: Path) -> None:
    # Linked, so that a mistake would not write among the real files.
    shutil.copytree(shared("real/scannet"), out, copy_function=os.symlink)
    before = times(out.parent)
    done = download(server, out, accept_terms=False, scenes=["scene0000_00"])
    assert done == Download(0, 7, 0)
    assert server.requests == []
    assert times(out.parent) == before
