"""What was not run, or not to its end: nobody should have to infer it from empty cells."""

from __future__ import annotations

from dataclasses import dataclass

from sr3d.study.report.figures.names import Names, names_of
from sr3d.study.report.findings import Findings
from sr3d.study.report.page.report import Part, ran, settings_of, title_of
from sr3d.study.report.paper import Paper


@dataclass(frozen=True)
class Absent:
    """Settings, as (name, label), that a table or figure names and that have no results."""

    title: str
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Incomplete:
    """A setting that lacks runs of those that were planned."""

    setting: str
    label: str
    have: str


@dataclass(frozen=True)
class Gaps:
    """What is missing on one data set.

    named, ran: settings that the report asks for, and those of them with results. elsewhere: those
    that it names and that are none of these data, as (name, label); they count in neither. undrawn:
    figures by their titles, with what they lack.
    """

    named: int
    ran: int
    absent: tuple[Absent, ...]
    elsewhere: tuple[tuple[str, str], ...]
    incomplete: tuple[Incomplete, ...]
    undrawn: tuple[tuple[str, tuple[str, ...]], ...]


def gaps_of(paper: Paper, part: Part) -> Gaps:
    """Compare what the part shows with what has results."""
    names = [*(table.name for table in part.tables), *(figure.name for figure in part.figures)]
    shown = [name for name in names if _of_paper(paper, name)]
    named = dict.fromkeys(s for name in shown for s in settings_of(paper, name))
    without = [s for s in named if part.findings.summary(s) is None]
    foreign = {
        row.setting
        for table in paper.tables.values()
        for row in table.rows
        if not row.belongs_on(part.dataset)
    }
    elsewhere = [s for s in without if s in foreign]
    absent = [s for s in without if s not in elsewhere]
    called = names_of(paper)
    return Gaps(
        named=len(named) - len(elsewhere),
        ran=len(named) - len(without),
        absent=_absent(paper, shown, absent, called),
        elsewhere=tuple((s, called.label(s)) for s in elsewhere),
        incomplete=_incomplete(paper, part.findings, called),
        undrawn=tuple((f.title, tuple(f.missing)) for f in part.figures if f.missing),
    )


def _of_paper(paper: Paper, name: str) -> bool:
    return name in paper.tables or name in paper.figures


def _absent(paper: Paper, shown: list[str], absent: list[str], names: Names) -> tuple[Absent, ...]:
    """By table and figure, each setting where it is first named."""
    told, found = set[str](), []
    for name in shown:
        new = [s for s in settings_of(paper, name) if s in absent and s not in told]
        told |= set(new)
        if new:
            found.append(Absent(title_of(paper, name), tuple((s, names.label(s)) for s in new)))
    return tuple(found)


def _incomplete(paper: Paper, findings: Findings, names: Names) -> tuple[Incomplete, ...]:
    """Settings with fewer tests than planned or, where no plan is known, than the paper has."""
    found = []
    for setting in ran(findings, paper):
        summary = findings.summary(setting) or {}
        tables = [table for table in paper.tables.values() if setting in table.settings()]
        wanted = (summary["expected"] or {}).get("runs") or max(
            (table.trainings * table.tests for table in tables), default=0
        )
        have = summary["runs"]
        if have < wanted or not have:
            text = f"{have} of {wanted} tests" if wanted else "no test"
            found.append(Incomplete(setting, names.label(setting), text))
    return tuple(found)
