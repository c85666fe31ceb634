"""Numbers of pages that come from a file of results, and the marks that say from which.

A mark stands behind the numbers, in a comment that no reader sees:

    AP25 79.9<!-- from results/published/own_data.json: sr3d.AP25 -->
    88.1 [87.6, 88.6]<!-- from results/published/table2_rooms.csv setting=sr3d metric=AP25: mean,
    interval_low, interval_high -->

It names a file, and for each of the numbers before it, in their order, a value of that file: a path
through JSON, or a column of CSV, where `column=text` selects rows and several rows give their mean.
Values may be multiplied and divided: `seconds.theirs / seconds.ours`, `1000 * seconds.ours`.

`<!-- published by NAME -->` marks numbers of others. `<!-- measured at COMMIT: COMMAND -->` marks
numbers of which no file was kept. COMMIT is the one that printed them first.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from tests.docs.pages import ROOT

_MARK = re.compile(r"<!--\s+from\s+(\S+\.(?:json|csv))((?:\s+\S+=\S+)*):\s*(.*?)\s*-->", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])[+\-−]?\d[\d,]*(?:\.\d+)?")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


@dataclass(frozen=True)
class Marked:
    """A printed number and the value that its mark names."""

    printed: str
    source: str
    value: float

    def agrees(self) -> bool:
        """Whether the value is printed as rounded to the digits that are shown."""
        text = self.printed.replace(",", "").replace("−", "-")
        digits = len(text.partition(".")[2])
        return abs(float(text) - self.value) <= 0.5 * 10.0**-digits * (1 + 1e-9)


def marked(text: str, root: Path = ROOT) -> Iterator[Marked]:
    """All marked numbers of a page."""
    for mark in _MARK.finditer(text):
        name, selection, keys = mark.groups()
        terms = [" ".join(key.split()) for key in keys.split(",")]
        before = _COMMENT.sub("", text[: mark.start()])
        numbers = _NUMBER.findall(before)[-len(terms) :]
        assert len(numbers) == len(terms), f"{mark.group()}: more keys than numbers"
        chosen = dict(item.split("=") for item in selection.split())
        for printed, term in zip(numbers, terms, strict=True):
            yield Marked(printed, f"{name}{selection}: {term}", _value(root / name, chosen, term))


def unmarked_scores(text: str) -> list[str]:
    """Paragraphs and tables that print average precision without any mark; code is left out."""
    blocks = re.split(r"\n\s*\n", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [
        block
        for block in blocks
        if re.search(r"\bAP(25|50)\b", _COMMENT.sub("", block))
        and re.search(r"\d\d\.\d", _COMMENT.sub("", block))
        and not block.startswith("    ")
        and not re.search(r"<!--\s+(from|measured\s+at|published\s+by)\s", block)
    ]


def _value(path: Path, chosen: dict[str, str], term: str) -> float:
    parts = re.split(r" ([*/]) ", term)
    result = _atom(path, chosen, parts[0])
    for sign, part in zip(parts[1::2], parts[2::2], strict=True):
        factor = _atom(path, chosen, part)
        result = result * factor if sign == "*" else result / factor
    return result


def _atom(path: Path, chosen: dict[str, str], key: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", key):
        return float(key)
    if path.suffix == ".json":
        return float(_find(_json(path), key))
    rows = [row for row in _csv(path) if all(row[k] == v for k, v in chosen.items())]
    assert rows, f"{path}: no row with {chosen}"
    return fmean(float(row[key]) for row in rows)


def _find(value: Any, key: str) -> Any:
    """The value at a path of names and places between dots. A name may itself have dots."""
    if not key:
        return value
    if isinstance(value, list):
        place, _, rest = key.partition(".")
        return _find(value[int(place)], rest)
    name = max((n for n in value if f"{key}.".startswith(f"{n}.")), key=len)
    return _find(value[name], key[len(name) + 1 :])


@cache
def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@cache
def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
