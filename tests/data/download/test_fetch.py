"""One file: how it comes, what is refused, and that only the right one gets its name."""

from __future__ import annotations

import email.utils
import errno
import hashlib
import os
import random
import shutil
import threading
import time
from pathlib import Path

import pytest

from sr3d.data.download import fetch as module
from sr3d.data.download import transfer
from sr3d.data.download.fetch import fetch
from sr3d.data.download.transfer import Cancellation, DiskError
from sr3d.errors import InputError, Kind
from tests.data.download import server as www
from tests.data.download.conftest import CONTENT
from tests.data.download.files import tree, write
from tests.data.download.server import Server
from tests.refusals import refuses

OTHER = random.Random(1).randbytes(100_000)


def test_fetches_a_file_and_leaves_nothing_else(url: str, server: Server, out: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = out / "deep" / "data.bin"
    size = fetch(url, path, progress=lambda done, total: seen.append((done, total)))
    assert size == len(CONTENT)
    assert tree(out) == {"deep/data.bin": CONTENT}
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert server.ranges == [None]


def test_an_existing_file_is_taken_without_a_request(url: str, server: Server, out: Path) -> None:
    write(out, {"data.bin": b"mine"})
    assert fetch(url, out / "data.bin", md5="0" * 32) == 0
    assert tree(out) == {"data.bin": b"mine"}
    assert server.requests == []


@pytest.mark.parametrize("trouble", [www.status(500), www.status(429), www.status(502), www.drop])
def test_passing_trouble_is_tried_again_later_and_later(
    url: str, server: Server, out: Path, pauses: list[float], trouble: www.Action
) -> None:
    server.script["data.bin"] = [trouble] * 4
    fetch(url, out / "data.bin")
    assert tree(out) == {"data.bin": CONTENT}
    assert pauses == [1, 2, 4, 8]


def test_trouble_that_stays_is_told(url: str, server: Server, out: Path) -> None:
    server.script["data.bin"] = [www.status(500)] * 9
    with refuses(Kind.MISSING, file="data.bin", mentions=["500"]):
        fetch(url, out / "data.bin", attempts=3)
    assert len(server.requests) == 3
    assert tree(out) == {}


def test_no_server_is_tried_again_and_told(out: Path, pauses: list[float]) -> None:
    with refuses(Kind.MISSING, file="x", mentions=["127.0.0.1"]):
        fetch("http://127.0.0.1:9/x", out / "x")
    assert pauses == [1, 2, 4, 8]


def test_retry_after_is_heeded(url: str, server: Server, out: Path, pauses: list[float]) -> None:
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    server.script["data.bin"] = [
        www.status(503, Retry_After="7"),
        www.status(429, Retry_After=date),
        www.status(503, Retry_After="soon"),
        www.status(503, Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"),
    ]
    fetch(url, out / "data.bin")
    assert pauses[0] == 7
    assert 90 < pauses[1] <= 100
    assert pauses[2:] == [4, 0]


def test_a_server_that_asks_for_an_hour_is_told(
    url: str, server: Server, out: Path, pauses: list[float]
) -> None:
    server.script["data.bin"] = [www.status(503, Retry_After="3600")]
    with refuses(Kind.MISSING, file="data.bin", mentions=["503"]):
        fetch(url, out / "data.bin")
    assert pauses == []


@pytest.mark.parametrize("code", [403, 404, 410, 401, 400])
def test_a_refusal_fails_at_once(url: str, server: Server, out: Path, code: int) -> None:
    server.script["data.bin"] = [www.status(code)] * 2
    with refuses(Kind.MISSING, file="data.bin", mentions=[str(code)]):
        fetch(url, out / "data.bin")
    assert len(server.requests) == 1
    assert tree(out) == {}


def test_an_address_that_is_none(out: Path) -> None:
    with refuses(Kind.VALUE, file="x"):
        fetch("scannet/x", out / "x")


def test_a_wrong_digest_is_never_kept(url: str, server: Server, out: Path) -> None:
    wrong, right = (hashlib.md5(content).hexdigest() for content in (OTHER, CONTENT))
    with refuses(Kind.UNREADABLE, file="data.bin", mentions=["md5", right, wrong]):
        fetch(url, out / "data.bin", md5=wrong)
    assert tree(out) == {}
    fetch(url, out / "data.bin", md5=right.upper())
    assert tree(out) == {"data.bin": CONTENT}


def test_wrong_content_is_never_kept(url: str, out: Path) -> None:
    def check(path: Path) -> None:
        assert path.read_bytes() == CONTENT
        assert not (out / "data.bin").exists()
        raise InputError("it is no mesh", kind=Kind.VALUE)

    with refuses(Kind.UNREADABLE, file="data.bin"):
        fetch(url, out / "data.bin", check=check)
    assert tree(out) == {}


@pytest.mark.parametrize(
    "answer",
    [
        www.page,
        www.body(b"anything", Content_Type="text/html"),
        www.body(www.PAGE, Content_Type="application/octet-stream"),
        www.body(b"\xef\xbb\xbf <HTML lang=en>"),
    ],
)
def test_a_web_page_is_no_file(url: str, server: Server, out: Path, answer: www.Action) -> None:
    server.script["data.bin"] = [answer]
    with refuses(Kind.UNREADABLE, file="data.bin"):
        fetch(url, out / "data.bin")
    assert tree(out) == {}


def test_too_little_space_is_told_before_the_download(
    url: str, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(out.parents[1])._replace(free=150_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    amounts = ["0.2 MB", "0.1 MB"]
    with refuses(Kind.UNWRITABLE, file="data.bin", mentions=amounts, error=DiskError) as error:
        fetch(url, out / "data.bin", room=2)
    assert error.value.remedy
    assert (out / "data.bin.part").exists() is False
    assert fetch(url, out / "data.bin") == 100_000


def test_a_folder_that_cannot_be_written(url: str, out: Path) -> None:
    write(out.parent, {out.name: b"a file"})
    reason = os.strerror(errno.ENOTDIR)
    with refuses(Kind.UNWRITABLE, file="data.bin", mentions=[reason], error=DiskError) as error:
        fetch(url, out / "data.bin")
    assert error.value.remedy


def test_stop_ends_a_transfer_and_a_wait(
    url: str, server: Server, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "CHUNK", 10_000)
    stop = threading.Event()
    with pytest.raises(Cancellation):
        fetch(url, out / "data.bin", progress=lambda *_: stop.set(), stop=stop)
    assert (out / "data.bin.part").read_bytes() == CONTENT[:10_000]
    stop.clear()
    server.script["data.bin"] = [www.status(500)] * 2
    monkeypatch.setattr(module, "pause", lambda *_: stop.set())
    with pytest.raises(Cancellation):
        fetch(url, out / "data.bin", stop=stop)
    assert len(server.requests) == 2
    assert fetch(url, out / "data.bin", attempts=2) == 100_000
    assert server.ranges[-1] == "bytes=10000-"


def test_a_real_pause_ends_when_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    stop = threading.Event()
    stop.set()
    started = time.monotonic()
    module.pause(60, stop)
    assert time.monotonic() - started < 10
