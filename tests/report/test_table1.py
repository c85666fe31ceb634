"""A report on Table 1 with every detector that runs: rows, Fig. 1, claims, headline, cautions."""

from __future__ import annotations

import pytest

from sr3d.settings import read_settings
from sr3d.study.report.figures.style import names_of
from sr3d.study.report.figures.tradeoff import our_points
from sr3d.study.report.findings import Findings
from sr3d.study.report.headline import headline_of
from sr3d.study.report.page.parts import content_of
from sr3d.study.report.paper import Tradeoff, read_paper, settings_of_claim
from sr3d.study.report.tables.cells import CITED, NOT_RUN, lay_out
from sr3d.study.report.tables.filled import collect
from sr3d.study.report.tables.notes import Topic
from sr3d.study.report.verdicts import Verdict, judge
from sr3d.study.report.verdicts.judgement import THIN
from tests.make_runs import edit
from tests.report.figure_trees import make_full_tree
from tests.report.test_page import report_of
from tests.shared_data import ROOT

PAPER = read_paper(ROOT / "workflow" / "tables.yaml")
TABLE = PAPER.tables["table1"]
FIGURE = PAPER.figures["fig1"]
OVERRIDES = {name: read_settings()[name].overrides for name in TABLE.settings()}


@pytest.fixture(scope="module", params=["synthetic", "scannet", "sunrgbd"])
def findings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    folder = tmp_path_factory.mktemp("table1")
    make_full_tree(folder, OVERRIDES, dataset=request.param)
    for i in range(3):
        edit(folder, f"{request.param}/votenet/train{i}", parameters=123_456)
    return Findings(folder, request.param)


def test_every_row_has_our_number_beside_the_papers(findings: Findings) -> None:
    printed = lay_out(collect(findings, TABLE))
    ours = [row.label for row in TABLE.rows if row.setting]
    for metric, block in printed.blocks:
        cells = {line[0]: line[1] for line in block if not isinstance(line, str)}
        assert [label for label in cells if cells[label] != CITED] == ours, metric
        assert NOT_RUN not in cells.values()
    topics = [note.topic for note in printed.notes]
    assert Topic.SAME_CONFIGURATION not in topics
    assert Topic.WARNING not in topics
    assert topics.count(Topic.PAPER_ROW) == sum(
        bool(entry.row.note) for entry in collect(findings, TABLE).entries
    )


def test_every_detector_is_a_point_that_can_be_told_apart(findings: Findings) -> None:
    assert isinstance(FIGURE, Tradeoff)
    points, missing = our_points(FIGURE, TABLE, findings)
    assert ([point.setting for point in points], missing) == ([*OVERRIDES], [])
    looks = {names_of(PAPER).look(point.setting)[:2] for point in points}
    assert len(looks) == len(points)


def test_verdicts_on_thin_networks_of_several_detectors_say_so(findings: Findings) -> None:
    said = {one.claim.id for one in judge(PAPER, findings) if one.why.endswith(THIN)}
    if findings.dataset != "synthetic":  # the published networks
        assert said == set()
        return
    assert said >= {"prior_methods_ap25", "prior_methods_ap50", "sparse_time"}
    assert said >= {f"latency_under_{name}" for name in ("votenet", "3detr", "rbgnet")}
    for name in said:
        assert {*settings_of_claim(PAPER.claims[name])} - {"sr3d", "tr3d"}, name


def test_claims_on_every_detector_are_judged(findings: Findings) -> None:
    judged = {one.claim.id: one for one in judge(PAPER, findings) if one.claim.of in SHOWN}
    for name, one in judged.items():
        if settings_of_claim(one.claim):
            assert one.verdict is not Verdict.NOT_RUN, name
    # In these results each detector is better and slower than the one before it in the table.
    assert judged["prior_methods_ap25"].verdict is Verdict.REPRODUCED
    assert judged["prior_methods_ap50"].verdict is Verdict.REPRODUCED
    for name in judged:
        if name.startswith("latency_under"):
            assert judged[name].verdict is Verdict.NOT_REPRODUCED, name
    assert judged["sparse_time"].verdict is Verdict.NOT_REPRODUCED


SHOWN = ("table1", "fig1")


def test_the_headline_is_about_sr3d_and_its_baseline(findings: Findings) -> None:
    found = headline_of(findings, names_of(PAPER).labels)
    assert (found.setting, found.over) == ("sr3d", "baseline")
    assert found.difference == pytest.approx(2.0)


def test_thin_networks_of_all_families_are_told_with_their_sizes(findings: Findings) -> None:
    report = report_of(findings.results, findings.dataset, names=SHOWN)
    (section,) = content_of(report)
    told = [text for text in section.cautions if f"{123_456:,}" in text]
    assert len(told) == (findings.dataset == "synthetic")
    assert all(f"{1_234_567:,}" in text for text in told)
