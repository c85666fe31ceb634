"""The classes of one's own data: as told, or those that labels have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from sr3d.config import did_you_mean
from sr3d.data.own.labels import Label
from sr3d.errors import InputError
from sr3d.runs.files import read_text


def parse_classes(text: str) -> tuple[str, ...]:
    """Of `--classes`: a file with a name a line, or the names with commas between.

    Raises:
        InputError: none, or one twice.
    """
    path = Path(text)
    if path.is_file():
        parts = read_text(path).splitlines()
    elif text.endswith(".txt"):
        raise InputError(f"--classes {text}: no such file; write it, or name the classes a,b,c")
    else:
        parts = text.split(",")
    names = tuple(" ".join(part.split()) for part in parts if part.strip())
    if not names:
        raise InputError(f"--classes {text}: names no class; give a,b,c or a file with one a line")
    if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
        raise InputError(f"--classes: '{twice}' is named twice; name it once")
    return names


def classes_of(labels: Iterable[Label], told: Sequence[str], ignore: bool) -> tuple[str, ...]:
    """The classes told, or else those of the labels, sorted. ignore: whether labels may have
    others, which are then passed over.

    Raises:
        InputError: a label of another class, or no label at all.
    """
    found = {label.name: label for label in reversed(list(labels))}
    if not told:
        if not found:
            raise InputError("no scan has a box; label some, or name the classes with --classes")
        return tuple(sorted(found))
    for name, label in found.items():
        if name not in told and not ignore:
            raise InputError(
                f"{label.where}: unknown class '{name}'{did_you_mean(name, list(told))}; or give "
                "--ignore-unknown to pass over such boxes"
            )
    return tuple(told)


def similar_names(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ by case, blanks, hyphens or underscores alone."""
    groups: dict[str, set[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"[\s_-]+", "", name).casefold(), set()).add(name)
    return [sorted(group) for group in groups.values() if len(group) > 1]
