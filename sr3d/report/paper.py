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
_REQUIRED = {
    "title": str, "source": str, "paper_dataset": str, "statistic": str, "trainings": int,
    "tests": int, "metrics": list, "reference": str, "rows": list,
}  # fmt: skip
_OPTIONAL = {"components": list, "footnotes": list}
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

    paper_dataset, statistic, trainings, tests: what the paper's values are. reference: the setting
    that differences are taken to. components: columns that rows tick.
    """

    name: str
    title: str
    source: str
    metrics: tuple[str, ...]
    paper_dataset: str
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


DATASETS = {
    "scannet": PrintedDataset("ScanNet V2", 312),
    "sunrgbd": PrintedDataset("SUN RGB-D", 5050),
    "s3dis": PrintedDataset("S3DIS, Area 5"),
    "synthetic": PrintedDataset("procedural rooms"),
    "synthetic_rotated": PrintedDataset("procedural rooms with rotated boxes"),
}


def printed_dataset(name: str) -> PrintedDataset:
    """The data set of that name.

    Raises:
        InputError: there is none.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set '{name}'{did_you_mean(name, list(DATASETS))}")
    return DATASETS[name]


def read_tables(tables_file: str | Path) -> dict[str, PaperTable]:
    """Read and check `tables.yaml`.

    Raises:
        InputError: missing, not YAML, or an entry that is unknown, absent or of the wrong kind.
    """
    path = Path(tables_file)
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; pass workflow/tables.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    tables = _entries(value, str(path))
    return {name: _table(name, table, f"{path}: {name}") for name, table in tables.items()}


def tables_by_setting(tables_file: str | Path) -> dict[str, list[str]]:
    """For each setting, the names of the tables that have a row of it.

    Raises:
        InputError: as `read_tables`.
    """
    found: dict[str, list[str]] = {}
    for table in read_tables(tables_file).values():
        for row in table.rows:
            found.setdefault(row.setting, []).append(table.name)
    return found


def _table(name: str, value: Any, where: str) -> PaperTable:
    entry = _entries(value, where, _REQUIRED, _OPTIONAL)
    for metric in entry["metrics"]:
        _one_of(metric, METRICS, f"{where}.metrics")
    _one_of(entry["statistic"], STATISTICS, f"{where}.statistic")
    _one_of(entry["paper_dataset"], list(DATASETS), f"{where}.paper_dataset")
    components = tuple(entry.get("components", []))
    rows = tuple(_row(row, components, f"{where}.rows[{i}]") for i, row in enumerate(entry["rows"]))
    _one_of(entry["reference"], [row.setting for row in rows], f"{where}.reference")
    entry["metrics"] = tuple(entry["metrics"])
    entry["footnotes"] = tuple(entry.get("footnotes", []))
    return PaperTable(name=name, **(entry | {"rows": rows, "components": components}))


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
