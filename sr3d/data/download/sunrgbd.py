"""SUN RGB-D from its publishers: two tables of boxes, and the needed members of two archives.

`archives.json` holds the origin of each archive and, once it is unpacked, the number of members.
The archive is then no longer needed. The file is written before anything is unpacked. So a folder
without it was made by hand and is kept as it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from sr3d.data.download.archive import check_zip, unpack
from sr3d.data.download.fetch import Download, fetch
from sr3d.data.download.transfer import DiskError
from sr3d.errors import InputError, Kind
from sr3d.runs.files import exclusive, read_json, sha256, write_json

URL = "https://rgbd.cs.princeton.edu/data/"
RECORD = "archives.json"
BOXES = "SUNRGBDMeta3DBB_v2.mat"
TABLES = (BOXES, "SUNRGBDMeta2DBB_v2.mat")
_MATLAB = (b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Archive:
    """A published zip. The first group of `wanted` is the path of a member below `folder`."""

    name: str
    folder: str
    wanted: re.Pattern[str]
    md5: str | None = None


# No name begins with a dot: macOS packs its own files so, in folders of the same names.
ARCHIVES = (
    Archive(
        "SUNRGBDtoolbox.zip",
        "SUNRGBDtoolbox",
        re.compile(r"(?:.*/)?(traintestSUNRGBD/allsplit\.mat|Metadata/SUNRGBDMeta\.mat)"),
        "18d22e1761d36352f37232cba102f91f",
    ),
    Archive(
        "SUNRGBD.zip",
        "SUNRGBD",
        re.compile(
            r"(?:(?:.*/)?SUNRGBD/)?"
            r"(.+/(?:depth/[^/.][^/]*\.png|image/[^/.][^/]*\.jpg|intrinsics\.txt"
            r"|extrinsics/[^/.][^/]*\.txt))"
        ),
    ),
)


@dataclass(frozen=True)
class _Record:
    """An archive. url: None if it was found in the folder. members: None until all are unpacked."""

    url: str | None
    size: int | None = None
    sha256: str | None = None
    members: int | None = None


def download_sunrgbd(
    out: Path, *, url: str = URL, keep_archives: bool = False, progress: Progress | None = None
) -> Download:
    """Fetch and unpack what `out`, or OFFICIAL_SUNRGBD in it, lacks of the official folder.

    Existing files are kept: a folder unpacked by hand, a table, or an archive in `out`. A fetched
    archive is deleted once unpacked, unless `keep_archives`. progress: called with (what, done,
    all).

    Raises:
        InputError: something could not be fetched or is damaged, or there is too little space.
    """
    if (out / "OFFICIAL_SUNRGBD").is_dir():  # as the reader does
        out = out / "OFFICIAL_SUNRGBD"
    tables = [out / name for name in TABLES]
    if _made_by_hand(out):
        return Download(present=sum(path.exists() for path in tables) + len(ARCHIVES))
    records = _read_records(out)
    left = [a for a in ARCHIVES if a.name not in records or records[a.name].members is None]
    there = sum(path.exists() for path in tables) + len(ARCHIVES) - len(left)
    if there == len(tables) + len(ARCHIVES):
        return Download(present=there)
    address = url.rstrip("/") + "/"
    with exclusive(out):
        sizes = [
            fetch(address + t.name, t, check=_check_matlab, progress=_megabytes(t.name, progress))
            for t in tables
        ]
        for archive in left:
            there += (out / archive.name).exists()
            sizes.append(_provide(archive, out, address, records, progress))
            if records[archive.name].url and not keep_archives:
                (out / archive.name).unlink()
    fetched = [size for size in sizes if size]
    return Download(fetched=len(fetched), present=there, bytes=sum(fetched))


def _provide(
    archive: Archive,
    out: Path,
    address: str,
    records: dict[str, _Record],
    progress: Progress | None,
) -> int:
    """Fetch an archive unless it is there, unpack it and record it. Returns the bytes fetched."""
    path = out / archive.name
    if not path.exists():
        records[archive.name] = _Record(address + archive.name)
    record = records.setdefault(archive.name, _Record(None))
    _write_records(
        out, records
    )  # or an interrupted unpacking would look like a folder made by hand
    size = fetch(
        address + archive.name,
        path,
        check=partial(check_zip, wanted=archive.wanted),
        md5=archive.md5,
        room=2.0,  # the unpacked images are as large as the archive
        progress=_megabytes(archive.name, progress),
    )
    count = partial(progress, f"{archive.name}, files") if progress else None
    try:
        members = unpack(path, out / archive.folder, archive.wanted, count)
    except DiskError:
        raise
    except InputError as error:
        remedy = "Delete it, or put a complete one there, and run the same command again."
        if record.url:
            path.unlink()
            remedy = "It was deleted. Run the same command again."
        raise InputError(f"{error}", file=path, kind=Kind.UNREADABLE, remedy=remedy) from None
    records[archive.name] = _Record(record.url, path.stat().st_size, sha256(path), members)
    _write_records(out, records)
    return size


def _made_by_hand(out: Path) -> bool:
    """Whether `out` is an official folder, with at least one frame, that others unpacked."""
    needed = (out / BOXES, out / "SUNRGBDtoolbox" / "traintestSUNRGBD" / "allsplit.mat")
    if (out / RECORD).exists() or not all(path.exists() for path in needed):
        return False
    walk = os.walk(out / "SUNRGBD", followlinks=True)
    return any("depth" in folders and "intrinsics.txt" in files for _, folders, files in walk)


def _read_records(out: Path) -> dict[str, _Record]:
    """The content of `archives.json`. A damaged file has none, so archives are fetched again."""
    try:
        return {name: _Record(**value) for name, value in read_json(out / RECORD).items()}
    except (InputError, AttributeError, TypeError):
        return {}


def _write_records(out: Path, records: dict[str, _Record]) -> None:
    write_json(out / RECORD, {name: asdict(record) for name, record in records.items()})


def _check_matlab(path: Path) -> None:
    with open(path, "rb") as file:
        if not file.read(len(_MATLAB[0])).startswith(_MATLAB):
            raise InputError("it is not a MATLAB file", kind=Kind.UNREADABLE)


def _megabytes(name: str, progress: Progress | None) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(f"{name}, MB", -(-done // 10**6), -(-total // 10**6))
