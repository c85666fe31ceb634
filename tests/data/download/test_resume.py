"""A download that was cut goes on, but never joins the parts of two files."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from sr3d.data.download import transfer
from sr3d.data.download.fetch import fetch
from sr3d.errors import InputError, Kind
from tests.data.download import server as www
from tests.data.download.conftest import CONTENT
from tests.data.download.files import tree
from tests.data.download.server import Server
from tests.refusals import refuses

OTHER = random.Random(1).randbytes(100_000)


def begin(server: Server, url: str, path: Path, sent: int = 40_000) -> None:
    """Leave an unfinished download, as an earlier process would."""
    server.script["data.bin"] = [www.cut(sent)]
    with pytest.raises(InputError, match="later"):
        fetch(url, path, attempts=1)
    server.requests.clear()
    assert path.with_name("data.bin.part").read_bytes() == CONTENT[:sent]


def test_goes_on_where_it_was_cut(url: str, server: Server, out: Path, pauses: list[float]) -> None:
    server.script["data.bin"] = [www.cut(30_000), www.cut(20_000)]
    fetch(url, out / "data.bin")
    assert server.ranges == [None, "bytes=30000-", "bytes=50000-"]
    assert tree(out) == {"data.bin": CONTENT}
    assert pauses == [1, 1]  # each brought something new


@pytest.mark.parametrize("validators", [("ETag",), ("Last-Modified",), ("ETag", "Last-Modified")])
def test_a_later_call_resumes(
    url: str, server: Server, out: Path, validators: tuple[str, ...]
) -> None:
    server.validators = validators
    begin(server, url, out / "data.bin")
    fetch(url, out / "data.bin", md5=hashlib.md5(CONTENT).hexdigest())
    assert server.ranges == ["bytes=40000-"]
    assert server.requests[0][1]["If-Range"]
    assert tree(out) == {"data.bin": CONTENT}


def test_resumes_after_a_whole_part(url: str, server: Server, out: Path) -> None:
    begin(server, url, out / "data.bin")
    (out / "data.bin.part").write_bytes(CONTENT)  # killed just before the last rename
    fetch(url, out / "data.bin")
    assert server.ranges == ["bytes=100000-"]
    assert tree(out) == {"data.bin": CONTENT}


def test_a_part_longer_than_the_file_starts_anew(url: str, server: Server, out: Path) -> None:
    begin(server, url, out / "data.bin")
    (out / "data.bin.part").write_bytes(CONTENT + b"!")
    fetch(url, out / "data.bin")
    assert server.ranges == ["bytes=100001-", None]
    assert tree(out) == {"data.bin": CONTENT}


@pytest.mark.parametrize("if_range", [True, False])
def test_a_file_that_changed_starts_anew(
    url: str, server: Server, out: Path, if_range: bool
) -> None:
    begin(server, url, out / "data.bin")
    (server.folder / "data.bin").write_bytes(OTHER)
    server.script["data.bin"] = [partial(www.well, if_range=if_range)]
    fetch(url, out / "data.bin")
    assert server.ranges == (["bytes=40000-"] if if_range else ["bytes=40000-", None])
    assert tree(out) == {"data.bin": OTHER}


def test_a_file_that_grew_starts_anew(url: str, server: Server, out: Path) -> None:
    """On a server that heeds Range but not If-Range, and whose validator stayed."""
    server.validators = ("Last-Modified",)
    begin(server, url, out / "data.bin")
    modified = (server.folder / "data.bin").stat().st_mtime
    (server.folder / "data.bin").write_bytes(OTHER + b"more")
    os.utime(server.folder / "data.bin", (modified, modified))
    fetch(url, out / "data.bin")
    assert tree(out) == {"data.bin": OTHER + b"more"}


def test_a_part_of_another_address_starts_anew(url: str, server: Server, out: Path) -> None:
    begin(server, url, out / "data.bin")
    (server.folder / "mirror.bin").write_bytes(OTHER)
    fetch(server.url + "mirror.bin", out / "data.bin")
    assert server.ranges == [None]
    assert tree(out) == {"data.bin": OTHER}


@pytest.mark.parametrize("notes", [None, "", "[]", '{"url": 1}'])
def test_a_part_without_notes_starts_anew(
    url: str, server: Server, out: Path, notes: str | None
) -> None:
    begin(server, url, out / "data.bin")
    (out / "data.bin.part").write_bytes(b"who knows")
    (out / "data.bin.part.json").unlink()
    if notes is not None:
        (out / "data.bin.part.json").write_text(notes)
    fetch(url, out / "data.bin")
    assert server.ranges == [None]
    assert tree(out) == {"data.bin": CONTENT}


def test_without_a_validator_nothing_is_resumed(url: str, server: Server, out: Path) -> None:
    server.validators = ()
    server.script["data.bin"] = [www.cut(40_000)]
    fetch(url, out / "data.bin")
    assert server.ranges == [None, None]
    assert tree(out) == {"data.bin": CONTENT}


def test_a_weak_etag_does_not_vouch_for_bytes(url: str, server: Server, out: Path) -> None:
    server.script["data.bin"] = [
        lambda handler: handler.answer(200, CONTENT, {"ETag": 'W/"1"'}, send=10)
    ]
    fetch(url, out / "data.bin")
    assert server.ranges == [None, None]


def test_a_server_without_ranges_starts_anew(url: str, server: Server, out: Path) -> None:
    server.script["data.bin"] = [www.cut(40_000), partial(www.well, ranges=False)]
    fetch(url, out / "data.bin")
    assert server.ranges == [None, "bytes=40000-"]
    assert tree(out) == {"data.bin": CONTENT}


@pytest.mark.parametrize(
    "content_range", ["bytes 0-99999/100000", "bytes 40001-99999/100000", "40000", ""]
)
def test_a_range_that_does_not_fit_starts_anew(
    url: str, server: Server, out: Path, content_range: str
) -> None:
    begin(server, url, out / "data.bin")
    headers = {"Content-Range": content_range}
    server.script["data.bin"] = [lambda h: h.answer(206, CONTENT[40_000:], headers)]
    fetch(url, out / "data.bin")
    assert server.ranges == ["bytes=40000-", None]
    assert tree(out) == {"data.bin": CONTENT}


def test_a_range_without_its_last_bytes_goes_on(url: str, server: Server, out: Path) -> None:
    begin(server, url, out / "data.bin")
    headers = {"Content-Range": "bytes 40000-59999/100000"}
    server.script["data.bin"] = [lambda h: h.answer(206, CONTENT[40_000:60_000], headers)]
    fetch(url, out / "data.bin")
    assert server.ranges == ["bytes=40000-", "bytes=60000-"]
    assert tree(out) == {"data.bin": CONTENT}


def test_a_cut_at_the_same_place_is_not_tried_for_ever(url: str, server: Server, out: Path) -> None:
    server.validators = ()
    server.script["data.bin"] = [www.cut(40_000)] * 9
    with refuses(Kind.MISSING, file="data.bin", mentions=["40000"]):
        fetch(url, out / "data.bin", attempts=3)
    assert len(server.requests) == 3
    assert not (out / "data.bin").exists()


def test_a_long_list_of_cuts_is_no_failure_while_it_goes_on(
    url: str, server: Server, out: Path
) -> None:
    server.script["data.bin"] = [www.cut(10_000)] * 9
    fetch(url, out / "data.bin", attempts=2)
    assert len(server.requests) == 10
    assert tree(out) == {"data.bin": CONTENT}


def test_a_timeout_is_tried_again(
    url: str, server: Server, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT", (5, 0.5))
    server.script["data.bin"] = [www.silence, www.stall(50_000)]
    fetch(url, out / "data.bin")
    assert server.ranges == [None, None, "bytes=50000-"]
    assert tree(out) == {"data.bin": CONTENT}


def test_a_login_page_in_between_does_not_cost_what_has_come(
    url: str, server: Server, out: Path
) -> None:
    begin(server, url, out / "data.bin")
    server.script["data.bin"] = [www.page]
    with refuses(Kind.UNREADABLE, file="data.bin"):
        fetch(url, out / "data.bin")
    fetch(url, out / "data.bin")
    assert server.ranges == ["bytes=40000-", "bytes=40000-"]
    assert tree(out) == {"data.bin": CONTENT}


def test_a_compressed_answer_is_unpacked_and_not_resumed(
    url: str, server: Server, out: Path
) -> None:
    packed = gzip.compress(CONTENT)
    headers = {"Content-Encoding": "gzip", "ETag": '"packed"'}
    server.script["data.bin"] = [
        lambda handler: handler.answer(200, packed, headers, send=50_000),
        lambda handler: handler.answer(200, packed, headers),
    ]
    fetch(url, out / "data.bin")
    assert server.ranges == [None, None]
    assert tree(out) == {"data.bin": CONTENT}


def test_a_resumed_file_needs_only_the_rest(
    url: str, server: Server, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(server, url, out / "data.bin")
    usage = shutil.disk_usage(out)._replace(free=70_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert fetch(url, out / "data.bin") == 100_000


CHILD = """
import sys
from pathlib import Path
from sr3d.data.download import transfer
from sr3d.data.download.fetch import fetch
transfer.CHUNK = 1000
fetch(sys.argv[1], Path(sys.argv[2]), progress=lambda done, _: print(done, flush=True))
"""


def test_a_killed_process_leaves_no_file_and_the_next_goes_on(
    url: str, server: Server, out: Path
) -> None:
    server.script["data.bin"] = [www.stall(60_000)]
    command = [sys.executable, "-c", CHILD, url, str(out / "data.bin")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        while child.stdout.readline() != "60000\n":
            assert child.poll() is None
        child.kill()
    assert sorted(tree(out)) == ["data.bin.part", "data.bin.part.json"]
    fetch(url, out / "data.bin")
    assert server.ranges == [None, "bytes=60000-"]
    assert tree(out) == {"data.bin": CONTENT}
