"""Every single value behind a mean, with what it varies with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sr3d.study.report.figures.names import Names
from sr3d.study.report.findings import Findings
from sr3d.study.report.paper import METRICS, PARAMETERS

NONE = "–"


@dataclass(frozen=True)
class Values:
    """One metric: a row for each setting.

    trainings: how many columns of values there are. rows: setting, label, then the cells: mean,
    median and best, standard deviations between and within trainings, and the tests of each
    training.
    """

    metric: str
    label: str
    trainings: int
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]


def values_of(findings: Findings, settings: Sequence[str], names: Names) -> tuple[Values, ...]:
    """All metrics that have values."""
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
        found = {**found, "best": None}  # the highest of times or distances is not the best
    values = findings.values(setting, metric)
    columns = ["  ".join(_number(metric, value) for value in row) for row in values]
    none = [NONE] * (trainings - len(columns))
    return (*(_number(metric, found.get(name)) for name in names), *columns, *none)


def _number(metric: str, value: float | None) -> str:
    """One digit more than tables print."""
    return NONE if value is None else f"{value:.{METRICS[metric].digits + 1}f}"
