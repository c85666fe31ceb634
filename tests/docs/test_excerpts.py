"""Code that pages show of a file of the project is in that file, letter by letter."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT, excerpts

SHOWN = [(page, *shown) for page in PAGES for shown in excerpts(page.read_text(encoding="utf-8"))]


def test_the_page_on_detectors_shows_every_file_of_its_example() -> None:
    shown = {name for page, name, _ in SHOWN if page == DOCS / "extending" / "detector.md"}
    family = ROOT / "sr3d" / "detectors" / "votenet"
    assert {p.relative_to(ROOT).as_posix() for p in family.glob("[a-z]*.py")} <= shown


@pytest.mark.parametrize(
    ("page", "name", "parts"), SHOWN, ids=[f"{p.stem}-{i}" for i, (p, *_) in enumerate(SHOWN)]
)
def test_an_excerpt_is_in_its_file(page: Path, name: str, parts: list[str]) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for part in parts:
        begin, found, text = text.partition(part)
        assert found, f"{page.name}: {name} does not contain, in this order:\n{part}"
        assert begin.endswith("\n") or not begin, f"{page.name}: begins within a line:\n{part}"
