"""Folders as dictionaries: each file's path and content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def times(folder: Path) -> dict[str, int]:
    """When each file and folder in it was last changed."""
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}
