"""Reads the tables and figures of `workflow/tables.yaml`, and puts the paper together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sr3d.checked import Checked
from sr3d.errors import InputError
from sr3d.study.report.paper.claims import Claim
from sr3d.study.report.paper.figures import Consistency, Figure, Panel, Qualitative, Sweep, Tradeoff
from sr3d.study.report.paper.names import DATASETS, METRICS
from sr3d.study.report.paper.reading_claims import read_claim, read_points
from sr3d.study.report.paper.tables import PRINTS, STATISTICS, PaperTable, Row, Values

_DATASETS, _METRICS = list(DATASETS), list(METRICS)


@dataclass(frozen=True)
class Paper:
    """Everything that `tables.yaml` holds, each by its name, in the order of the file."""

    tables: dict[str, PaperTable]
    figures: dict[str, Figure]
    claims: dict[str, Claim]


def read_paper(path: str | Path) -> Paper:
    """Read and check `tables.yaml`.

    Raises:
        InputError: missing, not YAML, or an entry that is unknown, absent or of the wrong kind.
    """
    whole = Checked.of_file(path).only(("tables", "figures", "claims"))
    tables = {name: _table(name, table) for name, table in whole.get("tables").entries().items()}
    figures = {
        name: _figure(name, figure, list(tables))
        for name, figure in whole.get("figures").entries().items()
    }
    known = [*tables, *figures]
    claims = {
        name: read_claim(name, claim, known)
        for name, claim in whole.get("claims").entries().items()
    }
    return Paper(tables, figures, claims)


def _table(name: str, entry: Checked) -> PaperTable:
    entry.only(
        ("title", "source", "datasets", "metrics", "prints", "trainings", "tests", "reference",
         "components", "rows", "footnotes")
    )  # fmt: skip
    components = entry.get("components").texts() if entry.has("components") else ()
    rows = tuple(_row(row, components) for row in entry.get("rows").items())
    settings = [row.setting for row in rows if row.setting]
    twice = next((s for i, s in enumerate(settings) if s in settings[:i]), None)
    if twice is not None:
        raise InputError(f"{entry.where}.rows: '{twice}' has two rows; leave it one")
    return PaperTable(
        name=name,
        title=entry.get("title").text(),
        source=entry.get("source").text(),
        datasets=entry.get("datasets").names(_DATASETS),
        metrics=entry.get("metrics").names(_METRICS),
        prints=entry.get("prints").name(PRINTS),
        trainings=entry.get("trainings").whole(),
        tests=entry.get("tests").whole(),
        reference=entry.get("reference").name(settings) if entry.has("reference") else None,
        components=components,
        rows=rows,
        footnotes=_footnotes(entry),
    )


def _row(entry: Checked, components: tuple[str, ...]) -> Row:
    entry.only(("setting", "label", "group", "ticks", "only_on", "paper", "note"))
    if not entry.has("setting"):
        entry.get("paper")  # a row of a method that is not run here has at least that
    return Row(
        label=entry.get("label").text(),
        setting=entry.get("setting").text() if entry.has("setting") else None,
        group=entry.get("group").text() if entry.has("group") else "",
        ticks=entry.get("ticks").names(components) if entry.has("ticks") else (),
        only_on=entry.get("only_on").names(_DATASETS) if entry.has("only_on") else (),
        paper=_values(entry.get("paper")) if entry.has("paper") else {},
        note=entry.get("note").text() if entry.has("note") else "",
    )


def _values(entry: Checked) -> Values:
    """The paper's numbers: data set -> metric -> statistic -> number."""
    return {
        dataset: {
            metric: {
                statistic: number.real()
                for statistic, number in numbers.only(STATISTICS).entries().items()
            }
            for metric, numbers in metrics.only(_METRICS).entries().items()
        }
        for dataset, metrics in entry.only(_DATASETS).entries().items()
    }


def _figure(name: str, entry: Checked, tables: list[str]) -> Figure:
    kind = entry.get("kind").name(list(_FIGURES))
    fields, read = _FIGURES[kind]
    entry.only(("kind", "title", "source", "datasets", "footnotes", *fields))
    every = {
        "name": name,
        "title": entry.get("title").text(),
        "source": entry.get("source").text(),
        "datasets": entry.get("datasets").names(_DATASETS),
        "footnotes": _footnotes(entry),
    }
    return read(entry, every, tables)


def _tradeoff(entry: Checked, every: Mapping[str, Any], tables: list[str]) -> Figure:
    x, y = (entry.get(axis).name(_METRICS) for axis in "xy")
    return Tradeoff(table=entry.get("table").name(tables), x=x, y=y, **every)


def _consistency(entry: Checked, every: Mapping[str, Any], tables: list[str]) -> Figure:
    return Consistency(
        settings=entry.get("settings").texts(), top_n=entry.get("top_n").whole(), **every
    )


def _sweep(entry: Checked, every: Mapping[str, Any], tables: list[str]) -> Figure:
    return Sweep(panels=tuple(_panel(panel) for panel in entry.get("panels").items()), **every)


def _panel(entry: Checked) -> Panel:
    entry.only(("parameter", "metrics", "points", "log"))
    return Panel(
        parameter=entry.get("parameter").text(),
        metrics=entry.get("metrics").names(_METRICS),
        points=read_points(entry.get("points")),
        log=entry.get("log").truth() if entry.has("log") else False,
    )


def _qualitative(entry: Checked, every: Mapping[str, Any], tables: list[str]) -> Figure:
    settings = entry.get("settings")
    names = settings.texts()
    if len(names) != 2:
        raise settings.wrong("two settings")
    return Qualitative(
        settings=(names[0], names[1]),
        rule=entry.get("rule").text(),
        count=entry.get("count").whole(),
        **every,
    )


_Read = Callable[[Checked, Mapping[str, Any], list[str]], Figure]
_FIGURES: dict[str, tuple[tuple[str, ...], _Read]] = {
    "tradeoff": (("table", "x", "y"), _tradeoff),
    "consistency": (("settings", "top_n"), _consistency),
    "sweep": (("panels",), _sweep),
    "qualitative": (("settings", "rule", "count"), _qualitative),
}


def _footnotes(entry: Checked) -> tuple[str, ...]:
    return entry.get("footnotes").texts() if entry.has("footnotes") else ()
