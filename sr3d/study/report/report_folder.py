"""Write the report's folder: tables, figures, verdicts on the paper's claims, index and page."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sr3d.errors import InputError, Kind
from sr3d.runs.files import write_text
from sr3d.runs.record import NO_RUNS, RUN_FILE
from sr3d.study.report.claim_files import claims_as_csv, claims_as_markdown
from sr3d.study.report.figures import OWN, draw_figures, viewers_in
from sr3d.study.report.findings import SUMMARY_FILE, Findings, ran
from sr3d.study.report.page import Report, ReportPart, render_page
from sr3d.study.report.paper import (
    DATASETS,
    OWN_DATA,
    Paper,
    datasets_of,
    labels_of,
    printed_dataset,
    read_paper,
    settings_of,
)
from sr3d.study.report.tables.cells import lay_out
from sr3d.study.report.tables.filled import collect, external_tables, with_external
from sr3d.study.report.tables.formats import TABLE_FORMATS, escape_markdown, write_table
from sr3d.study.report.verdicts import Judgement, Verdict, judge
from sr3d.validation import did_you_mean

PAGE, CLAIMS = "index.html", "claims"


def write_report(
    results: str | Path,
    paper_file: str | Path,
    out: str | Path,
    names: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    data: Mapping[str, Path] | None = None,
    cited: Collection[str] = (),
) -> list[Path]:
    """Write the whole report on the runs below `results`, and return its files.

    The files are the tables (`write_table`) with those of external detectors, the figures with the
    viewers of their scenes (`draw_figures`), `index.md` of both, `claims.{md,csv}` and
    `index.html`. Each names its missing runs.

    names: tables and figures, by default all. datasets: by default those with results, or without
    any, the paper's. data: data set -> prepared folder, for the points of scenes. cited: settings
    that were not meant to run, see `collect`.

    Raises:
        InputError: no such folder or no run in it, an unknown name, setting or data set, an invalid
            paper file, or an unreadable record.
    """
    paper, out = read_paper(paper_file), Path(out)
    names = _known(paper, names)
    _refuse_unknown(paper, cited)
    if not Path(results).is_dir():
        raise InputError("no such folder of results", file=results, kind=Kind.MISSING)
    marks = (SUMMARY_FILE, f"train*/{RUN_FILE}", f"train*/test*/{RUN_FILE}")
    if not any(any(Path(results).glob(f"*/*/{mark}")) for mark in marks):
        raise InputError("holds no complete run", file=results, kind=Kind.EMPTY, remedy=NO_RUNS)
    found = _findings(Path(results), paper, datasets)
    paper = with_external(paper, found)
    written: list[Path] = []
    parts: list[ReportPart] = []
    uncheckable: list[Judgement] = []
    for findings in found:
        shown = [name for name in names if findings in _shown_on(paper, name, found)]
        tables = [name for name in shown if name in paper.tables]
        tables += [name for name in external_tables(paper, findings) if name not in tables]
        figures = [name for name in shown if name in paper.figures]
        prepared = (data or {}).get(findings.dataset)
        drawn = draw_figures(paper, findings, out, [*figures, *OWN], prepared, cited)
        written += [path for one in drawn for path in one.files()]
        printed = []
        for name in tables:
            filled = collect(findings, paper.tables[name], cited)
            printed.append(lay_out(filled))
            written += write_table(filled, printed[-1], out)
        every = [one for one in judge(paper, findings) if one.claim.of in names]
        judged = (
            []
            if findings.dataset == OWN_DATA
            else [one for one in every if _belongs(one, findings.dataset, found)]
        )
        parts.append(ReportPart(findings, tuple(printed), tuple(judged), tuple(drawn)))
        # This holds for all data sets.
        uncheckable = [one for one in every if one.verdict is Verdict.NOT_CHECKABLE]
    written.append(write_index(out, paper))
    report = Report(paper, tuple(names), tuple(parts), tuple(uncheckable))
    if report.own:
        report = replace(report, cited=())
    for name, text in (
        (f"{CLAIMS}.md", claims_as_markdown(report)),
        (f"{CLAIMS}.csv", claims_as_csv(report)),
        (PAGE, render_page(report)),
    ):
        write_text(out / name, text)
        written.append(out / name)
    return list(dict.fromkeys(written))


def _known(paper: Paper, names: Sequence[str] | None) -> list[str]:
    """The requested tables and figures, in the order of the paper."""
    known = [*paper.tables, *paper.figures]
    for name in names or ():
        if name not in known:
            problem = f"unknown table or figure '{name}'{did_you_mean(name, known)}"
            raise InputError(problem, kind=Kind.UNKNOWN)
    return [name for name in known if names is None or name in names]


def _refuse_unknown(paper: Paper, settings: Collection[str]) -> None:
    known = [*labels_of(paper)]
    for setting in settings:
        if setting not in known:
            problem = f"no table or figure has a setting '{setting}'{did_you_mean(setting, known)}"
            raise InputError(problem, kind=Kind.UNKNOWN)


def _findings(results: Path, paper: Paper, datasets: Sequence[str] | None) -> list[Findings]:
    for dataset in datasets or ():
        printed_dataset(dataset)
    if datasets:
        return [Findings(results, dataset) for dataset in dict.fromkeys(datasets)]
    every = {dataset: Findings(results, dataset) for dataset in DATASETS}
    with_results = [findings for findings in every.values() if ran(findings, paper)]
    return with_results or [every[dataset] for dataset in datasets_of(paper)]


def _shown_on(paper: Paper, name: str, found: Sequence[Findings]) -> list[Findings]:
    """The data sets on which a table or figure is shown.

    These are the paper's data sets for it, or all if it has none here, and all with two rows of it.
    """
    item = paper.tables[name] if name in paper.tables else paper.figures[name]
    of_paper = [findings for findings in found if findings.dataset in item.datasets]
    settings = settings_of(paper, name)
    return [
        findings
        for findings in found
        if findings in (of_paper or found)
        or sum(findings.summary(setting) is not None for setting in settings) > 1
    ]


def _belongs(one: Judgement, dataset: str, found: Sequence[Findings]) -> bool:
    """Whether a verdict is shown for a data set. A claim about other data is shown if it ran."""
    if one.verdict is Verdict.NOT_CHECKABLE:
        return False  # shown once, outside the data sets
    of_paper = any(findings.dataset in one.claim.datasets for findings in found)
    return dataset in one.claim.datasets or not of_paper or one.verdict is not Verdict.NOT_RUN


INDEX = "index.md"
FIGURE_FORMATS = ("svg", "png")


def write_index(out: Path, paper: Paper) -> Path:
    """Write the lists of all tables, and of all figures with the viewers of their scenes."""
    tables = {name: table.title for name, table in paper.tables.items()}
    figures = {name: figure.title for name, figure in paper.figures.items()} | OWN
    lines = ["# Tables", "", "| table | ours on | files |", "| --- | --- | --- |"]
    for title, label, files in _there(out, tables, TABLE_FORMATS):
        lines.append(f"| {title} | {label} | {_links(files)} |")
    drawn = list(_there(out, figures, FIGURE_FORMATS))
    if drawn:
        lines += ["", "# Figures", ""]
        lines += ["| figure | ours on | files | open in 3D |", "| --- | --- | --- | --- |"]
    for title, label, files in drawn:
        stem = Path(files[0]).stem
        viewers = {path.stem.removeprefix(f"{stem}."): path.name for path in viewers_in(out, stem)}
        scenes = ", ".join(f"[{escape_markdown(x)}]({name})" for x, name in viewers.items())
        lines.append(f"| {title} | {label} | {_links(files)} | {scenes} |")
    write_text(out / INDEX, "\n".join(lines) + "\n")
    return out / INDEX


def _there(
    out: Path, titles: dict[str, str], formats: Sequence[str]
) -> Iterator[tuple[str, str, list[str]]]:
    """Title, data and files of each table or figure in the folder."""
    for name, title in titles.items():
        for dataset, printed in DATASETS.items():
            files = [f"{name}_{dataset}.{ending}" for ending in formats]
            if (out / files[0]).is_file():
                yield escape_markdown(title), printed.label, files


def _links(files: Sequence[str]) -> str:
    return ", ".join(f"[{name}]({name})" for name in files)
