"""Numbers and notes of printed texts, for tests that must not depend on the wording."""

from __future__ import annotations

import re

from sr3d.study.report.tables.cells import PrintedTable
from sr3d.study.report.tables.notes import Topic

_NUMBER = re.compile(r"(?<![\w.])[+−±×]?\d+(?:,\d{3})*(?:\.\d+)?(?![\w%])")


def numbers_in(text: str) -> list[str]:
    """The numbers of a text in order, with their signs, without numbers in names."""
    return _NUMBER.findall(text)


def notes_with(table: PrintedTable, topic: Topic, *mentions: str) -> list[str]:
    """The notes on a topic below a table that mention all of these names and numbers."""
    texts = [note.text for note in table.notes if note.topic is topic]
    return [text for text in texts if all(name in text for name in mentions)]


def note_with(table: PrintedTable, topic: Topic, *mentions: str) -> str:
    """The one note on a topic that mentions all of these names and numbers."""
    (text,) = notes_with(table, topic, *mentions)
    return text
