"""Unpacks some members of a zip archive, each completely or not at all."""

from __future__ import annotations

import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from sr3d.data.download.transfer import disk_error, require_room
from sr3d.errors import InputError, Kind

# RuntimeError: encrypted, or packed in a way that zipfile does not know.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError)


def check_zip(path: Path, wanted: re.Pattern[str]) -> None:
    """Check that an archive ends as it should and lists the wanted members. No member is read.

    Raises:
        InputError: contains only the reason.
    """
    with _open(path) as archive:
        _targets(archive, wanted)


def unpack(
    path: Path,
    folder: Path,
    wanted: re.Pattern[str],
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Unpack into `folder` the members that match `wanted`, each to the path of its first group.

    Files that exist with the right size are skipped. progress: called with members (done, all).
    Returns the number of members.

    Raises:
        InputError: the archive is damaged or not the expected one. Contains only the reason.
        DiskError: too little space, or the folder cannot be written.
    """
    with _open(path) as archive:
        targets = {folder / name: info for name, info in _targets(archive, wanted).items()}
        left = {
            target: info
            for target, info in targets.items()
            if not target.is_file() or target.stat().st_size != info.file_size
        }
        require_room(folder, sum(info.file_size for info in left.values()))
        for done, (target, info) in enumerate(left.items(), len(targets) - len(left) + 1):
            _unpack_member(archive, info, target)
            if progress:
                progress(done, len(targets))
    return len(targets)


def _unpack_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    """Write one member under a temporary name, compare its checksum, and rename it."""
    # The suffix keeps a left-over from being read as one of the frame's images.
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(info) as source, open(part, "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        if part.stat().st_size != info.file_size:
            raise InputError(
                f"its member {info.filename} is not {info.file_size} bytes long",
                kind=Kind.UNREADABLE,
            )
        part.replace(target)
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(
            f"its member {info.filename} is damaged ({error})", kind=Kind.UNREADABLE
        ) from None
    except OSError as error:
        raise disk_error(target, error) from None
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def _open(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except (*_DAMAGE, OSError) as error:
        raise InputError(
            f"it is cut off or no zip archive ({error})", kind=Kind.UNREADABLE
        ) from None
    with archive:
        yield archive


def _targets(archive: zipfile.ZipFile, wanted: re.Pattern[str]) -> dict[str, zipfile.ZipInfo]:
    """The wanted members by the path that each is unpacked to.

    An archive with any member that leads out of its folder is refused as a whole.
    """
    targets = {}
    for info in archive.infolist():
        name = PurePosixPath(info.filename)
        if name.is_absolute() or ".." in name.parts:
            raise InputError(
                f"its member {info.filename} leads out of the folder", kind=Kind.UNREADABLE
            )
        if not info.is_dir() and (match := wanted.fullmatch(info.filename)):
            targets[match[1]] = info
    if not targets:
        raise InputError(
            f"none of its {len(archive.infolist())} members is one of those expected",
            kind=Kind.UNREADABLE,
        )
    return targets
