"""Files that are either whole or absent: write aside, then rename."""

from __future__ import annotations

import codecs
import errno
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sr3d.errors import InputError

# In this order, because UTF-32's mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ROOM = "free some space, then give the same command again"
_ELSEWHERE = "name a folder that you may write"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EROFS: _ELSEWHERE,
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.ENOTDIR: _ELSEWHERE,
}


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it onto `path` if the block succeeds.

    The temporary name keeps the suffix, because numpy and others append one that is missing.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem[:100]}.", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if remedy := _REMEDIES.get(error.errno or 0):
            raise InputError(f"{path}: cannot be written ({error.strerror}); {remedy}") from error
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def exclusive(path: str | Path) -> Iterator[None]:
    """Hold `path` against other processes, by a lock that dies with this one.

    The lock is on a hidden file beside it, which stays.

    Raises:
        InputError: another process holds it, or the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(path.parent / f".{path.name}.lock", "w")  # noqa: SIM115  # closed below
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); name another") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{path}: another sr3d is writing it; wait for its end, or stop it"
            ) from None
        yield


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON atomically. NaN and infinity are refused: JSON has neither."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def is_lfs_pointer(content: bytes) -> bool:
    """Whether a file that begins so is a pointer of Git LFS, which stands for the file itself."""
    return content.startswith(b"version https://git-lfs.github.com/spec/")


LFS_REMEDY = "is a pointer of Git LFS, not the file; get the file with `git lfs pull`"


def read_text(path: str | Path) -> str:
    """A text file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark, as Windows writes it.

    Raises:
        InputError: the file is missing, or in another encoding.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    if is_lfs_pointer(content):
        raise InputError(f"{path}: {LFS_REMEDY}")
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not in UTF-8 ({error}); save it as UTF-8") from None


def read_json(path: str | Path) -> Any:
    """Read JSON.

    Raises:
        InputError: the file is missing, empty, or not JSON.
    """
    text = read_text(path)
    if not text.strip():
        raise InputError(f"{path}: is empty, so it is no JSON; write its content again")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: not valid JSON ({error}); correct that place, or write the file again"
        ) from None


def sha256(path: str | Path) -> str:
    """Hex digest of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_digest(folder: Path, parts: Sequence[str] = (".",)) -> str:
    """Short digest of all Python files below a folder, or of some of its files and folders."""
    places = [folder / part for part in parts]
    files = sorted(f for p in places for f in ([p] if p.is_file() else p.rglob("*.py")))
    return digest({str(p.relative_to(folder)): p.read_text("utf-8") for p in files})


def digest(value: Any) -> str:
    """Short digest of a JSON-able value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
