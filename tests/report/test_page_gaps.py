"""Settings without runs are named in print. Settings that cannot run do not count as missing."""

import re

from sr3d.study.report.figures.style import names_of
from sr3d.study.report.findings import Findings
from sr3d.study.report.page.overview import Gaps, gaps_of
from sr3d.study.report.paper import read_paper
from sr3d.study.report.tables.cells import lay_out
from sr3d.study.report.tables.filled import collect
from tests.make_runs import make_tree
from tests.report.test_page import page_of
from tests.shared_data import ROOT

PAPER = read_paper(ROOT / "workflow" / "tables.yaml")


def gaps(results, dataset: str, table: str) -> Gaps:
    findings = Findings(results, dataset)
    shown = lay_out(collect(findings, PAPER.tables[table]))
    return gaps_of(PAPER, findings, (shown,), ())


def absent(found: Gaps) -> dict[str, str]:
    return dict(pair for group in found.absent for pair in group.settings)


def test_settings_of_other_data_are_neither_missing_nor_counted(tmp_path):
    make_tree(tmp_path, settings={"sr3d": []}, trainings=1, tests=1)
    rooms = gaps(tmp_path, "synthetic", "open")
    assert rooms.elsewhere == (("boxes_v1", names_of(PAPER).label("boxes_v1")),)
    assert "boxes_v1" not in absent(rooms)
    named = set(PAPER.tables["open"].settings())
    assert absent(rooms).keys() == named - {"boxes_v1", "sr3d"}
    assert (rooms.named, rooms.ran) == (len(named) - 1, 1)
    sunrgbd = gaps(tmp_path, "sunrgbd", "open")
    assert [name for name, _ in sunrgbd.elsewhere] == ["sr3d_augment_tr3d", "baseline_augment_tr3d"]
    assert "boxes_v1" in absent(sunrgbd)
    assert (sunrgbd.named, sunrgbd.ran) == (len(named) - 2, 0)
    assert gaps(tmp_path, "synthetic", "table2").elsewhere == ()


def test_what_ran_all_the_same_counts(tmp_path):
    make_tree(tmp_path, settings={"boxes_v1": []}, trainings=1, tests=1, score=lambda *_: 50.0)
    found = gaps(tmp_path, "synthetic", "open")
    assert (found.elsewhere, found.ran) == ((), 1)
    table = collect(Findings(tmp_path, "synthetic"), PAPER.tables["open"])
    assert "boxes_v1" in {entry.row.setting for entry in table.entries}


def test_the_page_calls_settings_as_figures_do(tmp_path):
    settings = {"sr3d": [], "sr3d_augment_tr3d": ["augment=tr3d"]}
    make_tree(tmp_path, settings=settings, trainings=2, tests=1, score=lambda _, i, j: 50.0 + i)
    page = page_of(tmp_path, names=["open"])
    text, label = page.words(), names_of(PAPER).label
    for setting in settings:
        (made,) = page.texts("id", f"made-{setting}-synthetic")
        assert re.match(rf"{re.escape(f'{label(setting)} {setting}')}: 2\b", made)
    values = next(t for t in page.tables if t and t[0][0] == "setting" and "SD between" in t[0])
    named = [line[0] for line in values[1:]]
    assert named == [f"{label(setting)} {setting}" for setting in settings]
    assert f"{label('rank_image')} rank_image" in text
    assert f"{label('boxes_v1')} boxes_v1" in text
