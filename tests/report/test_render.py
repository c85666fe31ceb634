"""All formats of a printed table have the same content, and LaTeX compiles it."""

import shutil
import subprocess

import pytest

from sr3d.study.report.findings import write_summary
from sr3d.study.report.paper import read_paper
from sr3d.study.report.tables.cells import PrintedTable
from sr3d.study.report.tables.formats import tex, to_latex, to_markdown
from sr3d.study.report.tables.notes import Note, Topic
from tests.make_runs import make_tree
from tests.report.plain import to_text, write_tables
from tests.report.test_tables import PAPER

TABLE = PrintedTable(
    name="table_2",
    dataset="synthetic",
    title="A table",
    heading="A table (on rooms)",
    columns=("RAS", "setting", "mean [CI]"),
    blocks=(
        ("AP25 (%)", (("", "Baseline", "60.5"), "Ours", ("✓", "SR3D *", "[63.0, 64.1]"))),
        ("PCE", (("", "Baseline", "0.100"), "Ours", ("✓", "SR3D *", "not run"))),
    ),
    notes=(Note(Topic.PAPER, "A note of 5 %."), Note(Topic.FOOTNOTE, "Another.")),
)


def test_markdown():
    assert to_markdown(TABLE).splitlines() == [
        "# A table (on rooms)", "",
        "## AP25 (%)", "",
        r"| RAS | setting | mean \[CI\] |",
        "| --- | --- | --- |",
        "|  | Baseline | 60.5 |",
        "|  | **Ours** |  |",
        r"| ✓ | SR3D \* | \[63.0, 64.1\] |", "",
        "## PCE", "",
        r"| RAS | setting | mean \[CI\] |",
        "| --- | --- | --- |",
        "|  | Baseline | 0.100 |",
        "|  | **Ours** |  |",
        r"| ✓ | SR3D \* | not run |", "",
        "- A note of 5 %.",
        "- Another.",
    ]  # fmt: skip


def test_text():
    assert to_text(TABLE).splitlines() == [
        "A table (on rooms)", "",
        "RAS  setting   mean [CI]",
        "AP25 (%) ──────────────────",
        "     Baseline  60.5",
        "Ours",
        "✓    SR3D *    [63.0, 64.1]",
        "PCE ───────────────────────",
        "     Baseline  0.100",
        "Ours",
        "✓    SR3D *    not run", "",
        "- A note of 5 %.",
        "- Another.",
    ]  # fmt: skip


def test_latex():
    lines = to_latex(TABLE).splitlines()
    rows = [line for line in lines if " & " in line]
    assert rows == [
        r"RAS & setting & mean {[}CI{]} \\",
        r" & Baseline & 60.5 \\",
        r"$\surd$ & SR3D {*} & {[}63.0, 64.1{]} \\",
        r" & Baseline & 0.100 \\",
        r"$\surd$ & SR3D {*} & not run \\",
    ]
    body = "\n".join(lines)
    assert body.count(r"\multicolumn{3}{l}{Ours} \\") == 2
    assert rf"\caption{{{TABLE.heading}}}\label{{tab:table-2-synthetic}}" in body
    assert rf"{tex(TABLE.notes[0].text)}\par" in body
    for name in ("table*", "tabular", "minipage"):
        assert body.count(rf"\begin{{{name}}}") == body.count(rf"\end{{{name}}}") == 1
    assert (body.count(r"\toprule"), body.count(r"\midrule"), body.count(r"\bottomrule")) == (
        1,
        2,
        1,
    )


def test_a_long_table_is_several_floats_with_the_notes_in_the_last():
    rows = (("", "Baseline", "60.5"),) * 25
    blocks = (("A", rows[:10]), ("B", rows[:25]), ("C", rows))
    floats = to_latex(
        PrintedTable("t", "d", "Long", "Long", TABLE.columns, blocks, (Note(Topic.PAPER, "Note."),))
    ).split(r"\end{table*}")
    assert [part.count("Baseline") for part in floats] == [35, 25, 0]
    assert ["Note." in part for part in floats] == [False, True, False]
    assert r"\caption{Long}\label{tab:t-d}" in floats[0]
    assert r"\caption{Long, " in floats[1]
    assert r"\label{tab:t-d-2}" in floats[1]


@pytest.fixture(scope="module")
def every_table(tmp_path_factory):
    results, out = tmp_path_factory.mktemp("results"), tmp_path_factory.mktemp("report")
    make_tree(results, "scannet")
    for setting in (results / "scannet").iterdir():
        write_summary(setting, setting / "summary.json", 2, 2)  # with intervals over scenes
    return [path for path in write_tables(results, PAPER, out) if path.suffix == ".tex"]


def test_every_table_is_plain_ascii_with_rows_of_equal_length(every_table):
    # All but the table of other detectors on training scans, none of which these runs have.
    assert len(every_table) == len(read_paper(PAPER).tables) - 1
    for path in every_table:
        body = path.read_text()
        assert body.isascii()
        assert "?" not in body  # what a letter that TeX lacks would become
        counts = {line.count(" & ") for line in body.splitlines() if line.endswith(r" \\")} - {0}
        assert len(counts) == 1, path
        assert body.count("{") == body.count("}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_with_booktabs_alone(every_table, tmp_path):
    lines = [
        r"\documentclass{article}", r"\usepackage{booktabs}", r"\setlength{\textwidth}{6in}",
        r"\begin{document}", *(rf"\input{{{path}}}\clearpage" for path in every_table),
        r"\end{document}",
    ]  # fmt: skip
    (tmp_path / "paper.tex").write_text("\n".join(lines))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "Overfull \\hbox" not in done.stdout


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
