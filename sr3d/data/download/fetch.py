"""Downloads a file over HTTP: resumes, retries, verifies, and then renames it to its target.

urllib3's `Retry` does not replace the loop. It repeats requests, but not a body that broke off, so
there would be two counts of attempts. It does not check `stop` while it waits, and it waits as long
as a server asks, even an hour.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from sr3d.data.download.transfer import Cancellation, Interruption, Part, Session, receive
from sr3d.errors import InputError, Kind

_LONGEST_WAIT = 60.0  # seconds between two attempts
_PATIENCE = 600.0  # seconds, maximum wait that a server may ask for
_WEB_PAGE = (b"<!doctype html", b"<html")


@dataclass(frozen=True)
class Download:
    """Files that were fetched, files that existed before, and the bytes of the fetched ones."""

    fetched: int = 0
    present: int = 0
    bytes: int = 0


def fetch(
    url: str,
    path: Path,
    *,
    check: Callable[[Path], None] | None = None,
    md5: str | None = None,
    attempts: int = 5,
    room: float = 1.0,
    session: Session | None = None,
    progress: Callable[[int, int], None] | None = None,
    stop: threading.Event | None = None,
) -> int:
    """Fetch `url` to `path` and return its size. A file that exists is kept, and 0 returned.

    check: called with the complete file under its temporary name. It raises InputError with the
    reason alone if the content is wrong. attempts: the maximum number in a row that bring nothing
    new. room: required free disk space, as a multiple of the size. progress: called with bytes
    (done, all). stop: once set, the transfer ends.

    Raises:
        InputError: the server does not give the file, or gives a wrong one, which is deleted.
        Cancellation: `stop` was set. A later call resumes the transfer.
    """
    if path.exists():
        return 0
    part = Part(path)
    with nullcontext(session) if session else Session() as http:
        furthest, failed = part.size(), 0
        while True:
            if stop and stop.is_set():
                raise Cancellation
            try:
                receive(url, part, http, room=room, progress=progress, stop=stop)
                break
            except Interruption as problem:
                failed = 1 if part.size() > furthest else failed + 1
                furthest = max(furthest, part.size())
                wait = problem.wait
                if wait is None:
                    wait = min(2.0 ** (failed - 1), _LONGEST_WAIT)
                if failed >= attempts or wait > _PATIENCE:
                    raise InputError(
                        f"{problem}, so {path} is not complete",
                        file=url,
                        kind=Kind.MISSING,
                        remedy="Run the same command again later.",
                    ) from None
                pause(wait, stop)
    try:
        _verify(part.path, check, md5)
    except InputError as error:
        part.discard()
        raise InputError(
            f"{error}, so {path} was not kept",
            file=url,
            kind=Kind.UNREADABLE,
            remedy="Run the same command again, and if it stays so, look at the "
            "address in a browser.",
        ) from None
    received = part.size()
    part.path.replace(path)
    part.notes.unlink(missing_ok=True)
    return received


def pause(seconds: float, stop: threading.Event | None) -> None:
    """Wait, but return as soon as `stop` is set. Tests replace this function."""
    (stop or threading.Event()).wait(seconds)


def _verify(path: Path, check: Callable[[Path], None] | None, md5: str | None) -> None:
    with open(path, "rb") as file:
        if file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_WEB_PAGE):
            raise InputError("the server sent a web page", kind=Kind.UNREADABLE)
    if md5 is not None and (found := _md5(path)) != md5.lower():
        raise InputError(f"its md5 is {found} and not {md5}", kind=Kind.UNREADABLE)
    if check:
        check(path)


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
