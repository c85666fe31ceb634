"""The page's lists for one data set: verdicts, gaps, and every single value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sr3d.study.report.figures import ReportFigure
from sr3d.study.report.figures.style import Names, names_of
from sr3d.study.report.findings import Findings, ran
from sr3d.study.report.paper import METRICS, PARAMETERS, Paper, settings_of, title_of
from sr3d.study.report.tables.cells import PrintedTable
from sr3d.study.report.verdicts import Judgement, Verdict, count
from sr3d.study.report.verdicts.judgement import VERDICTS


@dataclass(frozen=True)
class VerdictMark:
    """The look of a verdict: a symbol, so that colour is never the only sign, and a style class."""

    symbol: str
    css: str


MARKS = {
    Verdict.REPRODUCED: VerdictMark("✓", "yes"),
    Verdict.DIRECTION_ONLY: VerdictMark("↗", "part"),
    Verdict.NOT_REPRODUCED: VerdictMark("✗", "no"),
    Verdict.INCONCLUSIVE: VerdictMark("?", "open"),
    Verdict.NOT_RUN: VerdictMark("○", "absent"),
    Verdict.NOT_CHECKABLE: VerdictMark("–", "cited"),
}


@dataclass(frozen=True)
class Group:
    """Claims of one table or figure with the same verdict."""

    of: str
    title: str
    judged: tuple[Judgement, ...]


@dataclass(frozen=True)
class Verdicts:
    """The claims with one verdict."""

    verdict: Verdict
    mark: VerdictMark
    word: str
    meaning: str
    count: int
    groups: tuple[Group, ...]

    @property
    def folded(self) -> bool:
        """Whether the page collapses them, because they are not about results."""
        return self.verdict in (Verdict.NOT_RUN, Verdict.NOT_CHECKABLE)


def by_verdict(paper: Paper, judged: Sequence[Judgement], place: str = "") -> tuple[Verdicts, ...]:
    """The verdicts that occur, the most informative first. place: the data of the judgements."""
    counts = count(judged)
    return tuple(
        Verdicts(
            verdict=verdict,
            mark=mark,
            word=VERDICTS[verdict].word,
            meaning=VERDICTS[verdict].meaning.format(place),
            count=counts[verdict],
            groups=_groups(paper, judged, verdict),
        )
        for verdict, mark in MARKS.items()
        if counts[verdict]
    )


def _groups(paper: Paper, judged: Sequence[Judgement], verdict: Verdict) -> tuple[Group, ...]:
    groups: dict[str, list[Judgement]] = {}
    for one in judged:
        if one.verdict is verdict:
            groups.setdefault(one.claim.of, []).append(one)
    return tuple(Group(of, title_of(paper, of), tuple(some)) for of, some in groups.items())


@dataclass(frozen=True)
class MissingSettings:
    """Settings as (name, label) that a table or figure names but that have no results."""

    title: str
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class IncompleteSetting:
    """A setting with fewer runs than planned."""

    setting: str
    label: str
    have: str


@dataclass(frozen=True)
class Gaps:
    """The missing results on one data set.

    named, ran: settings that the report requests, and those among them with results. elsewhere:
    named settings as (name, label) that do not apply to these data and count in neither. undrawn:
    figures by their titles, with the missing parts.
    """

    named: int
    ran: int
    absent: tuple[MissingSettings, ...]
    elsewhere: tuple[tuple[str, str], ...]
    incomplete: tuple[IncompleteSetting, ...]
    undrawn: tuple[tuple[str, tuple[str, ...]], ...]


def gaps_of(
    paper: Paper,
    findings: Findings,
    tables: Sequence[PrintedTable],
    figures: Sequence[ReportFigure],
) -> Gaps:
    """Compare the settings that a data set's report names with the settings that have results."""
    names = [*(table.name for table in tables), *(figure.name for figure in figures)]
    shown = [name for name in names if _of_paper(paper, name)]
    named = dict.fromkeys(s for name in shown for s in settings_of(paper, name))
    without = [s for s in named if findings.summary(s) is None]
    foreign = {
        row.setting
        for table in paper.tables.values()
        for row in table.rows
        if not row.belongs_on(findings.dataset)
    }
    elsewhere = [s for s in without if s in foreign]
    absent = [s for s in without if s not in elsewhere]
    called = names_of(paper)
    return Gaps(
        named=len(named) - len(elsewhere),
        ran=len(named) - len(without),
        absent=_absent(paper, shown, absent, called),
        elsewhere=tuple((s, called.label(s)) for s in elsewhere),
        incomplete=_incomplete(paper, findings, called),
        undrawn=tuple((f.title, tuple(f.missing)) for f in figures if f.missing),
    )


def _of_paper(paper: Paper, name: str) -> bool:
    return name in paper.tables or name in paper.figures


def _absent(
    paper: Paper, shown: list[str], absent: list[str], names: Names
) -> tuple[MissingSettings, ...]:
    """By table and figure, each setting where it is first named."""
    listed_before, found = set[str](), []
    for name in shown:
        new = [s for s in settings_of(paper, name) if s in absent and s not in listed_before]
        listed_before |= set(new)
        if new:
            found.append(
                MissingSettings(title_of(paper, name), tuple((s, names.label(s)) for s in new))
            )
    return tuple(found)


def _incomplete(paper: Paper, findings: Findings, names: Names) -> tuple[IncompleteSetting, ...]:
    """Settings with fewer evaluations than planned or, without a plan, than in the paper."""
    found = []
    for setting in ran(findings, paper):
        summary = findings.summary(setting) or {}
        tables = [table for table in paper.tables.values() if setting in table.settings()]
        wanted = (summary["expected"] or {}).get("runs") or max(
            (table.trainings * table.tests for table in tables), default=0
        )
        have = summary["runs"]
        if have < wanted or not have:
            text = f"{have} of {wanted} evaluations" if wanted else "no evaluation"
            found.append(IncompleteSetting(setting, names.label(setting), text))
    return tuple(found)


NONE = "–"


@dataclass(frozen=True)
class Values:
    """One metric, with a row per setting.

    trainings: number of columns of values. rows: setting, label, then the cells: mean, median and
    best, standard deviations between and within training runs, and the evaluations of each training
    run.
    """

    metric: str
    label: str
    trainings: int
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]


def values_of(findings: Findings, settings: Sequence[str], names: Names) -> tuple[Values, ...]:
    """All metrics with values."""
    return tuple(
        found
        for metric in METRICS
        if metric != PARAMETERS
        and (found := _values(findings, settings, names, metric)) is not None
    )


def _values(
    findings: Findings, settings: Sequence[str], names: Names, metric: str
) -> Values | None:
    scored = [s for s in settings if findings.metric(s, metric)]
    if not scored:
        return None
    most = max(len(findings.values(s, metric)) for s in scored)
    rows = tuple((s, names.label(s), _cells(findings, s, metric, most)) for s in scored)
    return Values(metric, METRICS[metric].label, most, rows)


def _cells(findings: Findings, setting: str, metric: str, trainings: int) -> tuple[str, ...]:
    found = findings.metric(setting, metric) or {}
    names = ("mean", "median", "best", "sd_between", "sd_within")
    if not METRICS[metric].has_best:
        found = {**found, "best": None}  # for times and distances the highest is not the best
    values = findings.values(setting, metric)
    columns = ["  ".join(_number(metric, value) for value in row) for row in values]
    none = [NONE] * (trainings - len(columns))
    return (*(_number(metric, found.get(name)) for name in names), *columns, *none)


def _number(metric: str, value: float | None) -> str:
    """A number with one digit more than in tables."""
    return NONE if value is None else f"{value:.{METRICS[metric].digits + 1}f}"
