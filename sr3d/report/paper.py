"""The paper's tables, read from `workflow/tables.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sr3d.config import did_you_mean
from sr3d.errors import InputError
from sr3d.report.summary import METRICS

STATISTICS = ("best", "mean", "median")
Values = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class Row:
    """One line of a table: a setting, and paper[data set][metric][statistic]."""

    setting: str
    label: str
    ticks: tuple[str, ...]
    paper: Values


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper.

    dataset, statistic, trainings, tests: what the paper's values are. reference: the setting that
    differences are taken to. components: columns that rows tick.
    """

    name: str
    title: str
    source: str
    metrics: tuple[str, ...]
    dataset: str
    statistic: str
    trainings: int
    tests: int
    reference: str
    components: tuple[str, ...]
    rows: tuple[Row, ...]
    footnotes: tuple[str, ...]


@dataclass(frozen=True)
class PrintedDataset:
    """How a data set is called in print; scenes: how many the paper tests on it, if it does."""

    label: str
    scenes: int | None = None


@dataclass(frozen=True)
class Paper:
    """All tables and the data sets that they may be printed for."""

    tables: dict[str, PaperTable]
    datasets: dict[str, PrintedDataset]

    def table(self, name: str) -> PaperTable:
        """The table of that name.

        Raises:
            InputError: there is none.
        """
        if name not in self.tables:
            raise InputError(f"unknown table '{name}'{did_you_mean(name, list(self.tables))}")
        return self.tables[name]

    def dataset(self, name: str) -> PrintedDataset:
        """The data set of that name.

        Raises:
            InputError: there is none.
        """
        if name not in self.datasets:
            raise InputError(f"unknown data set '{name}'{did_you_mean(name, list(self.datasets))}")
        return self.datasets[name]

    def tables_of(self, setting: str) -> list[str]:
        """Names of the tables with a row of that setting."""
        return [t.name for t in self.tables.values() if setting in {r.setting for r in t.rows}]


def read_paper(tables_file: str | Path) -> Paper:
    """Read and check `tables.yaml`.

    Raises:
        InputError: missing, not YAML, or an entry that is unknown, absent or of the wrong kind.
    """
    path = Path(tables_file)
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    top = _entries(value, str(path), {"datasets": dict, "tables": dict})
    datasets = {}
    for name, entry in top["datasets"].items():
        known = _entries(entry, f"{path}: datasets.{name}", {"label": str}, {"scenes": int})
        datasets[name] = PrintedDataset(**known)
    paper = Paper(
        tables={n: _table(n, t, f"{path}: tables.{n}") for n, t in top["tables"].items()},
        datasets=datasets,
    )
    for table in paper.tables.values():
        paper.dataset(table.dataset)
    return paper


def _table(name: str, value: Any, where: str) -> PaperTable:
    required = {"title": str, "source": str, "metrics": list, "paper": dict, "reference": str}
    optional = {"components": list, "footnotes": list}
    entry = _entries(value, where, required | {"rows": list}, optional)
    for metric in entry["metrics"]:
        _one_of(metric, METRICS, f"{where}.metrics")
    counts = {"dataset": str, "statistic": str, "trainings": int, "tests": int}
    paper = _entries(entry.pop("paper"), f"{where}.paper", counts)
    _one_of(paper["statistic"], STATISTICS, f"{where}.paper.statistic")
    components = tuple(entry.pop("components", []))
    rows = tuple(
        _row(row, components, f"{where}.rows[{i}]") for i, row in enumerate(entry.pop("rows"))
    )
    _one_of(entry["reference"], [row.setting for row in rows], f"{where}.reference")
    return PaperTable(
        name=name,
        title=entry["title"],
        source=entry["source"],
        metrics=tuple(entry["metrics"]),
        **paper,
        reference=entry["reference"],
        components=components,
        rows=rows,
        footnotes=tuple(entry.get("footnotes", [])),
    )


def _row(value: Any, components: tuple[str, ...], where: str) -> Row:
    entry = _entries(value, where, {"setting": str, "label": str, "paper": dict}, {"ticks": list})
    for tick in entry.get("ticks", []):
        _one_of(tick, components, f"{where}.ticks")
    for dataset, metrics in entry["paper"].items():
        for metric, statistics in _entries(metrics, f"{where}.paper.{dataset}").items():
            here = f"{where}.paper.{dataset}.{metric}"
            _one_of(metric, METRICS, here)
            for statistic, number in _entries(statistics, here).items():
                _one_of(statistic, STATISTICS, here)
                if isinstance(number, bool) or not isinstance(number, int | float):
                    raise InputError(f"{here}.{statistic}: expected a number, got '{number}'")
    return Row(entry["setting"], entry["label"], tuple(entry.get("ticks", [])), entry["paper"])


def _entries(
    value: Any,
    where: str,
    required: Mapping[str, type] | None = None,
    optional: Mapping[str, type] | None = None,
) -> dict[str, Any]:
    """The value as a mapping; with `required`, of exactly these entries and kinds."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected a mapping, got '{value}'")
    if required is None:
        return value
    kinds = {**required, **(optional or {})}
    for name, item in value.items():
        _one_of(name, list(kinds), where)
        if not isinstance(item, kinds[name]):
            raise InputError(f"{where}.{name}: expected {kinds[name].__name__}, got '{item}'")
    for name in required:
        if name not in value:
            raise InputError(f"{where}: '{name}' is missing")
    return dict(value)


def _one_of(value: Any, known: tuple[str, ...] | list[str], where: str) -> None:
    if value not in known:
        raise InputError(f"{where}: unknown '{value}'{did_you_mean(str(value), list(known))}")
