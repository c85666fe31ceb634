"""The published runs give the published tables and verdicts, and pages quote them correctly."""

import csv
import importlib.util
import re
import sys
from collections import Counter

import pytest

from sr3d.study.report.paper import read_paper
from sr3d.study.report.verdicts import Verdict
from sr3d.study.report.verdicts.judgement import VERDICTS
from tests.shared_data import ROOT

PUBLISHED = ROOT / "results" / "published"


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("rebuild", PUBLISHED / "rebuild.py")
    rebuild = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "rebuild", rebuild)
        spec.loader.exec_module(rebuild)
        folder = tmp_path_factory.mktemp("published")
        rebuild.main(folder)
    return folder


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def same(ours, theirs):
    """Equal as text, or as numbers up to the last digits."""
    try:
        return float(ours) == pytest.approx(float(theirs), rel=1e-5)
    except ValueError:
        return ours == theirs


def test_the_published_files_are_those_that_the_script_writes(rebuilt):
    names = {path.name for path in rebuilt.iterdir()}
    assert {"claims_rooms.md", "claims_rooms.csv", "table2_rooms.md", "table6_rooms.csv"} <= names
    for name in names:
        if name.endswith(".md"):
            assert (PUBLISHED / name).read_text() == (rebuilt / name).read_text(), name
        else:
            for ours, theirs in zip(rows(PUBLISHED / name), rows(rebuilt / name), strict=True):
                assert ours.keys() == theirs.keys()
                assert all(same(ours[key], theirs[key]) for key in ours), (name, ours)


def test_the_results_page_counts_the_published_verdicts():
    judged = [row for row in rows(PUBLISHED / "claims_rooms.csv") if row["dataset"]]
    counts = Counter(Verdict(row["verdict"]) for row in judged)
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    _, section = text.split("## Verdicts on the paper's claims\n")
    section, *_ = section.split("\n## ")
    told = dict(re.findall(r"^\| (\w[\w ]+?) \| (\d+) \|", section, re.MULTILINE))
    assert {VERDICTS[verdict].word: str(n) for verdict, n in counts.items()} == told
    claims = read_paper(ROOT / "workflow" / "tables.yaml").claims
    assert re.search(rf"\b{len(claims)} claims\b[^.]*\b{len(judged)}\b", text)


def test_the_results_page_quotes_the_published_intervals():
    found = {row["claim"]: row for row in rows(PUBLISHED / "claims_rooms.csv")}
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for claim, metric in (("sr3d_ap25", "AP25"), ("sr3d_ap50", "AP50")):
        numbers = [float(found[claim][n]) for n in ("estimate", *_ENDS)]
        assert "+{:.1f} [{:.1f}, {:.1f}] ".format(*numbers) + metric in text
    value, low, high = (-float(found["pce_below_baseline"][n]) for n in ("estimate", *_ENDS))
    assert value > 0
    assert f" {value:.2f} [{high:.2f}, {low:.2f}]" in text


_ENDS = ("simultaneous_low", "simultaneous_high")
