from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sr3d.data.download import fetch, transfer
from tests.data.download.frames import publish_frames
from tests.data.download.scans import publish_scans
from tests.data.download.server import Server, serve

CONTENT = random.Random(0).randbytes(100_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Serves `tmp_path/www`."""
    (tmp_path / "www").mkdir()
    with serve(tmp_path / "www") as running:
        yield running


@pytest.fixture
def scans(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """ScanNet with four scans on the server; the files of a complete download."""
    return publish_scans(server, monkeypatch)


@pytest.fixture
def frames(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """SUN RGB-D with two frames on the server."""
    publish_frames(server, monkeypatch)


@pytest.fixture
def url(server: Server) -> str:
    """The address of a file of 100,000 bytes, CONTENT."""
    (server.folder / "data.bin").write_bytes(CONTENT)
    return server.url + "data.bin"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder that does not exist yet, nor does the one that it is to be in."""
    return tmp_path / "raw" / "set"


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited."""
    seconds: list[float] = []

    def pause(wait: float, stop: threading.Event | None) -> None:
        seconds.append(wait)

    monkeypatch.setattr(fetch, "pause", pause)
    return seconds


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "CHUNK", 1000)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
