"""Numbers and notes of printed texts, for tests that must not depend on the wording."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"(?<![\w.])[+−±×]?\d+(?:,\d{3})*(?:\.\d+)?(?![\w%])")


def numbers_in(text: str) -> list[str]:
    """The numbers of a text in their order, as printed with their signs; not those of a name."""
    return _NUMBER.findall(text)


def notes_with(text: str, *mentions: str) -> list[str]:
    """The notes below a table, in text or Markdown, that mention all of these names and numbers."""
    notes = [line.removeprefix("- ") for line in text.splitlines() if line.startswith("- ")]
    return [note for note in notes if all(name in note for name in mentions)]


def note_with(text: str, *mentions: str) -> str:
    """The one note that mentions all of these names and numbers."""
    (note,) = notes_with(text, *mentions)
    return note
