"""ScanNet V2 from its publishers: the four files of each scan that detection needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sr3d.data.download.fetch import Download, fetch
from sr3d.data.download.scannet_checks import check_label_map, check_list, check_scan_file
from sr3d.data.download.transfer import DiskError, Session
from sr3d.data.scannet_files import LABEL_MAP, SPLITS, SUFFIXES
from sr3d.errors import InputError, Kind
from sr3d.runs.files import exclusive, write_text

URL = "http://kaldir.vc.cit.tum.de/scannet/"
LISTS_URL = "https://raw.githubusercontent.com/ScanNet/ScanNet/master/Tasks/Benchmark/"
LISTS = {
    SPLITS["train"]: (1201, "96acca299b7855f02824c496b19077904d80996e7ced1bb9f0dac98f7dd4d0c8"),
    SPLITS["val"]: (312, "d75d4971c3fa7128c643695840e279042c212ef904fe933bd00cf9918c61b083"),
}
"""The published lists: scans, and sha256 of their ids with a line end after each."""

MISSING = "missing.txt"
_MOST_AT_A_TIME = 8  # limits the load on a university's server
_ACCEPT_TERMS = (
    "Fill in and sign http://kaldir.vc.cit.tum.de/scannet/ScanNet_TOS.pdf and mail it to "
    "scannet@googlegroups.com. After their reply, set `download.scannet.accept_terms: true` in "
    "config.yaml, or pass --accept-terms. If you have the scans elsewhere, set `raw.scannet` to "
    "their folder."
)


def download_scannet(
    out: Path,
    *,
    accept_terms: bool,
    url: str = URL,
    lists_url: str = LISTS_URL,
    scenes: Sequence[str] | None = None,
    parallel: int = 4,
    progress: Callable[[str, int, int], None] | None = None,
) -> Download:
    """Fetch the label map, the two lists and the scans of the lists into `out`.

    Files that exist are kept, so a complete folder makes no request. A scan that fails does not
    stop the others. `missing.txt` in `out` then names its files and the reasons.
    scenes: only these scans. parallel: the number of scans at a time, at most 8. progress: called
    with ("scans", done, all).

    Raises:
        InputError: the terms are not accepted, or something could not be fetched.
    """
    if parallel < 1:
        raise InputError(
            f"parallel = {parallel}: must be at least 1 scan at a time", kind=Kind.VALUE
        )
    url, lists_url = (address.rstrip("/") + "/" for address in (url, lists_url))
    tables = _tables(out)
    if all(path.exists() for path in tables):
        files = [*tables, *_scan_files(out, tables, scenes)]
        if all(path.exists() for path in files):
            (out / MISSING).unlink(missing_ok=True)
            return Download(present=len(files))
    if not accept_terms:
        raise InputError(
            "ScanNet's terms must be accepted before it is downloaded",
            field="--accept-terms",
            kind=Kind.MISSING,
            remedy=_ACCEPT_TERMS,
        )
    with exclusive(out):
        there = sum(path.exists() for path in tables)
        sizes = _fetch_tables(tables, url, lists_url)
        files = _scan_files(out, tables, scenes)
        there += sum(path.exists() for path in files)
        folders = dict.fromkeys(path.parent for path in files if not path.exists())
        results = _fetch_scans(list(folders), url, parallel, progress)
        sizes += [size for result in results for size in result.sizes]
        _report(out, {path: why for result in results for path, why in result.missing.items()})
    return Download(fetched=len(sizes), present=there, bytes=sum(sizes))


def _tables(out: Path) -> list[Path]:
    """Paths of the label map and the lists, among the places where the reader looks."""
    scans = _scans(out)
    places = (scans.parent, scans.parent / "meta", scans, scans / "meta")
    names = (LABEL_MAP, *LISTS)
    found = {name: [place / name for place in places if (place / name).exists()] for name in names}
    return [found[name][0] if found[name] else out / name for name in names]


def _scans(out: Path) -> Path:
    """The folder of the scans: `scans`, unless `out` itself has some already."""
    apart = out / "scans"
    return out if not apart.is_dir() and any(out.glob("scene????_??")) else apart


def _scan_files(out: Path, tables: Sequence[Path], scenes: Sequence[str] | None) -> list[Path]:
    """The four files of each scan of the lists, or of `scenes`."""
    lists = [path.read_text(encoding="utf-8").split() for path in tables[1:]]
    listed = [scene for ids in lists for scene in ids]
    chosen = listed if scenes is None else scenes
    if strange := sorted(set(chosen) - set(listed)):
        raise InputError(
            f"{strange[0]}: in neither of ScanNet's lists",
            kind=Kind.UNKNOWN,
            remedy="Correct the name.",
        )
    scans = _scans(out)
    return [scans / s / (s + suffix) for s in dict.fromkeys(chosen) for suffix in SUFFIXES]


def _fetch_tables(tables: Sequence[Path], url: str, lists_url: str) -> list[int]:
    """Fetch the missing tables and return their sizes."""
    label_map, *lists = tables
    with Session() as session:
        sizes = [
            fetch(f"{url}v2/tasks/{LABEL_MAP}", label_map, check=check_label_map, session=session)
        ]
        for path in lists:
            count, sha256 = LISTS[path.name]
            check = partial(check_list, count=count, sha256=sha256)
            sizes.append(fetch(lists_url + path.name, path, check=check, session=session))
    return [size for size in sizes if size]


@dataclass(frozen=True)
class _Result:
    """The sizes of the fetched files of a scan, or the reason for each missing file."""

    sizes: list[int]
    missing: dict[Path, str]


def _fetch_scans(
    folders: Sequence[Path],
    url: str,
    parallel: int,
    progress: Callable[[str, int, int], None] | None,
) -> list[_Result]:
    """Fetch several scans at a time. An interruption or a full disk ends the transfers soon."""
    stop = threading.Event()
    results = []
    with ThreadPoolExecutor(min(parallel, _MOST_AT_A_TIME)) as pool:
        jobs = [pool.submit(_fetch_scan, folder, url, stop) for folder in folders]
        try:
            for job in as_completed(jobs):
                results.append(job.result())
                if progress:
                    progress("scans", len(results), len(jobs))
        finally:
            stop.set()  # running jobs end at their next bytes, waiting ones at once
    return results


def _fetch_scan(folder: Path, url: str, stop: threading.Event) -> _Result:
    """Fetch a scan. The first failure ends it, since its other files are then seldom available."""
    files = [folder / (folder.name + suffix) for suffix in SUFFIXES]
    sizes = []
    with Session() as session:
        for path in files:
            source = f"{url}v2/scans/{folder.name}/{path.name}"
            check = partial(check_scan_file, target=path)
            try:
                sizes.append(fetch(source, path, check=check, session=session, stop=stop))
            except DiskError:
                raise
            except InputError as error:
                why = dict.fromkeys(files, f"not fetched after {path.name} failed")
                why[path] = str(error)
                return _Result([], {path: why[path] for path in files if not path.exists()})
    return _Result([size for size in sizes if size], {})


def _report(out: Path, missing: Mapping[Path, str]) -> None:
    """Write `missing.txt`, or remove it where nothing is missing.

    Raises:
        InputError: something is missing.
    """
    if not missing:
        (out / MISSING).unlink(missing_ok=True)
        return
    lines = [f"{path.relative_to(out)}\t{why}\n" for path, why in sorted(missing.items())]
    write_text(out / MISSING, "".join(lines))
    scans = sorted({path.parent.name for path in missing})
    raise InputError(
        f"{len(scans)} scans lack files ({', '.join(scans[:3])}{', …' if len(scans) > 3 else ''})",
        file=out,
        kind=Kind.MISSING,
        remedy=f"{out / MISSING} gives the reasons. Run the same command again to resume.",
    )
