"""The scenes that a preparation wrote, so that a resumed preparation need not read them again."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from sr3d.data.prepared.manifest import REMEDY
from sr3d.runs.files import with_checksum, without_checksum, write_text, writing


@dataclass(frozen=True)
class Entry:
    """A scene whose points are in the folder.

    stamp: changes with the files that the scene was read from. facts: as in the manifest.
    """

    split: str
    id: str
    stamp: str
    facts: dict[str, Any]
    boxes: list[list[float]]
    labels: list[int]


class Journal:
    """One JSON line per scene, after a line that identifies the preparation and its code.

    Each line has a checksum. Entries of another preparation and damaged lines are ignored, so their
    scenes are read again.
    """

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.path, self.head = path, head
        self.entries: dict[str, Entry] = {}
        self._file: TextIO | None = None
        if path.is_file():
            self._read(path.read_text(encoding="utf-8", errors="replace").splitlines())

    def _read(self, lines: list[str]) -> None:
        if not lines or _value(self.path, lines[0]) != self.head:
            return
        for line in lines[1:]:
            with suppress(TypeError):  # damaged: the line has no value, or an unknown name
                entry = Entry(**_value(self.path, line))  # type: ignore[arg-type]
                self.entries[entry.id] = entry

    def add(self, entry: Entry) -> None:
        """Record a scene. The record survives the end of the process.

        Raises:
            InputError: the disk is full, or the folder cannot be written.
        """
        self.entries[entry.id] = entry
        if self._file is None:
            rows = [self.head, *map(asdict, self.entries.values())]
            write_text(self.path, "".join(map(_line, rows)))
            self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  # for many scenes
            return
        with writing(self.path):
            self._file.write(_line(asdict(entry)))
            self._file.flush()

    def close(self) -> None:
        """Close the file and keep it for a later preparation."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _line(value: dict[str, Any]) -> str:
    return json.dumps(with_checksum(value)) + "\n"


def _value(path: Path, line: str) -> dict[str, Any] | None:
    """The inverse of `_line`. None for a damaged line."""
    try:
        return without_checksum(json.loads(line), path, REMEDY)
    except (ValueError, TypeError, AttributeError):
        return None
