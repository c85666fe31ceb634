"""An HTTP request that starts or resumes a file beside its target.

`<name>.part` holds the bytes received so far, and `<name>.part.json` the server's file that they
belong to. A later process resumes only if the server still has that file (RFC 9110, 13 and 14).
"""

from __future__ import annotations

import email.utils
import json
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import requests

from sr3d.errors import InputError, Kind
from sr3d.runs.files import write_json

CHUNK = 1 << 16  # bytes at a time. An interruption loses fewer
TIMEOUT = (20.0, 30.0)  # seconds to connect, and seconds without data
# A file that is compressed in transit cannot be resumed at an offset.
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "sr3d"}
_REFUSALS = {403: "refuses this file", 404: "has no such file", 410: "no longer has this file"}
_BROWSE = "Open the address in a browser to see its request, then run the same command again."
_MAKE_ROOM = "Free some space or name another folder, then run the same command again."

Session = requests.Session


class Interruption(Exception):
    """The transfer broke off. Another request, after `wait` seconds if set, may complete it."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Cancellation(Exception):
    """The caller set `stop`. The bytes received so far are kept."""


class DiskError(InputError):
    """This machine cannot store the file. Any other file would fail too."""


@dataclass(frozen=True)
class Origin:
    """The server's file that a part belongs to. header: ETag or Last-Modified, with its value."""

    url: str
    header: str
    value: str
    size: int | None


@dataclass(frozen=True)
class Part:
    """The unfinished file of a target."""

    target: Path

    @property
    def path(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    @property
    def notes(self) -> Path:
        return self.target.with_name(self.target.name + ".part.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def origin(self, url: str) -> Origin | None:
        """The origin of the bytes received so far, if they are from `url` and can be resumed."""
        try:
            origin = Origin(**json.loads(self.notes.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return origin if origin.url == url and self.size() else None

    def begin(self, origin: Origin | None) -> None:
        """Delete the bytes received so far. Without `origin` the new content cannot be resumed."""
        self.discard()  # first, so old bytes never have a new origin
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if origin:
            write_json(self.notes, asdict(origin))

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)


def receive(
    url: str,
    part: Part,
    session: Session,
    *,
    room: float,
    progress: Callable[[int, int], None] | None,
    stop: threading.Event | None,
) -> None:
    """Request the missing bytes of `part` once, and return when it is complete.

    Raises:
        Interruption: a cut, a timeout, 408, 429 or 5xx. Another request may succeed.
        InputError: the server refuses the file.
        DiskError: too little room, or the folder cannot be written.
        Cancellation: `stop` was set.
    """
    origin = part.origin(url)
    ask = {"Range": f"bytes={part.size()}-", "If-Range": origin.value} if origin else {}
    try:
        with session.get(url, headers=_HEADERS | ask, stream=True, timeout=TIMEOUT) as response:
            total = _accept(response, url, part, origin)
            if total == part.size() and response.status_code == 416:
                return
            if total is not None:
                require_room(part.target, int(total * room) - part.size())
            with open(part.path, "ab") as file:
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    file.flush()
                    if progress and total:
                        progress(file.tell(), total)
                    if stop and stop.is_set():
                        raise Cancellation
    except (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
    ) as error:
        kind = type(error).__name__
        raise Interruption(f"the connection broke after {part.size()} bytes ({kind})") from None
    except requests.RequestException as error:
        raise InputError(
            f"cannot be asked for ({error})",
            file=url,
            kind=Kind.VALUE,
            remedy="Correct the address.",
        ) from None
    except OSError as error:
        raise disk_error(part.target, error) from None
    if total is not None and part.size() != total:
        raise Interruption(f"the connection ended after {part.size()} of {total} bytes")


def disk_error(path: Path, error: OSError) -> DiskError:
    return DiskError(
        f"cannot be written ({error.strerror})",
        file=path,
        kind=Kind.UNWRITABLE,
        remedy=_MAKE_ROOM,
    )


def require_room(path: Path, needed: int) -> None:
    """Check that the disk of `path`, which need not exist, has `needed` bytes free.

    Raises:
        DiskError: it has less.
    """
    folder = next(p for p in (path, *path.absolute().parents) if p.is_dir())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskError(
            f"needs {_amount(needed)} and {folder} has {_amount(free)} free",
            file=path,
            kind=Kind.UNWRITABLE,
            remedy=_MAKE_ROOM,
        )


def _accept(response: requests.Response, url: str, part: Part, origin: Origin | None) -> int | None:
    """Prepare `part` for the body of this response. Returns the size of the whole file if known."""
    status, headers = response.status_code, response.headers
    if status in (408, 429) or status >= 500:
        raise Interruption(f"the server answers {status}", _retry_after(headers.get("Retry-After")))
    if status == 200:
        if "text/html" in headers.get("Content-Type", "") and "htm" not in part.target.suffix:
            raise InputError(
                f"the server sent a web page for {part.target}",
                file=url,
                kind=Kind.UNREADABLE,
                remedy=_BROWSE,
            )
        compressed = headers.get("Content-Encoding", "identity") != "identity"
        length = headers.get("Content-Length", "")
        total = int(length) if length.isdigit() and not compressed else None
        part.begin(None if compressed else _origin(response, url, total))
        return total
    if origin and status == 206:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", ""))
        total = int(match[2]) + 1 if match and match[3] == "*" else int(match[3]) if match else None
        fits = match and int(match[1]) == part.size() and origin.size in (None, total)
        if fits and headers.get(origin.header, origin.value) == origin.value:
            return total
    elif origin and status == 416:
        if headers.get("Content-Range") == f"bytes */{part.size()}":
            return part.size()
    else:
        refusal = _REFUSALS.get(status, "gives no file")
        raise InputError(
            f"the server {refusal} (status {status}), so {part.target} is missing",
            file=url,
            kind=Kind.MISSING,
            remedy="Check the address, or ask the publisher.",
        )
    part.discard()
    raise Interruption("the server's answer does not match the bytes received before", wait=0)


def _origin(response: requests.Response, url: str, size: int | None) -> Origin | None:
    etag = response.headers.get("ETag", "W/")
    if not etag.startswith("W/"):  # a weak ETag does not guarantee equal bytes
        return Origin(url, "ETag", etag, size)
    modified = response.headers.get("Last-Modified")
    return Origin(url, "Last-Modified", modified, size) if modified else None


def _retry_after(value: str | None) -> float | None:
    """Seconds that the server asks to wait, from a number or a date."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _amount(size: int) -> str:
    if size < 1e5:
        return f"{size} bytes"
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
