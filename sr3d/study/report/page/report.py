"""What a report consists of, before it becomes a page."""

from __future__ import annotations

from dataclasses import dataclass

from sr3d.study.report.figures import Drawn
from sr3d.study.report.figures.names import names_of
from sr3d.study.report.findings import Findings
from sr3d.study.report.layout import Printed
from sr3d.study.report.paper import (
    DATASETS,
    OWN_DATA,
    Paper,
    Tradeoff,
    printed_dataset,
    settings_of_figure,
)
from sr3d.study.report.verdicts import Judgement


@dataclass(frozen=True)
class Part:
    """Everything on one data set."""

    findings: Findings
    tables: tuple[Printed, ...]
    judged: tuple[Judgement, ...]
    figures: tuple[Drawn, ...]

    @property
    def dataset(self) -> str:
        """The name of the data set."""
        return self.findings.dataset

    @property
    def label(self) -> str:
        """The data set in words."""
        return printed_dataset(self.dataset).label

    @property
    def own(self) -> bool:
        """Whether the data are the user's, on which nothing is compared with the paper."""
        return self.dataset == OWN_DATA


@dataclass(frozen=True)
class Report:
    """The parts, and what is true of all data sets alike.

    names: tables and figures of the paper that the report is on. cited: claims that no run can
    check.
    """

    paper: Paper
    names: tuple[str, ...]
    parts: tuple[Part, ...]
    cited: tuple[Judgement, ...]

    @property
    def own(self) -> bool:
        """Whether the report is about the user's detector and not about the paper."""
        return all(part.own for part in self.parts)


def settings_of(paper: Paper, name: str) -> tuple[str, ...]:
    """The settings that a table or figure shows, each once, in order."""
    if name in paper.tables:
        return paper.tables[name].settings()
    figure = paper.figures[name]
    if isinstance(figure, Tradeoff):
        return paper.tables[figure.table].settings()
    return settings_of_figure(figure)


def title_of(paper: Paper, name: str) -> str:
    """The title of a table or figure."""
    return (paper.tables[name] if name in paper.tables else paper.figures[name]).title


def datasets_of(paper: Paper) -> list[str]:
    """The data sets that the paper has results on."""
    every = [*paper.tables.values(), *paper.figures.values()]
    return [dataset for dataset in DATASETS if any(dataset in item.datasets for item in every)]


def ran(findings: Findings, paper: Paper) -> list[str]:
    """The settings that have results, in the order of the paper's tables, then by name."""
    order = list(names_of(paper).labels)
    there = [name for name in findings.settings() if findings.summary(name) is not None]
    known = sorted((name for name in there if name in order), key=order.index)
    return [*known, *(name for name in there if name not in order)]
