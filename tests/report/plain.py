"""Tables alone, without a page, for tests of tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sr3d.errors import InputError, Kind
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import DATASETS, PaperTable, read_paper
from sr3d.study.report.report_folder import write_index
from sr3d.study.report.tables.cells import PrintedTable, lay_out
from sr3d.study.report.tables.filled import collect
from sr3d.study.report.tables.formats import write_table
from sr3d.validation import did_you_mean


def write_tables(
    results: str | Path,
    paper_file: str | Path,
    out: str | Path,
    names: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    cited: Sequence[str] = (),
) -> list[Path]:
    """Write `{table}_{dataset}.{md,csv,tex}` for each, and the index of what lies in `out`.

    names: by default all tables. datasets: by default those with results for the table, or else
    the paper's. cited: see `collect`.

    Raises:
        InputError: unknown table or data set, a bad paper file, or an unreadable record.
    """
    paper = read_paper(paper_file)
    tables, out = paper.tables, Path(out)
    found = {
        dataset: Findings(Path(results), dataset) for dataset in (*DATASETS, *(datasets or ()))
    }
    written = []
    for name in names or tables:
        table = _table(tables, name)
        for dataset in datasets or _with_results(table, found):
            filled = collect(found[dataset], table, cited)
            written += write_table(filled, lay_out(filled), out)
    return [*written, write_index(out, paper)]


def render_text(results: str | Path, paper_file: str | Path, name: str, dataset: str) -> str:
    """One table for a terminal.

    Raises:
        InputError: as `write_tables`.
    """
    return to_text(print_table(results, paper_file, name, dataset))


def print_table(
    results: str | Path, paper_file: str | Path, name: str, dataset: str
) -> PrintedTable:
    """One table with its notes.

    Raises:
        InputError: as `write_tables`.
    """
    table = _table(read_paper(paper_file).tables, name)
    return lay_out(collect(Findings(Path(results), dataset), table))


def _table(tables: dict[str, PaperTable], name: str) -> PaperTable:
    if name not in tables:
        problem = f"unknown table '{name}'{did_you_mean(name, list(tables))}"
        raise InputError(problem, kind=Kind.UNKNOWN)
    return tables[name]


def _with_results(table: PaperTable, found: dict[str, Findings]) -> Sequence[str]:
    """The data sets on which a setting of the table has run, otherwise the paper's."""
    with_results = [
        dataset
        for dataset in DATASETS
        if any(found[dataset].summary(setting) is not None for setting in table.settings())
    ]
    return with_results or table.datasets


def to_text(table: PrintedTable) -> str:
    """Aligned columns for a terminal."""
    rows = [line for _, block in table.blocks for line in block if not isinstance(line, str)]
    every = [table.columns, *rows]
    widths = [max(len(line[i]) for line in every) for i in range(len(table.columns))]
    lines = [table.heading, "", _aligned(table.columns, widths)]
    for label, block in table.blocks:
        lines += [f"{label} ".ljust(sum(widths) + 2 * len(widths) - 2, "─")]
        lines += [x if isinstance(x, str) else _aligned(x, widths) for x in block]
    return "\n".join([*lines, "", *(f"- {note.text}" for note in table.notes)]) + "\n"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip()
