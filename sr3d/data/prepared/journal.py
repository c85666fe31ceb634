"""The scenes that a preparation wrote, so that the same command need not read them again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from sr3d.files import atomic_path


@dataclass(frozen=True)
class Entry:
    """A scene whose points lie in the folder.

    stamp: tells the files that it was read from apart from changed ones. facts: as in the manifest.
    """

    split: str
    id: str
    stamp: str
    facts: dict[str, Any]
    boxes: list[list[float]]
    labels: list[int]


class Journal:
    """One JSON line a scene, below a line that says what is being prepared and by which code.

    Entries of another preparation count for nothing, and a line that was cut off neither.
    """

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.path, self.head = path, head
        self.entries: dict[str, Entry] = {}
        self._file: TextIO | None = None
        if path.is_file():
            self._read(path.read_text(encoding="utf-8", errors="replace").splitlines())

    def _read(self, lines: list[str]) -> None:
        try:
            if not lines or json.loads(lines[0]) != self.head:
                return
            for line in lines[1:]:
                entry = Entry(**json.loads(line))
                self.entries[entry.id] = entry
        except (ValueError, TypeError):
            return  # cut off where the preparation was

    def add(self, entry: Entry) -> None:
        """Note a scene; it survives the process from here on."""
        self.entries[entry.id] = entry
        if self._file is None:
            with atomic_path(self.path) as temporary:
                rows = [self.head, *map(asdict, self.entries.values())]
                temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
            self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  # for many scenes
            return
        self._file.write(json.dumps(asdict(entry)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Keep the file for the next time."""
        if self._file is not None:
            self._file.close()
            self._file = None
