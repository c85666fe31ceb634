"""Relative links of the README and of docs/ lead to files, and to headings where they say so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, PAGES, ROOT, anchors, prose

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<img [^>]*src=\"([^\"]+)\"")


def links(text: str) -> Iterator[str]:
    """Addresses of links and pictures that lead to files here."""
    for address, picture in _LINK.findall(prose(text)):
        if not re.match(r"[a-z]+:", address or picture):
            yield address or picture


def missing(page: Path) -> list[str]:
    """Links of a page that lead nowhere."""
    text = page.read_text(encoding="utf-8")
    lost = []
    for link in links(text):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            lost.append(link)
    return lost


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    assert missing(page) == []


def test_the_table_of_contents_has_every_page() -> None:
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in links(text)}
    pages = {page.resolve() for page in DOCS.rglob("*.md")} - {(DOCS / "README.md").resolve()}
    assert pages <= linked


def test_every_picture_is_shown_somewhere() -> None:
    shown = {
        (page.parent / link).resolve()
        for page in PAGES
        for link in links(page.read_text(encoding="utf-8"))
    }
    assert {path.resolve() for path in (DOCS / "images").iterdir()} <= shown


def test_lost_files_and_headings_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A heading: with `code`, twice\n\n# Twice\n\n# Twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](other.md) [b](gone.md) [c](other.md#a-heading-with-code-twice) [d](#here)\n"
        "[e](other.md#twice-1) [f](other.md#gone) [g](https://example.org/x) `[h](not_a_link.md)`\n"
        '![p](gone.png) <img width="9" src="other.png">\n\n    [i](indented.md)\n'
    )
    assert missing(page) == ["gone.md", "other.md#gone", "gone.png", "other.png"]
