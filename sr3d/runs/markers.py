"""Markers: small files that list the results of a finished job and identify them.

A workflow engine deletes the outputs of a job that it starts again, that failed, or that was
interrupted. So the workflow declares only a marker as the output of a job. The results are beside
it and not declared, so no engine deletes them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sr3d.errors import InputError
from sr3d.runs.files import read_json, sha256, write_json

MARKER = "done.json"  # beside a run's record, if a workflow made the run


def forget_marker(folder: Path) -> bool:
    """Remove the marker of a run with damaged files, so a workflow runs the job again.

    Returns whether there was a marker. Only a workflow writes one.
    """
    marker = folder / MARKER
    existed = marker.exists()
    marker.unlink(missing_ok=True)
    return existed


def write_marker(path: Path, contents: Sequence[Path], sizes: Sequence[Path] = ()) -> None:
    """Write the marker of a finished job, atomically. Call it last.

    contents: results that the marker identifies by digest. sizes: large results that it identifies
    by size.
    """
    facts = {
        **{_name(path, file): {"sha256": sha256(file)} for file in contents},
        **{_name(path, file): {"bytes": file.stat().st_size} for file in sizes},
    }
    write_json(path, {"files": facts})


def marker_holds(path: Path) -> bool:
    """Whether all results of a marker are on the disk and match it."""
    try:
        files = read_json(path)["files"]
        return all(_fits(path.parent / name, fact) for name, fact in files.items())
    except (InputError, OSError, TypeError, KeyError, AttributeError):
        return False


def _fits(file: Path, fact: dict[str, object]) -> bool:
    if "sha256" in fact:
        return sha256(file) == fact["sha256"]
    return file.stat().st_size == fact["bytes"]


def _name(marker: Path, file: Path) -> str:
    """A result's path relative to its marker, so both can move together."""
    return Path(os.path.relpath(file, marker.parent)).as_posix()
