"""The paper's tables as data: rows, and what the paper prints in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STATISTICS = ("best", "mean", "median")
PRINTS = ("mean", "best_mean")
Values = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table.

    setting: what we run for it; None for a method that is not run here, whose figures are cited.
    group: the heading that it stands under, or "". ticks: the components that it has.
    only_on: the only data sets that the setting is for, or () for any; on others the row is left
    out. paper: data set -> metric -> statistic -> number. note: what to know of the row, or "".
    """

    label: str
    setting: str | None
    group: str = ""
    ticks: tuple[str, ...] = ()
    only_on: tuple[str, ...] = ()
    paper: Values
    note: str = ""

    def belongs_on(self, dataset: str) -> bool:
        """Whether its setting is one for these data."""
        return not self.only_on or dataset in self.only_on

    def value(self, dataset: str, metric: str, statistic: str) -> float | None:
        """The paper's number, if it has that one."""
        return self.paper.get(dataset, {}).get(metric, {}).get(statistic)


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """One table.

    datasets: where the paper has it; empty for a table of our own. prints: what a cell of the
    paper holds, "mean" or "best_mean" (as in "74.0 (73.2)"). trainings, tests: of the paper's
    protocol. reference: the setting that differences are taken to, if any. components: columns
    that rows tick.
    """

    name: str
    title: str
    source: str
    datasets: tuple[str, ...]
    metrics: tuple[str, ...]
    prints: str
    trainings: int
    tests: int
    reference: str | None
    components: tuple[str, ...] = ()
    rows: tuple[Row, ...]
    footnotes: tuple[str, ...] = ()

    def settings(self) -> tuple[str, ...]:
        """The settings of its rows, each once, in order."""
        return tuple(dict.fromkeys(row.setting for row in self.rows if row.setting))
