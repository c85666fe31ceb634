"""Tables of detectors that sr3d knows by their boxes alone, beside the settings that it ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import Paper, PaperTable, Row, labels_of

# What a user's detector is compared with, where it ran: SR3D and the baselines of the paper.
BESIDE = ("sr3d", "baseline", "tr3d", "fcaf3d")
_METRICS = ("AP25", "AP50")
_NOTE = (
    "sr3d knows this detector by its boxes alone. Its evaluation runs have no training run "
    "here, and sr3d cannot tell how it was trained."
)


def external_settings(findings: Findings) -> list[str]:
    """The settings whose boxes come from files, by name."""
    return [name for name in findings.settings() if _external(findings, name)]


def with_external(paper: Paper, found: Sequence[Findings]) -> Paper:
    """The paper with a table of external detectors for each setting that they are compared with.

    The paper itself where no external detector ran. Each table has the same rows, and differences
    to another one of the settings `BESIDE` that ran; one table without differences, if none did.
    """
    labels: dict[str, str] = {}
    for findings in found:
        for name in external_settings(findings):
            labels.setdefault(name, (findings.summary(name) or {})["external"]["label"])
    if not labels:
        return paper
    known = labels_of(paper)
    beside = [
        name
        for name in BESIDE
        if any(external_settings(f) and f.summary(name) is not None for f in found)
    ]
    rows = tuple(Row(label=known.get(name, name), setting=name, paper={}) for name in beside)
    rows += tuple(
        Row(label=label, setting=name, paper={}, note=_NOTE) for name, label in labels.items()
    )
    references: list[str | None] = [*beside] or [None]
    tables = {
        table.name: table
        for to in references
        if (table := _table(rows, to, known.get(to or "", to or ""))).name not in paper.tables
    }
    return replace(paper, tables={**paper.tables, **tables})


def external_tables(paper: Paper, findings: Findings) -> list[str]:
    """The names of the tables that `with_external` added and that this data set has results for."""
    if not external_settings(findings):
        return []
    there = [name for name in paper.tables if name.startswith("external")]
    return [
        name
        for name in there
        if (to := paper.tables[name].reference) is None or findings.summary(to) is not None
    ]


def _table(rows: tuple[Row, ...], reference: str | None, label: str) -> PaperTable:
    return PaperTable(
        name=f"external_{reference}" if reference else "external",
        title=f"External detectors, differences to {label}" if reference else "External detectors",
        source="",
        datasets=(),
        metrics=_METRICS,
        prints="best_mean",
        trainings=1,
        tests=1,
        reference=reference,
        rows=rows,
    )


def _external(findings: Findings, name: str) -> bool:
    return bool((findings.summary(name) or {}).get("external"))
