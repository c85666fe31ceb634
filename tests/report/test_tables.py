"""Tables: what stands beside what, what is marked, and that every format says the same."""

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sr3d.errors import InputError
from sr3d.report.paper import read_tables, tables_by_setting
from sr3d.report.render import tex
from sr3d.report.summary import write_summary
from sr3d.report.tables import render_text, write_tables
from sr3d.stats import summarise
from tests.make_runs import SETTINGS, edit, make_tree
from tests.shared_data import ROOT

TABLES = ROOT / "workflow" / "tables.yaml"
NO_RAS = {name: SETTINGS[name] for name in ("baseline", "spota", "sr3d")}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Table 2 on procedural rooms: `ras` never ran, `spota` has 3 of 4 tests, `sr3d` is mixed."""
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
    names = [path.name for path in write_tables(results, TABLES, folder)]
    assert names == [*(f"table2_synthetic.{x}" for x in ("md", "csv", "tex")), "index.md"]
    return folder


def row_of(text: str, label: str) -> list[str]:
    """The cells of the first Markdown row with that label."""
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines()]
    return next(cells for cells in rows if label in cells)


def test_markdown_prints_ours_beside_the_papers(out):
    text = (out / "table2_synthetic.md").read_text()
    low, high = summarise([[60.0, 60.1], [61.0, 61.1]]).interval
    ours = rf"60.5 \[{low:.1f}, {high:.1f}\]"  # mean 60.55, which Python rounds to even
    assert row_of(text, "Baseline") == [
        "",
        "",
        "Baseline",
        ours,
        "61.1",
        "60.5",
        "4",
        "–",
        "70.8",
        "–",
    ]
    complete = row_of(text, "SR3D")
    assert complete[:3] == ["✓", "✓", "SR3D"]
    assert complete[4:] == ["63.6", "63.0", "4", "+2.5", "73.2", "+2.4"]
    fifty = text.partition("## AP50")[2]
    assert row_of(fifty, "SR3D")[-2:] == ["58.5", "+2.9"]
    assert row_of(fifty, "SR3D")[4] == "43.6"


def test_a_row_without_results_says_not_run_and_an_incomplete_one_is_marked(out):
    text = (out / "table2_synthetic.md").read_text()
    assert row_of(text, "+ RAS")[3:] == ["not run", "–", "–", "–", "–", "72.5", "+1.7"]
    assert row_of(text, "+ SPOTA")[6] == "3 of 4"
    assert "- '+ SPOTA': incomplete, 3 of 4 runs." in text


def test_heading_and_note_say_that_procedural_rooms_are_not_scannet(out):
    for ending in ("md", "tex"):
        text = (out / f"table2_synthetic.{ending}").read_text()
        assert "(ours on procedural rooms, the paper's on ScanNet V2)" in text
        assert (
            "The paper's values are on ScanNet V2, ours are on procedural rooms: "
            "they cannot be compared in absolute terms." in text
        )
        assert "the latter is TR3D's own published average" in text  # algorithms.md 2.13


def test_warnings_become_notes(out):
    text = (out / "table2_synthetic.md").read_text()
    assert (
        "'SR3D': runs of 2 different code commits are mixed: 0123456789 (5), ffffffffff (1)" in text
    )
    assert r"The rows' configurations differ in assigner.name, loss.cls." in text


def test_rows_of_different_origin_are_noted(tmp_path):
    make_tree(tmp_path, settings={"baseline": SETTINGS["baseline"]})
    changes = {"data": {"digest": "other"}, "code": {"commit": "a" * 40}, "device": "cuda"}
    make_tree(tmp_path, settings={"sr3d": []}, **changes)
    text = render_text(tmp_path, TABLES, "table2", "synthetic")
    assert "Rows come from different data: 00112233445566ff, other." in text
    assert "Rows come from different code commits: 0123456789, aaaaaaaaaa." in text
    assert "Rows come from different devices: cpu, cuda." in text


def test_csv_has_the_raw_numbers(out):
    table = pd.read_csv(out / "table2_synthetic.csv").set_index(["metric", "setting"])
    assert len(table) == 8
    sr3d = table.loc[("AP25", "sr3d")]
    expected = summarise([[62.5, 62.6], [63.5, 63.6]])
    assert (sr3d["mean"], sr3d["best"]) == (expected.mean, 63.6)
    assert (sr3d["interval_low"], sr3d["interval_high"]) == expected.interval
    assert (sr3d["runs"], sr3d["trainings"], sr3d["SPOTA"]) == (4, 2, True)
    assert sr3d["difference"] == pytest.approx(2.5)
    assert (sr3d["paper_mean"], sr3d["paper_dataset"]) == (73.2, "scannet")
    missing = table.loc[("AP50", "ras")]
    assert missing[["mean", "interval_low", "best", "median", "difference"]].isna().all()
    assert missing["runs"] == 0
    assert table["expected_runs"].loc["AP25"].to_dict() == {
        "baseline": 4, "spota": 4, "ras": 25, "sr3d": 4,
    }  # fmt: skip


def test_text_says_what_markdown_says(results, out):
    text = render_text(results, TABLES, "table2", "synthetic")
    markdown = (out / "table2_synthetic.md").read_text().replace("\\", "")
    for label in ("Baseline", "+ SPOTA", "+ RAS", "SR3D"):
        line = next(x for x in text.splitlines() if f"{label}  " in x)
        assert line.split() == [word for cell in row_of(markdown, label) for word in cell.split()]


def test_latex_has_one_tabular_with_equal_rows(out):
    lines = (out / "table2_synthetic.tex").read_text().splitlines()
    rows = [line for line in lines if " & " in line]
    assert len(rows) == 9  # the head, and four settings for each metric
    assert {line.count(" & ") for line in rows} == {9}
    assert all(line.endswith(r" \\") for line in rows)
    assert r"$\surd$ & $\surd$ & SR3D & 63." in "\n".join(rows)
    assert r"mean {[}95 \% CI{]}" in rows[0]
    body = "\n".join(lines)
    assert body.isascii()
    for name in ("table*", "tabular", "minipage"):
        assert body.count(rf"\begin{{{name}}}") == body.count(rf"\end{{{name}}}") == 1
    for rule in ("top", "bottom"):
        assert body.count(rf"\{rule}rule") == 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_with_booktabs_alone(out, tmp_path):
    path = out / "table2_synthetic.tex"
    lines = (r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}")
    document = "\n".join([*lines, rf"\input{{{path}}}", r"\end{document}"])
    (tmp_path / "paper.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "Overfull" not in done.stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5 % of #1 for $2", r"a\_b \& 5 \% of \#1 for \$2"),
        (r"{x}\y~^", r"\{x\}\textbackslash{}y\textasciitilde{}\textasciicircum{}"),
        ("[1, −2] × ✓", r"{[}1, $-$2{]} $\times$ $\surd$"),
        ("naïve < Δτ > 东", r"naive $<$ $\Delta$$\tau$ $>$ ?"),
    ],
)
def test_latex_escapes(text, expected):
    assert tex(text) == expected


def test_scannet_as_the_paper_tests_it_has_no_comparison_note(tmp_path):
    data = {"digest": "d", "scenes": 312, "split": "val"}
    make_tree(tmp_path, "scannet", {"sr3d": []}, data=data)
    text = render_text(tmp_path, TABLES, "table2", "scannet")
    assert "ablation of each component (on ScanNet V2)" in text
    assert "cannot be compared" not in text
    assert "depart from SR3D as published" not in text


def test_a_few_scans_with_coarse_voxels_are_not_passed_off_as_scannet(tmp_path):
    data = {"digest": "d", "scenes": 2, "split": "train"}
    make_tree(tmp_path, "scannet", {"sr3d": ["model.voxel_size=0.04"]}, 1, 1, data=data)
    text = render_text(tmp_path, TABLES, "table2", "scannet")
    assert "ours on ScanNet V2, 2 scenes of its split 'train', the paper's on ScanNet V2" in text
    assert "they cannot be compared in absolute terms" in text
    assert "depart from SR3D as published in model.voxel_size=0.04." in text
    assert "62.5 [one training]" in text
    assert "1 of 25" in text


def test_nothing_run_is_the_papers_table_with_not_run(tmp_path):
    paths = write_tables(tmp_path / "results", TABLES, tmp_path / "out", ["table2"])
    assert paths[0].name == "table2_scannet.md"
    assert paths[0].read_text().count("not run") == 8
    assert "[table2_scannet.tex](table2_scannet.tex)" in paths[-1].read_text()


def test_unknown_names_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="did you mean 'table2'"):
        write_tables(tmp_path, TABLES, tmp_path, ["tabel2"])
    with pytest.raises(InputError, match="did you mean 'scannet'"):
        write_tables(tmp_path, TABLES, tmp_path, None, ["scanet"])
    with pytest.raises(InputError, match="no such file"):
        write_tables(tmp_path, tmp_path / "tables.yaml", tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"titel": "x"}, "unknown 'titel'; did you mean 'title'"),
        ({"metrics": ["AP75"]}, "unknown 'AP75'"),
        ({"trainings": "five"}, "trainings: expected int"),
        ({"reference": "sr4d"}, "reference: unknown 'sr4d'"),
        ({"rows": [{"setting": "baseline", "label": "x"}]}, "'paper' is missing"),
        ({"statistic": "average"}, "statistic: unknown 'average'"),
    ],
)
def test_a_bad_tables_file_is_named_with_its_entry(tmp_path: Path, change, words):
    value = yaml.safe_load(TABLES.read_text())
    value["table2"] |= change
    path = tmp_path / "tables.yaml"
    path.write_text(yaml.safe_dump(value))
    with pytest.raises(InputError, match=words) as error:
        read_tables(path)
    assert f"{path}: table2" in str(error.value)


def test_the_papers_table_2():
    rows = {row.setting: row for row in read_tables(TABLES)["table2"].rows}
    values = {
        name: (row.paper["scannet"]["AP25"]["mean"], row.paper["scannet"]["AP50"]["mean"])
        for name, row in rows.items()
    }
    assert values == {
        "baseline": (70.8, 55.6), "spota": (72.3, 57.4), "ras": (72.5, 57.7), "sr3d": (73.2, 58.5),
    }  # fmt: skip
    assert {name: row.ticks for name, row in rows.items()} == {
        "baseline": (), "spota": ("SPOTA",), "ras": ("RAS",), "sr3d": ("SPOTA", "RAS"),
    }  # fmt: skip


def test_tables_by_setting(tmp_path):
    value = yaml.safe_load(TABLES.read_text())
    value["table9"] = value["table2"] | {"rows": [value["table2"]["rows"][0]]}
    path = tmp_path / "tables.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    found = tables_by_setting(path)
    assert found["baseline"] == ["table2", "table9"]
    assert found["sr3d"] == ["table2"]
