"""Reads the claims of `workflow/tables.yaml`."""

from __future__ import annotations

from typing import Any

from sr3d.checked import Checked
from sr3d.report.paper.claims import (
    Cited,
    Claim,
    CurveBelow,
    Difference,
    Equal,
    Highest,
    RatioBelow,
    Trend,
)
from sr3d.report.paper.names import DATASETS, METRICS
from sr3d.report.paper.tables import STATISTICS

_EVERY = ("kind", "of", "says", "where", "datasets", "footnote")
_OWN = {
    "difference": ("metric", "setting", "over", "direction", "paper", "statistic"),
    "highest": ("metric", "setting", "among"),
    "trend": ("metric", "along", "direction", "log"),
    "curve_below": ("metric", "setting", "over"),
    "ratio_below": ("metric", "setting", "over", "limit", "paper"),
    "equal": ("metric", "setting", "over"),
    "cited": ("reason",),
}


def read_claim(name: str, entry: Checked, known: list[str]) -> Claim:
    """One claim; known: the tables and figures that it may belong to.

    Raises:
        InputError: as `read_paper`.
    """
    kind = entry.get("kind").name(list(_OWN))
    entry.only((*_EVERY, *_OWN[kind]))
    every: dict[str, Any] = {
        "id": name,
        "of": entry.get("of").name(known),
        "says": entry.get("says").text(),
        "where": entry.get("where").text(),
        "datasets": entry.get("datasets").names(list(DATASETS)),
        "footnote": entry.get("footnote").text() if entry.has("footnote") else "",
    }
    if kind == "cited":
        return Cited(reason=entry.get("reason").text(), **every)
    every["metric"] = entry.get("metric").name(list(METRICS))
    if kind == "trend":
        return _trend(entry, every)
    every["setting"] = entry.get("setting").text()
    if kind == "highest":
        return _highest(entry, every)
    every["over"] = _another(entry.get("over"), every["setting"])
    if kind == "difference":
        return _difference(entry, every)
    if kind == "ratio_below":
        limit = entry.get("limit").real()
        return RatioBelow(limit=limit, paper=_paper(entry, every["datasets"]), **every)
    return CurveBelow(**every) if kind == "curve_below" else Equal(**every)


def read_points(entry: Checked) -> tuple[tuple[float, str], ...]:
    """A mapping of values to settings, in rising order of the values.

    Raises:
        InputError: no mapping, a value that is not a number, or out of order.
    """
    points = []
    for value, setting in entry.entries().items():
        points.append((Checked(value, entry.where).real(), setting.text()))
        if len(points) > 1 and points[-2][0] >= points[-1][0]:
            raise entry.wrong("values in rising order")
    return tuple(points)


def _difference(entry: Checked, every: dict[str, Any]) -> Difference:
    direction = entry.get("direction").name(("higher", "lower"))
    paper = _paper(entry, every["datasets"])
    sign = 1 if direction == "higher" else -1
    if any(sign * number <= 0 for number in paper.values()):
        raise entry.get("paper").wrong(f"numbers of the direction '{direction}'")
    statistic = entry.get("statistic").name(STATISTICS) if entry.has("statistic") else "mean"
    return Difference(direction=direction, paper=paper, statistic=statistic, **every)


def _highest(entry: Checked, every: dict[str, Any]) -> Highest:
    among = entry.get("among")
    names = among.texts()
    if not names or every["setting"] in names:
        raise among.wrong(f"the other settings, without '{every['setting']}'")
    return Highest(among=names, **every)


def _trend(entry: Checked, every: dict[str, Any]) -> Trend:
    along = entry.get("along")
    points = read_points(along)
    log = entry.get("log").truth() if entry.has("log") else False
    if len(points) < 3:
        raise along.wrong("three settings or more")
    if log and points[0][0] <= 0:
        raise along.wrong("values above zero, for a trend along their logarithm")
    direction = entry.get("direction").name(("falls", "rises"))
    return Trend(along=points, direction=direction, log=log, **every)


def _another(entry: Checked, setting: str) -> str:
    if entry.text() == setting:
        raise entry.wrong("another setting")
    return entry.text()


def _paper(entry: Checked, datasets: tuple[str, ...]) -> dict[str, float]:
    """The paper's numbers of a claim, on data sets that it is made for."""
    if not entry.has("paper"):
        return {}
    numbers = entry.get("paper").only(datasets).entries()
    return {dataset: number.real() for dataset, number in numbers.items()}
