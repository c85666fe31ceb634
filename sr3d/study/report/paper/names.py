"""Printed names of data sets, metrics and settings, and the format of numbers."""

from __future__ import annotations

from dataclasses import dataclass

from sr3d.errors import InputError, Kind
from sr3d.study.report.paper.contents import (
    Claim,
    Paper,
    PaperTable,
    Sweep,
    settings_of_claim,
    settings_of_figure,
)
from sr3d.validation import did_you_mean

MINUS = "−"


@dataclass(frozen=True)
class PrintedDataset:
    """A data set's printed name. scenes: on which the paper evaluates, None if it does not."""

    label: str
    scenes: int | None = None


OWN_DATA = "own"  # the data set of the user's scans, on which the paper says nothing
DATASETS = {
    "scannet": PrintedDataset("ScanNet V2", 312),
    "sunrgbd": PrintedDataset("SUN RGB-D", 5050),
    "s3dis": PrintedDataset("S3DIS, Area 5"),
    "synthetic": PrintedDataset("procedural rooms"),
    "synthetic_rotated": PrintedDataset("procedural rooms with rotated boxes"),
    "own": PrintedDataset("own scans"),
}


@dataclass(frozen=True)
class PrintedMetric:
    """The format of a metric.

    label: with its unit. digits: decimal places. of_trainings: whether there is one number per
    training run instead of one per evaluation. has_best: whether the best of several runs is
    meaningful.
    """

    label: str
    digits: int
    of_trainings: bool = False
    has_best: bool = False


PARAMETERS = "parameters"
METRICS = {
    "AP25": PrintedMetric("AP25 (%)", 1, has_best=True),
    "AP50": PrintedMetric("AP50 (%)", 1, has_best=True),
    "PCE": PrintedMetric("PCE", 3),
    "AIC": PrintedMetric("AIC of the last epoch", 3, of_trainings=True),
    "latency_ms": PrintedMetric("latency (ms a scene)", 0),
    "minutes_per_epoch": PrintedMetric("training time (minutes an epoch)", 1, of_trainings=True),
    PARAMETERS: PrintedMetric("parameters", 0, of_trainings=True),
}


def printed_dataset(name: str) -> PrintedDataset:
    """The data set of that name.

    Raises:
        InputError: an unknown name.
    """
    if name not in DATASETS:
        problem = f"unknown data set '{name}'{did_you_mean(name, list(DATASETS))}"
        raise InputError(problem, kind=Kind.UNKNOWN)
    return DATASETS[name]


def number(metric: str, value: float) -> str:
    """A value in the format of the metric: 73.2, 0.123, 42, 14.7M."""
    text = _digits(metric, abs(value))
    return MINUS + text if value < 0 and not _is_zero(text) else text


def signed(metric: str, value: float) -> str:
    """A difference with its sign, without a sign if it rounds to zero."""
    text = number(metric, value)
    return text if value < 0 or _is_zero(text) else f"+{text}"


def _is_zero(text: str) -> bool:
    return not any(letter in text for letter in "123456789")


def _digits(metric: str, value: float) -> str:
    if metric == PARAMETERS:
        return f"{value / 1e6:.1f}M" if abs(value) >= 1e5 else f"{value:,.0f}"
    return f"{value:.{METRICS[metric].digits}f}"


def labels_of(paper: Paper) -> dict[str, str]:
    """Every setting with its printed name, in the order of the paper's tables and figures.

    The name is the label of the first row with the setting, otherwise the value in a sweep. The
    paper's tables come before its sweeps, and our own tables come last. Names of rows in our own
    tables include the heading above the row. A row with another label adds this name in
    parentheses: "RAS (SR3D)".
    """
    labels: dict[str, str] = {}
    for table in (table for table in paper.tables.values() if table.datasets):
        _label_rows(labels, table)
    for figure in paper.figures.values():
        for panel in figure.panels if isinstance(figure, Sweep) else ():
            for value, setting in panel.points:
                labels.setdefault(setting, _at(panel.parameter, value))
        for setting in settings_of_figure(figure):
            labels.setdefault(setting, setting)
    for table in (table for table in paper.tables.values() if not table.datasets):
        _label_rows(labels, table)
    return labels


def _label_rows(labels: dict[str, str], table: PaperTable) -> None:
    for row in table.rows:
        heading = f"{row.group}: " if row.group and not table.datasets else ""
        if row.setting:
            labels.setdefault(row.setting, heading + row.label)


def datasets_of(paper: Paper) -> list[str]:
    """The data sets on which the paper has results."""
    every = [*paper.tables.values(), *paper.figures.values()]
    return [dataset for dataset in DATASETS if any(dataset in item.datasets for item in every)]


@dataclass(frozen=True)
class PrintedSetting:
    """The tables in which a setting is printed, and its printed name (`labels_of`)."""

    tables: tuple[str, ...]
    label: str


def shown_settings(paper: Paper) -> dict[str, PrintedSetting]:
    """Every setting with a row in a table."""
    labels = labels_of(paper)
    tables: dict[str, list[str]] = {}
    for table in paper.tables.values():
        for setting in table.settings():
            tables.setdefault(setting, []).append(table.name)
    return {
        setting: PrintedSetting(tuple(names), labels[setting]) for setting, names in tables.items()
    }


def labels_in(paper: Paper, claim: Claim) -> dict[str, str]:
    """The names of `labels_of`. A claim about a sweep adds the values: "SR3D (τ = 0.1)".

    The values are of the parameter along which all settings of the claim lie, because the default
    is a value of every parameter.
    """
    labels = labels_of(paper)
    shown = paper.figures.get(claim.of)
    if not isinstance(shown, Sweep):
        return labels
    values = _values(shown, set(settings_of_claim(claim)))
    return labels | {
        setting: at if labels[setting] == at else f"{labels[setting]} ({at})"
        for setting, at in values.items()
    }


def _values(sweep: Sweep, settings: set[str]) -> dict[str, str]:
    """Setting -> value of the parameter along which all settings lie. Empty if there is none."""
    for panel in sweep.panels:
        labels = {setting: _at(panel.parameter, value) for value, setting in panel.points}
        if settings <= labels.keys():
            return labels
    return {}


def _at(parameter: str, value: float) -> str:
    return f"{parameter} = {value:g}"
