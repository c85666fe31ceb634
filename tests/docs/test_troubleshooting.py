"""Each message that docs/troubleshooting.md quotes occurs in the source."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT

SOURCES = [
    *sorted((ROOT / "sr3d").rglob("*.py")),
    *sorted((ROOT / "workflow").rglob("*.smk")),
    *sorted((ROOT / "workflow").glob("*.py")),
]
GAP = "…"


def quoted() -> list[str]:
    """The first column of the tables of messages, where it is a message."""
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    text = text.partition("## Known problems of related projects")[0]
    cells = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    return [cell.removeprefix("| `").removesuffix("`") for cell in cells]


def flat(source: str) -> str:
    """Source text with strings in one piece and a gap for each value that is put in."""
    source = re.sub(r"\{[^{}]*\{[^{}]*\}[^{}]*\}|\{[^{}]*\}", GAP, source)
    return re.sub(r'"\s*\n\s*[fr]?"', "", source)


@cache
def everything() -> str:
    texts = [path.read_text(encoding="utf-8") for path in SOURCES]
    return "\n".join([*map(flat, texts), (ROOT / "Makefile").read_text(encoding="utf-8")])


def occurs(message: str, source: str) -> bool:
    """Whether the pieces between gaps stand in the source in their order, and near each other."""
    pieces = [re.escape(piece) for piece in message.split(GAP) if piece.strip(" :;,.'()")]
    return re.search("[^\n]{0,120}?".join(pieces), source) is not None


@pytest.mark.parametrize("message", quoted())
def test_a_quoted_message_is_in_the_source(message: str) -> None:
    longest = max(message.split(GAP), key=len)
    assert len(longest.strip()) >= 8, "too little text to look up"
    assert occurs(message, everything())


def test_there_are_enough_of_them_and_none_twice() -> None:
    assert len(set(quoted())) == len(quoted()) >= 25


def test_the_search_finds_templates_and_nothing_else(tmp_path: Path) -> None:
    source = flat('raise InputError(\n    f"{path}: no such {kind}; "\n    "make one"\n)')
    assert occurs("…: no such …; make one", source)
    assert not occurs("…: no such …; take one", source)
    assert not occurs("make one; no such …", source)
