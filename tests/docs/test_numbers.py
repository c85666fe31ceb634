"""Numbers that a page prints from a run are those of the file that the page names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.docs.numbers import Marked, marked, unmarked_scores
from tests.docs.pages import PAGES, ROOT

MORE = [
    ROOT / "benchmarks/README.md",
    ROOT / "sr3d/pretrained/sr3d_rooms/README.md",
]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [*PAGES, *MORE], ids=name)
def test_marked_numbers_are_those_of_their_files(page: Path) -> None:
    found = [*marked(page.read_text(encoding="utf-8"))]
    assert [
        f"{one.printed}: {one.value:.6g} in {one.source}" for one in found if not one.agrees()
    ] == []


@pytest.mark.parametrize("page", [*PAGES, *MORE], ids=name)
def test_every_score_says_where_it_is_from(page: Path) -> None:
    assert unmarked_scores(page.read_text(encoding="utf-8")) == []


def test_there_are_marks() -> None:
    count = sum(len([*marked(page.read_text(encoding="utf-8"))]) for page in PAGES)
    assert count > 100


@pytest.mark.parametrize(
    ("printed", "value", "agrees"),
    [
        ("79.9", 79.872, True),
        ("79.8", 79.872, False),
        ("−0.07", -0.0651, True),
        ("1,303", 1302.6, True),
        ("1,303", 1303.6, False),
        ("+3.7", 3.709, True),
        ("20", 19.56, True),
    ],
)
def test_a_number_agrees_as_rounded(printed: str, value: float, agrees: bool) -> None:
    assert Marked(printed, "", value).agrees() is agrees


def test_marks_read_json_and_csv(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"x": [{"y": 2.0}, {"y": 0.5}]}))
    (tmp_path / "b.csv").write_text("s,m,v\na,p,1\na,p,2\na,q,9\n")
    text = (
        "At 95 %: 1.5 [9.0]<!-- from b.csv s=a m=p: v --> is 2.00 and 4<!-- from a.json: x.0.y,\n"
        "x.0.y / x.1.y --> and 500<!-- from a.json: 1000 * x.1.y -->"
    )
    found = [(one.printed, one.value) for one in marked(text, tmp_path)]
    assert found == [("9.0", 1.5), ("2.00", 2.0), ("4", 4.0), ("500", 500.0)]


def test_scores_without_a_mark_are_found() -> None:
    bare, code = "| AP25 |\n| 88.1 |", "    AP25 88.1"
    text = f"{bare}\n\n{code}\n\nAP25 is a metric.\n\nAP50 1.0<!-- measured at abc: sr3d test -->\n"
    assert unmarked_scores(text) == [bare]
