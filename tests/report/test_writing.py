"""The report's files: which are written, on which data sets, and the text of the claims."""

import csv
import io
import json
import re

import pytest

from sr3d.cli import main
from sr3d.errors import Kind
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import CitedClaim, printed_dataset, read_paper, settings_of_claim
from sr3d.study.report.report_folder import write_report
from sr3d.study.report.verdicts import judge
from tests.make_runs import SETTINGS, make_tree
from tests.refusals import refused, refuses
from tests.shared_data import ROOT

TABLES = ROOT / "workflow" / "tables.yaml"
NUMBERS = [
    "estimate", "low", "high", "simultaneous_low", "simultaneous_high", "p_holm_for",
    "p_holm_against", "family",
]  # fmt: skip
TWO = {name: SETTINGS[name] for name in ("baseline", "sr3d")}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    make_tree(folder, settings=TWO, trainings=2, tests=2)
    return folder


def claims(folder) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "claims.csv").read_text())))


def written(results, out, *about, **more) -> list[str]:
    paths = write_report(results, TABLES, out, *about, **more)
    assert all(path.is_file() and path.stat().st_size for path in paths)
    return [path.name for path in paths]


def test_all_files_are_there_and_told(results, tmp_path):
    names = written(results, tmp_path, ["table2", "table5", "fig6"])
    assert len(names) == len(set(names))
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    for table in ("table2", "table5"):
        assert {f"{table}_synthetic.{ending}" for ending in ("md", "csv", "tex")} <= set(names)
    assert {"index.md", "claims.md", "claims.csv", "index.html"} <= set(names)
    assert {"strip_synthetic.svg", "strip_synthetic.png"} <= set(names)
    page = (tmp_path / "index.html").read_text()
    assert 'id="table2-synthetic"' in page
    assert 'id="fig6-synthetic"' in page
    assert 'id="table1-synthetic"' not in page


def test_claims_are_those_of_the_judges(results, tmp_path):
    written(results, tmp_path, ["table2"])
    paper = read_paper(TABLES)
    every = judge(paper, Findings(results, "synthetic"))
    judged = [one for one in every if one.claim.of == "table2"]
    found = claims(tmp_path)
    assert [row["claim"] for row in found] == [one.claim.id for one in judged]
    for row, one in zip(found, judged, strict=True):
        assert (row["kind"], row["verdict"]) == (one.claim.kind, one.verdict.value)
        assert (row["direction"], row["size"]) == (one.direction.value, one.size.value)
        assert (row["paper"], row["ours"], row["why"]) == (one.paper_says, one.ours, one.why)
        assert row["settings"].split() == list(settings_of_claim(one.claim))
        if one.numbers is None:
            assert {row[name] for name in NUMBERS} == {""}
        else:
            (low, high), (lowest, highest) = one.numbers.interval, one.numbers.simultaneous
            values = [one.numbers.value, low, high, lowest, highest]
            values += [one.numbers.p_for, one.numbers.p_against, one.numbers.family]
            assert [float(row[name]) for name in NUMBERS] == pytest.approx(values, rel=1e-5)
    bounds = {row["claim"]: (row["bound"], row["bound_reason"]) for row in found}
    assert bounds["components_latency"] == ("1.05", paper.claims["components_latency"].limit_reason)
    assert bounds["sr3d_ap25"] == ("", "")
    text = (tmp_path / "claims.md").read_text()
    title, rooms = paper.tables["table2"].title, printed_dataset("synthetic").label
    assert any(title in line and rooms in line for line in text.splitlines() if line[:3] == "## ")
    assert text.count("\n| ") == len(judged) + 2  # and the head


def test_a_claim_that_no_run_checks_is_told_once(results, tmp_path):
    make_tree(tmp_path / "runs", dataset="scannet", settings=TWO, trainings=1, tests=1)
    make_tree(tmp_path / "runs", dataset="synthetic", settings=TWO, trainings=1, tests=1)
    written(tmp_path / "runs", tmp_path / "out", ["table3"])
    paper = read_paper(TABLES)
    cited = [c for c in paper.claims.values() if c.of == "table3" and isinstance(c, CitedClaim)]
    rows = [row for row in claims(tmp_path / "out") if row["verdict"] == "not_checkable"]
    assert [(row["claim"], row["dataset"]) for row in rows] == [(c.id, "") for c in cited]


def test_tables_stand_where_the_paper_has_them_and_where_there_is_something(tmp_path):
    runs = tmp_path / "runs"
    make_tree(runs, dataset="scannet", trainings=1, tests=1)
    make_tree(runs, dataset="sunrgbd", settings={"sr3d": []}, trainings=1, tests=1)
    make_tree(runs, dataset="synthetic", settings=TWO, trainings=1, tests=1)
    names = written(runs, tmp_path / "out", ["table2"])
    # SUN RGB-D: one row of a table that the paper has on ScanNet; rooms: two rows to compare
    assert {n for n in names if n.endswith(".tex")} == {
        "table2_scannet.tex", "table2_synthetic.tex",
    }  # fmt: skip
    where = {(row["dataset"], row["verdict"]) for row in claims(tmp_path / "out")}
    assert {dataset for dataset, _ in where} == {"scannet", "synthetic"}
    assert ("synthetic", "not_run") not in where
    page = (tmp_path / "out" / "index.html").read_text()
    headings = dict(re.findall(r'<h3 id="(table2-\w+)-heading">([^<]*)', page))
    assert set(headings) == {"table2-scannet", "table2-synthetic"}
    assert printed_dataset("synthetic").label in headings["table2-synthetic"]


def test_chosen_data_sets_are_shown_even_without_results(results, tmp_path):
    names = written(results, tmp_path, ["table2"], ["scannet", "synthetic"])
    assert {n for n in names if n.endswith(".tex")} == {
        "table2_scannet.tex", "table2_synthetic.tex",
    }  # fmt: skip
    names = written(results, tmp_path / "rooms", ["table2"], ["synthetic_rotated"])
    assert "table2_synthetic_rotated.tex" in names


def test_runs_of_other_data_leave_the_papers_tables_empty(results, tmp_path):
    names = written(results, tmp_path, ["table1", "fig8"], ["scannet", "sunrgbd"])
    assert {"table1_scannet.md", "table1_sunrgbd.md", "index.html"} <= set(names)
    assert {row["verdict"] for row in claims(tmp_path)} == {"not_run", "not_checkable"}
    page = (tmp_path / "index.html").read_text()
    results_of = re.findall(r'<p class="result" data-dataset="(\w+)"( data-setting)?', page)
    assert results_of == [("scannet", ""), ("sunrgbd", "")]  # without a setting that ran


@pytest.mark.parametrize("folder", ["", "synthetic", "synthetic/sr3d", "nowhere"])
@pytest.mark.parametrize("verb", ["report", "track", "summarise"])
def test_a_folder_without_runs_is_refused_and_nothing_is_written(
    results, tmp_path, folder, verb, monkeypatch, capsys
):
    """The folder is empty, missing, or between the results and the runs."""
    monkeypatch.chdir(tmp_path)
    place = results / folder if folder else tmp_path
    if (verb, folder) == ("summarise", "synthetic/sr3d"):
        place = results  # this verb expects a setting's folder
    words = {
        "report": f"report --results {place} --tables {TABLES} --out out",
        "track": f"track --results {place} --store sqlite:///out/mlflow.db --artifacts out/files",
        "summarise": f"summarise {place} --out out/summary.json",
    }
    assert main(words[verb].split()) == 2
    assert str(place) in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_settings_beyond_the_papers_are_shown_too(tmp_path):
    runs = tmp_path / "runs"
    make_tree(runs, settings={"my_own": []}, trainings=1, tests=1, score=lambda *_: 50.0)
    written(runs, tmp_path / "out", ["table2"])
    assert "my_own" in (tmp_path / "out" / "index.html").read_text()


def test_unknown_names_are_refused(results, tmp_path):
    with refuses(Kind.UNKNOWN, mentions=["'tabel2'", "'table2'"]):
        write_report(results, TABLES, tmp_path, ["tabel2"])
    with refuses(Kind.UNKNOWN, mentions=["'skannet'", "'scannet'"]):
        write_report(results, TABLES, tmp_path, None, ["skannet"])
    with refuses(Kind.UNKNOWN, mentions=["'votnet'", "'votenet'"]):
        write_report(results, TABLES, tmp_path, cited=["votnet"])
    assert not list(tmp_path.iterdir())


def test_cited_settings_are_named_by_the_command(results, tmp_path):
    words = f"report --results {results} --tables {TABLES} --out {tmp_path} --table table1"
    assert main([*words.split(), "--cited", "votenet", "mlcvnet"]) == 0
    with (tmp_path / "table1_synthetic.csv").open(encoding="utf-8") as file:
        shown = {row["setting"] for row in csv.DictReader(file)}
    assert shown & {"votenet", "mlcvnet", "brnet"} == {"brnet"}


def test_a_broken_record_is_named(results, tmp_path):
    make_tree(tmp_path / "runs", settings=TWO, trainings=1, tests=1)
    broken = tmp_path / "runs/synthetic/sr3d/train0/run.json"
    broken.write_text(json.dumps({"schema_version": 99}))
    with refuses(file="sr3d/train0/run.json", field="schema_version"):
        write_report(tmp_path / "runs", TABLES, tmp_path / "out")


def test_the_verb_writes_and_prints(results, tmp_path, capsys):
    command = f"report --results {results} --tables {TABLES} --out {tmp_path / 'out'}"
    command += " --table table2 --dataset synthetic"
    assert main(command.split()) == 0
    printed = capsys.readouterr().out.splitlines()
    assert str(tmp_path / "out" / "index.html") in printed
    assert len(printed) == len(list((tmp_path / "out").iterdir()))


@pytest.mark.parametrize("value", ["rooms", "synthetic=", "syntetic=rooms"])
def test_the_verb_refuses_data_that_it_cannot_read(results, tmp_path, value):
    command = f"report --results {results} --tables {TABLES} --out {tmp_path} --data {value}"
    error = refused(command.split())
    assert error.field == "--data"
