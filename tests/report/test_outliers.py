"""Outliers are named by folder, and latencies of a busy machine are marked."""

import pytest

from sr3d.study.report.findings import Findings
from sr3d.study.report.headline import outliers_of
from sr3d.study.report.paper import read_paper
from sr3d.study.report.tables.cells import lay_out
from sr3d.study.report.tables.filled import collect
from sr3d.study.report.tables.notes import BUSY, Topic
from tests.make_runs import edit, make_tree
from tests.report.test_page import page_of
from tests.shared_data import ROOT


def tree(results, *means):
    make_tree(
        results, settings={"sr3d": []}, trainings=len(means), tests=1,
        score=lambda _, train, test: means[train],
    )  # fmt: skip
    return Findings(results, "synthetic")


@pytest.mark.parametrize(
    ("means", "trainings"),
    [
        ((60.0, 60.5, 61.0, 60.2, 41.0), [4]),
        ((60.0, 80.0, 61.0, 60.2, 60.7), [1]),
        ((60.0, 60.5, 61.0, 60.2, 62.0), []),
        ((60.0, 60.0, 60.0, 60.0, 61.5), []),  # within two points
        ((50.0, 55.0, 60.0, 65.0, 80.0), []),  # siblings differ, too
        ((60.0, 60.1, 20.0), []),  # too few
    ],
)
def test_a_training_run_far_from_its_siblings_is_an_outlier(tmp_path, means, trainings):
    found = outliers_of(tree(tmp_path, *means), "sr3d")
    assert [one.folder for one in found] == [f"synthetic/sr3d/train{i}" for i in trainings]


def test_the_page_names_the_folder(tmp_path):
    tree(tmp_path, 60.0, 60.5, 61.0, 60.2, 41.0)
    named = [a["data-outlier"] for a in page_of(tmp_path).of("li") if "data-outlier" in a]
    assert named == ["synthetic/sr3d/train4"]


@pytest.mark.parametrize(("load", "busy"), [(0.4, False), (0.6, True), (None, False)])
def test_a_latency_of_a_busy_machine_is_marked(tmp_path, load, busy):
    findings = tree(tmp_path, 60.0, 61.0)  # on two cores
    for train in range(2):
        timings = {"latency_ms": 40.0} | ({} if load is None else {"other_load": load})
        edit(tmp_path, f"synthetic/sr3d/train{train}/test0", timings=timings)
    assert findings.summary("sr3d")["busy_tests"] == 2 * busy
    paper = read_paper(ROOT / "workflow" / "tables.yaml")
    table = lay_out(collect(findings, paper.tables["table2"]))
    (row,) = (line for line in table.blocks[2][1] if "SR3D" in line)
    assert row[table.columns.index("mean")] == "40" + BUSY * busy
    assert any(note.topic is Topic.BUSY for note in table.notes) is busy
