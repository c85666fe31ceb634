"""What tests read from pages of the documentation: blocks of code, new files, headings, links."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXCERPT = re.compile(r"^From `([^`]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LEFT_OUT = re.compile(r"^ *# …\n", re.MULTILINE)
_NEW_FILE = re.compile(r"^New file `([^`]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Page:
    """A page that changes the package: new files by path, diffs, and commands, in their order."""

    files: dict[str, str]
    diffs: list[str]
    commands: list[str]


def read_page(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    return Page(dict(_NEW_FILE.findall(text)), blocks(text, "diff"), blocks(text, "sh"))


def blocks(text: str, language: str) -> list[str]:
    """The contents of all fenced blocks of a language."""
    return [body for name, body in _FENCE.findall(text) if name == language]


def excerpts(text: str) -> list[tuple[str, list[str]]]:
    """Files that a page shows in part, and these parts in order. `# …` stands between them."""
    return [(name, _LEFT_OUT.split(body)) for name, body in _EXCERPT.findall(text)]


def prose(text: str) -> str:
    """A page without its code: fenced blocks, indented ones, and spans."""
    text = _FENCE.sub("", text)
    text = re.sub(r"(?m)^ {4}.*$", "", text)
    return re.sub(r"(`+).*?\1", "", text)


def anchors(text: str) -> set[str]:
    """The names by which headings can be linked to, as GitHub makes them."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", _FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        kept = "".join(c for c in plain if c in " -_" or unicodedata.category(c)[0] in "LN")
        name = kept.replace(" ", "-")
        names.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return names
