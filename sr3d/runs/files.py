"""Atomic files: written under a temporary name, then renamed. A file is whole or absent."""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import logging
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from filelock import lock_descriptor

from sr3d.errors import DamagedFile, InputError, Kind

CHECKSUM = "checksum"
_log = logging.getLogger(__name__)

# In this order, because UTF-32's mark begins with UTF-16's mark.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ROOM = "Free some space, then run the same command again."
_ELSEWHERE = "Name a folder that you may write."
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EROFS: _ELSEWHERE,
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.ENOTDIR: _ELSEWHERE,
    errno.EEXIST: _ELSEWHERE,
    errno.EISDIR: _ELSEWHERE,
}
_LOCKS_TEMPORARY_FILES = sys.platform != "win32"
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp(\.[^.]*)?")


@contextmanager
def writing(path: str | Path, elsewhere: str = _ELSEWHERE) -> Iterator[None]:
    """Within the block, which writes `path`, turn errors of the disk into an `InputError`.

    elsewhere: the remedy for a folder that cannot be written.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if remedy := _REMEDIES.get(error.errno or 0):
            raise InputError(
                f"cannot be written ({error.strerror})",
                file=path,
                kind=Kind.UNWRITABLE,
                remedy=elsewhere if remedy == _ELSEWHERE else remedy,
            ) from error
        raise


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`. Rename it to `path` if the block succeeds.

    The temporary name keeps the suffix, because numpy and others append a missing one. The process
    locks the temporary file. So the first write of another process into the folder can distinguish
    files of killed processes, which it removes, from files of living ones. Windows cannot write or
    rename a locked file, so nothing is locked or removed there.

    Write with `file.write`. Native writers (safetensors, torch, Pillow, `ndarray.tofile`) hide a
    full disk behind other errors. Let them write to memory, and see `write_bytes`.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if _LOCKS_TEMPORARY_FILES:
            _remove_abandoned_once(path.parent.resolve())
        handle, name = _temporary_file(path)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
            if handle is not None:
                os.close(handle)


def _temporary_file(path: Path) -> tuple[int | None, str]:
    """The handle that locks a new temporary file beside `path` (None on Windows), and its name."""
    while True:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem[:100]}.", suffix=f".tmp{path.suffix}", dir=path.parent
        )
        if not _LOCKS_TEMPORARY_FILES:
            os.close(handle)
            return None, name
        with suppress(OSError):  # the file system has no locks
            lock_descriptor(handle, blocking=False)
        if os.fstat(handle).st_nlink:  # 0 if another process removed it before it was locked
            return handle, name
        os.close(handle)


@cache
def _remove_abandoned_once(folder: Path) -> None:
    """Call `remove_abandoned` once per process, because listing a large folder is slow."""
    remove_abandoned(folder)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder."""
    with os.scandir(folder) as entries:
        found = [entry.path for entry in entries if _TEMPORARY.fullmatch(entry.name)]
    for name in found:
        with suppress(OSError), open(name, "rb") as file:  # the file is gone, or there are no locks
            if lock_descriptor(file.fileno(), blocking=False):
                os.unlink(name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def exclusive(path: str | Path, wait: bool = False) -> Iterator[None]:
    """Lock `path` against other processes. The lock ends with this process.

    The lock is on a hidden file beside `path`, which is kept and names the process that holds it.
    wait: if another process holds the lock, log its name and wait for its end.

    Raises:
        InputError: another process holds it, or the folder cannot be written.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered, because close() must not write again what a full disk has refused.
        lock = open(path.parent / f".{path.name}.lock", "ab+", buffering=0)  # noqa: SIM115
    with lock:
        if not lock_descriptor(lock.fileno(), blocking=False):
            holder = read_holder(lock)
            if not wait:
                raise InputError(
                    f"another sr3d is writing it ({holder})",
                    file=path,
                    kind=Kind.CONFLICT,
                    remedy="Wait for its end, or stop that process.",
                ) from None
            _log.warning("%s: %s is writing it; waiting for its end", path, holder)
            lock_descriptor(lock.fileno())
        write_holder(lock)
        yield


def write_holder(lock: IO[bytes]) -> None:
    """Write the name of this process into a lock file that it holds, for `read_holder`.

    lock: unbuffered. Its first byte stays empty, because Windows locks it against readers.
    """
    with suppress(OSError):  # a full disk. The name is only for messages
        lock.truncate(0)
        lock.write(b"\n" + this_process().encode())


def read_holder(lock: IO[bytes]) -> str:
    """The name of the process that holds a lock file, if it is known."""
    lock.seek(1)
    return lock.read().decode("utf-8", "replace").strip() or "process unknown"


def write_bytes(path: str | Path, *parts: bytes | memoryview) -> None:
    """Write a file atomically, from one piece or several."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.writelines(parts)


def this_process() -> str:
    """The name of this process for messages: `process 4711 on host`."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON atomically. NaN and infinity are refused, because JSON has neither."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def is_lfs_pointer(content: bytes) -> bool:
    """Whether a file with this beginning is a pointer of Git LFS instead of the file itself."""
    return content.startswith(b"version https://git-lfs.github.com/spec/")


LFS_REMEDY = "is a pointer of Git LFS, not the file. Get the file with `git lfs pull`"


def read_text(path: str | Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark (Windows).

    Raises:
        InputError: the file is missing, or in another encoding.
    """
    content = _read_bytes(path)
    try:
        return _decoded(content)
    except UnicodeDecodeError as error:
        raise InputError(
            f"not in UTF-8 ({error})",
            file=path,
            kind=Kind.UNREADABLE,
            remedy="Save it as UTF-8.",
        ) from None


def _read_bytes(path: str | Path) -> bytes:
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(
            "no such file", file=path, kind=Kind.MISSING, remedy="Name an existing file."
        ) from None
    if is_lfs_pointer(content):
        raise InputError(
            "is a pointer of Git LFS, not the file",
            file=path,
            kind=Kind.MISSING,
            remedy="Get the file with `git lfs pull`.",
        )
    return content


def _decoded(content: bytes) -> str:
    return content.decode(
        next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    )


def read_json(path: str | Path, remedy: str | None = None) -> Any:
    """Read JSON.

    remedy: what the user can do about a file of ours that is not JSON, as whole sentences. None
    for a file that the user wrote.

    Raises:
        InputError: the file is missing.
        DamagedFile: it is empty, in another encoding, or not JSON.
    """
    content = _read_bytes(path)
    try:
        text = _decoded(content)
        if text.strip():
            return json.loads(text)
    except UnicodeDecodeError as error:
        problem, correct = f"not in UTF-8 ({error})", "Save it as UTF-8."
    except ValueError as error:
        problem, correct = f"not valid JSON ({error})", "Correct the file at that place."
    else:
        problem, correct = "is empty, so it is no JSON", "Write the file again."
    raise DamagedFile(problem, file=path, kind=Kind.UNREADABLE, remedy=remedy or correct)


def with_checksum(value: dict[str, Any]) -> dict[str, Any]:
    """The value with a digest of its content."""
    return {**value, CHECKSUM: digest(value)}


def without_checksum(value: dict[str, Any], where: str | Path, remedy: str) -> dict[str, Any]:
    """The inverse of `with_checksum`. Accepts values of earlier versions, which have no checksum.

    where, remedy: file and remedy of the error.

    Raises:
        DamagedFile: the content differs from what was written.
    """
    rest = {name: item for name, item in value.items() if name != CHECKSUM}
    try:
        changed = CHECKSUM in value and digest(rest) != value[CHECKSUM]
    except ValueError:  # infinity, which was never written
        changed = True
    if changed:
        raise DamagedFile(
            "damaged or edited, because its checksum does not match its content",
            file=where,
            kind=Kind.UNREADABLE,
            remedy=remedy,
        )
    return rest


def sha256(path: str | Path) -> str:
    """Hex digest of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_digest(folder: Path, parts: Sequence[str] = (".",)) -> str:
    """Short digest of all Python files below a folder, or of some of its files and folders.

    Raises:
        FileNotFoundError: a part does not exist, so the digest would not cover it.
    """
    places = [folder / part for part in parts]
    if missing := [str(place) for place in places if not place.exists()]:
        raise FileNotFoundError(f"no such part of the code: {', '.join(missing)}")
    files = sorted(f for p in places for f in ([p] if p.is_file() else p.rglob("*.py")))
    return digest({str(p.relative_to(folder)): p.read_text("utf-8") for p in files})


def digest(value: Any) -> str:
    """Short digest of a JSON-able value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
