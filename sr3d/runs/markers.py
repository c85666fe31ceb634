"""Markers: small files that say which results a finished job left, and how to recognise them.

A workflow engine deletes the outputs of a job that it starts again, that failed, or that was
interrupted. The workflow therefore declares a marker as a job's only output. The results lie beside
it, undeclared, and no engine deletes them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sr3d.errors import InputError
from sr3d.runs.files import read_json, sha256, write_json

MARKER = "done.json"  # beside a run's record, where a workflow made the run


def forget_marker(folder: Path) -> bool:
    """Remove the marker of a run whose files are damaged, so that a workflow makes them again.

    Returns whether there was a marker, which only a workflow writes.
    """
    marker = folder / MARKER
    existed = marker.exists()
    marker.unlink(missing_ok=True)
    return existed


def write_marker(path: Path, contents: Sequence[Path], sizes: Sequence[Path] = ()) -> None:
    """Write the marker of a finished job, atomically; call it last.

    contents: results that the marker recognises by their digest. sizes: large results that it
    recognises by their size.
    """
    facts = {
        **{_name(path, file): {"sha256": sha256(file)} for file in contents},
        **{_name(path, file): {"bytes": file.stat().st_size} for file in sizes},
    }
    write_json(path, {"files": facts})


def marker_holds(path: Path) -> bool:
    """Whether all results that a marker names are on the disk, as it describes them."""
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
    """A result's path from the folder of its marker, so that both can move together."""
    return Path(os.path.relpath(file, marker.parent)).as_posix()
