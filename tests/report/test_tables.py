"""Printed tables: their cells, marks and notes."""

import shutil

import pandas as pd
import pytest

from sr3d.errors import Kind
from sr3d.study.report.findings import write_summary
from sr3d.study.report.paper import printed_dataset, read_paper
from sr3d.study.report.tables.cells import DELTA, NONE, NOT_RUN
from sr3d.study.report.tables.formats import escape_markdown, tex
from sr3d.study.report.tables.notes import Topic
from sr3d.study.statistics import compare, holm, simultaneous, summarise
from tests import make_runs
from tests.make_runs import SETTINGS, edit, make_tree
from tests.refusals import refuses
from tests.report.plain import print_table, write_tables
from tests.report.printed import note_with, notes_with, numbers_in
from tests.shared_data import ROOT

PAPER = ROOT / "workflow" / "tables.yaml"
NO_RAS = {name: SETTINGS[name] for name in ("baseline", "spota", "sr3d")}
SCANNET, ROOMS = printed_dataset("scannet").label, printed_dataset("synthetic").label


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Table 2 on procedural rooms. `ras` never ran, `spota` has 3 of 4 evaluations, `sr3d` mixes
    configurations.
    """
    folder = tmp_path_factory.mktemp("results")
    make_tree(folder, settings=NO_RAS)
    shutil.rmtree(folder / "synthetic/spota/train1/test1")
    for name in NO_RAS:
        setting = folder / "synthetic" / name
        write_summary(setting, setting / "summary.json", 2, 2)
    edit(folder, "synthetic/sr3d/train1/test1", code={"commit": "f" * 40, "edited": False})
    return folder


@pytest.fixture(scope="module")
def out(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    names = [path.name for path in write_tables(results, PAPER, folder, ["table2"])]
    assert names == [*(f"table2_synthetic.{x}" for x in ("md", "csv", "tex")), "index.md"]
    return folder


def block(text: str, label: str) -> list[dict[str, str]]:
    """The rows of a metric's block of a Markdown table, by column."""
    lines = text.partition(f"## {label}\n\n")[2].partition("\n\n")[0].splitlines()
    cells = [[c.strip().replace("\\", "") for c in line.split("|")[1:-1]] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def row_of(text: str, label: str, metric: str = "AP25 (%)") -> dict[str, str]:
    return next(row for row in block(text, metric) if row["setting"] == label)


def test_markdown_prints_ours_beside_the_papers(out):
    text = (out / "table2_synthetic.md").read_text()
    low, high = summarise([[60.0, 60.1], [61.0, 61.1]]).interval
    assert row_of(text, "Baseline") == {
        "SPOTA": "", "RAS": "", "setting": "Baseline",
        "mean": "60.5",  # 60.55, which Python rounds to even
        "95 % CI": f"[{low:.1f}, {high:.1f}]", "scenes": "±0.0", "runs": "4",
        DELTA: NONE, "p": NONE, "Δ scenes": NONE, "paper": "70.8", "paper's Δ": NONE,
    }  # fmt: skip
    complete = row_of(text, "SR3D")
    assert (complete["SPOTA"], complete["RAS"]) == ("✓", "✓")
    assert (complete["mean"], complete["paper"], complete["paper's Δ"]) == ("63.0", "73.2", "+2.4")
    fifty = row_of(text, "SR3D", "AP50 (%)")
    assert (fifty["mean"], fifty["paper"], fifty["paper's Δ"]) == ("43.0", "58.5", "+2.9")
    assert row_of(text, "SR3D", "latency (ms a scene)")["paper"] == "42"


def test_differences_have_welchs_interval_and_holms_p_over_the_whole_table(results, out):
    text = (out / "table2_synthetic.md").read_text()
    ours = [62.55, 63.55], [60.05, 61.05]
    whole = compare(*ours)
    spota = compare([61.55, 62.5], [60.05, 61.05])  # its second training run lacks an evaluation
    # Two settings against the baseline on two metrics. AP50 is AP25 minus 20.
    adjusted = holm([spota.p_t, whole.p_t] * 2)
    low, high = whole.estimate.interval(simultaneous(4))
    row = row_of(text, "SR3D")
    assert row[DELTA] == f"+2.5 [−{-low:.1f}, +{high:.1f}]"
    assert row["p"] == f"{adjusted[1]:.3f}" != f"{whole.p_t:.3f}"
    assert row_of(text, "+ SPOTA")["p"] == f"{adjusted[0]:.3f}"
    table = print_table(results, PAPER, "table2", "synthetic")
    assert "4" in numbers_in(note_with(table, Topic.DIFFERENCES, "AP25", "AP50"))  # tests


def test_a_p_value_that_decides_what_its_interval_leaves_open_is_marked(tmp_path):
    """Of four tests two are clear. For the others Holm's rule is sharper than Bonferroni's."""
    near = {"baseline": 60.0, "spota": 68.0, "sr3d": 60.3}

    def score(setting, train, test):
        return near[setting] + 0.1 * train

    make_tree(tmp_path, settings=NO_RAS, trainings=5, score=score)
    write_tables(tmp_path, PAPER, tmp_path / "out", ["table2"])
    text = (tmp_path / "out/table2_synthetic.md").read_text()
    row, sure = row_of(text, "SR3D"), row_of(text, "+ SPOTA")
    p = compare([60.3 + 0.1 * i for i in range(5)], [60 + 0.1 * i for i in range(5)]).p_t
    assert p < 0.05 / 2 < 0.05 < 4 * p  # of four, two are sure
    assert row["p"] == f"{2 * p:.3f}*"
    assert sure["p"] == "< 0.001"
    table = print_table(tmp_path, PAPER, "table2", "synthetic")
    assert note_with(table, Topic.DIFFERENCES, "*: ")


def test_a_row_without_results_says_not_run_and_an_incomplete_one_is_marked(results, out):
    text = (out / "table2_synthetic.md").read_text()
    row = row_of(text, "+ RAS")
    assert row["mean"] == NOT_RUN
    assert {row[name] for name in ("95 % CI", "runs", DELTA, "p")} == {NONE}
    assert (row["paper"], row["paper's Δ"]) == ("72.5", "+1.7")
    assert row_of(text, "+ SPOTA")["runs"] == "3 of 4"
    table = print_table(results, PAPER, "table2", "synthetic")
    assert note_with(table, Topic.INCOMPLETE, "'+ SPOTA'", "3 of 4")


def test_a_row_that_ran_without_a_metric_does_not_say_not_run(out):
    text = (out / "table2_synthetic.md").read_text()
    latency = {r["setting"]: r["mean"] for r in block(text, "latency (ms a scene)")}
    assert latency == {"Baseline": NONE, "+ SPOTA": NONE, "+ RAS": NOT_RUN, "SR3D": NONE}


def test_heading_and_note_say_that_procedural_rooms_are_not_scannet(out):
    footnotes = read_paper(PAPER).tables["table2"].footnotes  # algorithms.md 2.13
    for ending, escape in (("md", escape_markdown), ("tex", tex)):
        lines = (out / f"table2_synthetic.{ending}").read_text().splitlines()
        both = [line for line in lines if SCANNET in line and ROOMS in line]
        assert len(both) == 2
        assert all(any(escape(note) in line for line in lines) for note in footnotes)


def test_warnings_become_notes(results):
    table = print_table(results, PAPER, "table2", "synthetic")
    assert note_with(table, Topic.WARNING, "'SR3D'", "0123456789 (5)", "ffffffffff (1)")
    assert note_with(table, Topic.CONFIGURATIONS, "assigner.name, loss.cls")


def test_rows_of_different_origin_are_noted(tmp_path):
    make_tree(tmp_path, settings={"baseline": SETTINGS["baseline"]})
    changes = {"data": {"digest": "other"}, "code": {"commit": "a" * 40}, "device": "cuda"}
    make_tree(tmp_path, settings={"sr3d": []}, **changes)
    table = print_table(tmp_path, PAPER, "table2", "synthetic")
    assert note_with(table, Topic.MIXED_DATA, "00112233445566ff, other")
    assert note_with(table, Topic.MIXED_CODE, "0123456789, aaaaaaaaaa")
    assert note_with(table, Topic.MIXED_DEVICES, "cpu, cuda")


def test_csv_has_the_raw_numbers(out):
    table = pd.read_csv(out / "table2_synthetic.csv").set_index(["metric", "setting"])
    assert len(table) == 12
    sr3d = table.loc[("AP25", "sr3d")]
    expected = summarise([[62.5, 62.6], [63.5, 63.6]])
    assert (sr3d["mean"], sr3d["best"]) == (expected.mean, 63.6)
    assert (sr3d["interval_low"], sr3d["interval_high"]) == expected.interval
    assert (sr3d["runs"], sr3d["trainings"], sr3d["SPOTA"]) == (4, 2, True)
    tested = compare([62.55, 63.55], [60.05, 61.05])
    assert sr3d["difference"] == pytest.approx(2.5)
    assert sr3d[["difference_low", "difference_high"]].tolist() == pytest.approx(tested.interval)
    simultaneous_ = sr3d[["difference_simultaneous_low", "difference_simultaneous_high"]]
    assert simultaneous_.tolist() == pytest.approx(tested.estimate.interval(simultaneous(4)))
    assert sr3d["detectable"] == pytest.approx(tested.detectable)
    assert (sr3d["paper_mean"], sr3d["paper_dataset"]) == (73.2, "scannet")
    assert sr3d["paper_difference_mean"] == pytest.approx(2.4)
    missing = table.loc[("AP50", "ras")]
    assert missing[["mean", "interval_low", "best", "median", "difference", "p_holm"]].isna().all()
    assert missing["runs"] == 0
    assert table["expected_runs"].loc["AP25"].to_dict() == {
        "baseline": 4, "spota": 4, "ras": 25, "sr3d": 4,
    }  # fmt: skip


def test_one_training_has_neither_interval_nor_p(tmp_path):
    make_tree(tmp_path, settings=NO_RAS, trainings=1)
    write_tables(tmp_path, PAPER, tmp_path / "out", ["table2"])
    row = row_of((tmp_path / "out/table2_synthetic.md").read_text(), "SR3D")
    assert (row["mean"], row["95 % CI"], row["runs"]) == ("62.5", "one training", "2 of 25")
    assert (row[DELTA], row["p"]) == ("+2.5", NONE)


def test_trainings_that_do_not_differ_are_not_tested(tmp_path):
    make_tree(tmp_path, settings=NO_RAS, score=lambda setting, i, j: make_runs.LEVEL[setting])
    write_tables(tmp_path, PAPER, tmp_path / "out", ["table2"])
    row = row_of((tmp_path / "out/table2_synthetic.md").read_text(), "SR3D")
    assert (row[DELTA], row["p"]) == ("+2.5", NONE)


def test_scannet_as_the_paper_tests_it_has_no_comparison_note(tmp_path):
    data = {"digest": "d", "scenes": 312, "split": "val"}
    make_tree(tmp_path, "scannet", {"sr3d": []}, data=data)
    table = print_table(tmp_path, PAPER, "table2", "scannet")
    assert table.heading.count(SCANNET) == 1
    assert not notes_with(table, Topic.DATA)
    assert not notes_with(table, Topic.OVERRIDES)


def test_a_few_scans_with_coarse_voxels_are_not_passed_off_as_scannet(tmp_path):
    data = {"digest": "d", "scenes": 2, "split": "train"}
    make_tree(tmp_path, "scannet", {"sr3d": ["model.voxel_size=0.04"]}, 1, 1, data=data)
    table = print_table(tmp_path, PAPER, "table2", "scannet")
    assert table.heading.count(SCANNET) == 2
    for line in (table.heading, note_with(table, Topic.DATA, SCANNET)):
        assert "2" in numbers_in(line)  # scenes
        assert "'train'" in line
    assert note_with(table, Topic.OVERRIDES, "model.voxel_size=0.04")
    assert note_with(table, Topic.INCOMPLETE, "1 of 25")


def test_nothing_run_is_the_papers_table_with_not_run(tmp_path):
    paths = write_tables(tmp_path / "results", PAPER, tmp_path / "out", ["table2"])
    assert paths[0].name == "table2_scannet.md"
    assert paths[0].read_text().count(NOT_RUN) == 12
    assert "[table2_scannet.tex](table2_scannet.tex)" in paths[-1].read_text()


def test_unknown_names_are_input_errors(tmp_path):
    with refuses(Kind.UNKNOWN, mentions=["'tabel2'", "'table2'"]):
        write_tables(tmp_path, PAPER, tmp_path, ["tabel2"])
    with refuses(Kind.UNKNOWN, mentions=["'scanet'", "'scannet'"]):
        write_tables(tmp_path, PAPER, tmp_path, None, ["scanet"])
    with refuses(Kind.MISSING, file=tmp_path / "tables.yaml"):
        write_tables(tmp_path, tmp_path / "tables.yaml", tmp_path)


def test_rows_of_one_configuration_are_told(tmp_path):
    make_tree(tmp_path, settings={"baseline": [], "sr3d": []})
    table = print_table(tmp_path, PAPER, "table2", "synthetic")
    assert note_with(table, Topic.SAME_CONFIGURATION, "'Baseline'", "'SR3D'")
    make_tree(tmp_path / "right")
    table = print_table(tmp_path / "right", PAPER, "table2", "synthetic")
    assert not notes_with(table, Topic.SAME_CONFIGURATION)
