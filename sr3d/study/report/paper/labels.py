"""How settings are called in print: as a table's row, a sweep's value, or what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sr3d.study.report.paper.claims import Claim, settings_of_claim
from sr3d.study.report.paper.figures import Sweep, Tradeoff, settings_of_figure
from sr3d.study.report.paper.reading import Paper, read_paper
from sr3d.study.report.paper.tables import PaperTable


def labels_of(paper: Paper) -> dict[str, str]:
    """Every setting with its name in print, in the order of the paper's tables and figures.

    As in the first table that has it, or by its value in a sweep. Rows of our own tables mean
    little without their heading, and have it before them.
    """
    labels: dict[str, str] = {}
    for table in paper.tables.values():
        for row in table.rows:
            heading = f"{row.group}: " if row.group and not table.datasets else ""
            if row.setting:
                labels.setdefault(row.setting, heading + row.label)
    for figure in paper.figures.values():
        for panel in figure.panels if isinstance(figure, Sweep) else ():
            for value, setting in panel.points:
                labels.setdefault(setting, _at(panel.parameter, value))
        for setting in settings_of_figure(figure):
            labels.setdefault(setting, setting)
    return labels


@dataclass(frozen=True)
class Shown:
    """Where a setting is printed: the names of the tables, and its name in print (`labels_of`)."""

    tables: tuple[str, ...]
    label: str


def shown_settings(path: str | Path) -> dict[str, Shown]:
    """Every setting that some table has a row of.

    Raises:
        InputError: as `read_paper`.
    """
    paper = read_paper(path)
    labels = labels_of(paper)
    tables: dict[str, list[str]] = {}
    for table in paper.tables.values():
        for setting in table.settings():
            tables.setdefault(setting, []).append(table.name)
    return {setting: Shown(tuple(names), labels[setting]) for setting, names in tables.items()}


def labels_in(paper: Paper, claim: Claim) -> dict[str, str]:
    """The same, where the claim's own table or figure calls a setting otherwise by its words.

    So a claim about one parameter of a sweep has a value of it for each of its settings, although
    the sweep's default is a value of every parameter.
    """
    return labels_of(paper) | _own(paper, claim)


def _own(paper: Paper, claim: Claim) -> dict[str, str]:
    shown = paper.tables.get(claim.of) or paper.figures.get(claim.of)
    if isinstance(shown, Tradeoff):
        shown = paper.tables[shown.table]
    match shown:
        case PaperTable() if shown.datasets:
            return {row.setting: row.label for row in reversed(shown.rows) if row.setting}
        case Sweep():
            return _values(shown, set(settings_of_claim(claim)))
        case _:
            return {}


def _values(sweep: Sweep, settings: set[str]) -> dict[str, str]:
    """By the values of the parameter that all the settings are along; none if there is no such."""
    for panel in sweep.panels:
        labels = {setting: _at(panel.parameter, value) for value, setting in panel.points}
        if settings <= labels.keys():
            return labels
    return {}


def _at(parameter: str, value: float) -> str:
    return f"{parameter} = {value:g}"
