"""Tables with cited rows, groups, times or parameters, our own tables, and their places."""

import dataclasses
from collections.abc import Sequence

import pandas as pd
import pytest

from sr3d.runs.record import read_run, write_run
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import read_paper
from sr3d.study.report.setting_comparisons import HypothesisFamily
from sr3d.study.report.tables.cells import CITED, DELTA, NONE, NOT_RUN, PrintedTable, lay_out
from sr3d.study.report.tables.filled import FilledTable, collect
from sr3d.study.report.tables.notes import Topic
from sr3d.study.statistics import compare
from tests.make_runs import SETTINGS, make_tree
from tests.report.plain import print_table, to_text, write_tables
from tests.report.printed import note_with, notes_with, numbers_in
from tests.report.test_tables import PAPER, SCANNET, block, row_of

LEVEL = {"tr3d": 61.0, "sr3d": 62.5, "bracket": 62.0}
SLOWER = {"tr3d": 1.0, "sr3d": 1.02, "bracket": 1.5}
DATA = {"digest": "d", "scenes": 312, "split": "val"}
TIME = "training time (minutes an epoch)"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two training runs on ScanNet V2 of settings with times, AIC and PCE."""
    folder = tmp_path_factory.mktemp("results")

    def score(setting: str, train: int, test: int) -> float:
        return LEVEL[setting] + train + 0.1 * test

    make_tree(folder, "scannet", {name: [] for name in LEVEL}, score=score, data=DATA)
    for path in folder.rglob("run.json"):
        record = read_run(path)
        slower = SLOWER[record.setting] + 0.001 * record.train
        if record.test is None:
            changes = {"metrics": {"epochs": {"AIC": [0.5, 0.31 * slower], "loss": [2.0, 1.0]}}}
            changes["timings"] = {"seconds_per_epoch": 720 * slower}
        else:
            changes = {"metrics": record.metrics | {"PCE": 0.2 * slower}}
            changes["timings"] = {"latency_ms": 40 * slower}
        gpus = ["RTX 4090"] if record.setting == "tr3d" else ["H100"]
        changes["machine"] = record.machine | {"gpus": gpus}
        write_run(path.parent, dataclasses.replace(record, **changes))
    return folder


@pytest.fixture(scope="module")
def out(results, tmp_path_factory):
    """All tables."""
    folder = tmp_path_factory.mktemp("report")
    write_tables(results, PAPER, folder, cited=["cagroup3d"])
    return folder


def printed(results, name: str) -> PrintedTable:
    return print_table(results, PAPER, name, "scannet")


def test_best_and_mean_are_printed_as_the_paper_prints_them(results, out):
    text = (out / "table1_scannet.md").read_text()
    row = row_of(text, "SR3D")
    assert (row["best (mean)"], row["paper"]) == ("63.6 (63.0)", "74.0 (73.2)")
    assert row["paper's Δ"] == "+1.1 (+1.2)"
    assert row[DELTA].startswith("+1.5 [")
    latency = row_of(text, "SR3D", "latency (ms a scene)")
    assert (latency["best (mean)"], latency["paper"], latency["paper's Δ"]) == ("41", "42", "0")
    assert note_with(printed(results, "table1"), Topic.STATISTICS, "latency (ms a scene)")


def test_cited_rows_keep_the_papers_numbers(results, out):
    text = (out / "table1_scannet.md").read_text()
    row = row_of(text, "CAGroup3D")
    assert (row["best (mean)"], row["95 % CI"], row["runs"]) == (CITED, NONE, NONE)
    assert (row["paper"], row["paper's Δ"]) == ("75.1 (74.5)", "+2.2 (+2.5)")
    assert row_of(text, "VoteNet")["paper"] == "58.6"
    assert row_of(text, "GSDN", "latency (ms a scene)")["paper"] == "49"
    assert row_of(text, "FCAF3D")["best (mean)"] == NOT_RUN
    assert note_with(printed(results, "table1"), Topic.PAPER_ROW, "'BRNet'", "Gupta et al. 2022")
    csv = pd.read_csv(out / "table1_scannet.csv")
    cited = csv[(csv["label"] == "CAGroup3D") & (csv["metric"] == "AP50")].iloc[0]
    assert (cited["paper_best"], cited["paper_mean"], cited["runs"]) == (61.3, 60.3, 0)
    assert cited["setting"] == "cagroup3d"


def groups() -> list[str]:
    """The groups of rows of Table 1."""
    return list(dict.fromkeys(row.group for row in read_paper(PAPER).tables["table1"].rows))


def test_groups_head_their_rows(out):
    labels = [r["setting"] for r in block((out / "table1_scannet.md").read_text(), "AP50 (%)")]
    sparse, dense = groups()
    assert labels[0] == f"**{sparse}**"
    assert labels.index(f"**{dense}**") == labels.index("GSDN") - 1 == 11
    text = (out / "table1_scannet.tex").read_text()
    assert rf"\multicolumn{{8}}{{l}}{{{dense}}} \\" in text


def test_each_metric_has_its_own_digits(out):
    text = (out / "table7_scannet.md").read_text()
    assert row_of(text, "SR3D", TIME)["mean"] == "12.2"  # minutes: 12 × 1.0205 = 12.246
    parameters = row_of(text, "SR3D", "parameters")
    assert (parameters["mean"], parameters["paper"]) == ("1.2M", "14.7M")
    assert (parameters["95 % CI"], parameters["runs"], parameters["p"]) == (NONE, NONE, NONE)
    assert parameters[DELTA] == "0"
    ours = row_of((out / "open_scannet.md").read_text(), "SR3D", "PCE")
    assert ours["mean"] == "0.204"


def test_metrics_of_trainings_count_trainings(results, out):
    text = (out / "table7_scannet.md").read_text()
    assert row_of(text, "SR3D", TIME)["runs"] == "2 of 5"
    assert row_of(text, "SR3D")["runs"] == "4 of 25"
    table = printed(results, "table7")
    assert note_with(table, Topic.INCOMPLETE, "'SR3D'", "2 of 5", "4 of 25")


def test_times_name_their_machines(results):
    for name in ("table1", "table7"):
        assert note_with(printed(results, name), Topic.TIMES, "H100", "RTX 4090")
    assert not notes_with(printed(results, "table3"), Topic.TIMES)


def test_a_table_of_our_own_has_no_column_of_the_papers(results, out):
    text = (out / "open_scannet.md").read_text()
    row = row_of(text, "(1 − r)^β before the whole bracket, τ = 0.1")
    assert list(row) == ["setting", "mean", "95 % CI", "runs", DELTA, "p"]
    assert row[DELTA].startswith("−0.5 [")
    heading = text.splitlines()[0]
    assert heading.startswith(f"# {read_paper(PAPER).tables['open'].title} (")
    assert heading.count(SCANNET) == 1
    assert not notes_with(printed(results, "open"), Topic.PAPER)


def test_accuracy_and_cost_are_adjusted_apart_and_the_note_says_so(results, out):
    accuracy, cost = HypothesisFamily.ACCURACY.value, HypothesisFamily.COST.value
    table = printed(results, "table1")
    note = note_with(table, Topic.DIFFERENCES, "AP25", "AP50", accuracy, "latency", cost)
    assert {"2", "1"} <= set(numbers_in(note))  # tests of accuracy, and of cost
    note = note_with(printed(results, "open"), Topic.DIFFERENCES, "AP25", "AP50", "PCE", "AIC")
    assert "8" in numbers_in(note)
    assert cost not in note
    csv = pd.read_csv(out / "table1_scannet.csv").set_index(["metric", "setting"])
    p = csv["p_holm"].dropna()
    assert len(p) == 3
    for metric, tests in (("AP25", 2), ("latency_ms", 1)):
        means = ([62.55, 63.55], [61.05, 62.05])
        if metric == "latency_ms":
            means = ([40 * 1.02, 40 * 1.021], [40.0, 40 * 1.001])
        assert p[(metric, "sr3d")] == pytest.approx(min(1, tests * compare(*means).p_t))


def test_rows_of_methods_that_cannot_run_are_left_out_where_the_paper_has_no_such_data(tmp_path):
    table = read_paper(PAPER).tables["table1"]
    rows = [
        dataclasses.replace(row, setting=None) if row.label == "GSDN" else row for row in table.rows
    ]
    table = lay_out(
        collect(Findings(tmp_path, "synthetic"), dataclasses.replace(table, rows=tuple(rows)))
    )
    (_, lines), *_ = table.blocks
    shown = {line[0] for line in lines if not isinstance(line, str)}
    assert {"VoteNet", "SR3D"} <= shown
    assert "GSDN" not in shown
    assert numbers_in(note_with(table, Topic.LEFT_OUT)) == ["1"]
    assert "74.0 (73.2)" in to_text(table)


def filled(results, dataset: str, cited: Sequence[str]) -> FilledTable:
    table = read_paper(PAPER).tables["table1"]
    return collect(Findings(results, dataset), table, cited)


def test_settings_that_were_not_meant_to_run_are_cited(results, tmp_path):
    ran = {"sr3d": [], "brnet": []}
    make_tree(tmp_path, "synthetic", ran, trainings=1, tests=1, score=lambda *_: 50.0)
    cited = ["votenet", "brnet"]
    on_rooms = filled(tmp_path, "synthetic", cited)
    shown = {entry.row.label for entry in on_rooms.entries}
    assert "VoteNet" not in shown
    assert {"BRNet", "MLCVNet", "SR3D"} <= shown  # with runs, and with missing runs
    note = note_with(lay_out(on_rooms), Topic.LEFT_OUT, "VoteNet")
    without_setting = len([r for r in on_rooms.table.rows if r.setting is None])
    assert numbers_in(note) == [str(without_setting + 1), "1"]
    (_, lines), *_ = lay_out(filled(results, "scannet", cited)).blocks
    values = {line[0]: line[1] for line in lines if not isinstance(line, str)}
    assert (values["VoteNet"], values["MLCVNet"]) == (CITED, NOT_RUN)


def test_tables_are_printed_where_they_have_results_or_else_where_the_paper_has_them(tmp_path):
    make_tree(tmp_path, settings={"spota": SETTINGS["spota"]}, trainings=1, tests=1)
    names = {path.stem for path in write_tables(tmp_path, PAPER, tmp_path / "out")}
    assert names == {
        "table1_scannet", "table1_sunrgbd", "table2_synthetic", "index",
        *(f"table{i}_scannet" for i in range(3, 8)),
    }  # fmt: skip
