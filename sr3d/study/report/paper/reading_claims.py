"""Reads the claims of `workflow/tables.yaml`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sr3d.checked import Checked
from sr3d.study.report.paper.claims import (
    Amount,
    AtMost,
    Cited,
    Claim,
    CurveBelow,
    Difference,
    Equal,
    Equivalence,
    Highest,
    Trend,
)
from sr3d.study.report.paper.names import DATASETS, METRICS
from sr3d.study.report.paper.tables import STATISTICS

SCALES = ("difference", "ratio")
_EVERY = ("kind", "of", "says", "where", "datasets", "footnote")
_PAIR = ("metric", "setting", "over")
_OWN = {
    Difference.kind: (*_PAIR, "direction", "paper"),
    Amount.kind: (*_PAIR, "direction", "paper", "statistic"),
    Equivalence.kind: (*_PAIR, "scale", "margin", "margin_reason", "paper"),
    AtMost.kind: (*_PAIR, "limit", "limit_reason", "paper"),
    Highest.kind: ("metric", "setting", "among"),
    Trend.kind: ("metric", "along", "direction", "log"),
    CurveBelow.kind: _PAIR,
    Equal.kind: _PAIR,
    Cited.kind: ("reason",),
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
    if kind == Cited.kind:
        return Cited(reason=entry.get("reason").text(), **every)
    every["metric"] = entry.get("metric").name(list(METRICS))
    if kind == Trend.kind:
        return _trend(entry, every)
    every["setting"] = entry.get("setting").text()
    if kind == Highest.kind:
        return _highest(entry, every)
    every["over"] = _another(entry.get("over"), every["setting"])
    return _PAIRS[kind](entry, every)


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
    return Difference(**_directed(entry, every), **every)


def _amount(entry: Checked, every: dict[str, Any]) -> Amount:
    entry.get("paper")  # the number that the words state
    statistic = entry.get("statistic").name(STATISTICS) if entry.has("statistic") else "mean"
    return Amount(statistic=statistic, **_directed(entry, every), **every)


def _directed(entry: Checked, every: dict[str, Any]) -> dict[str, Any]:
    """Direction and the paper's numbers, whose sign agrees with it."""
    direction = entry.get("direction").name(("higher", "lower"))
    paper = _paper(entry, every["datasets"])
    sign = 1 if direction == "higher" else -1
    if any(sign * number <= 0 for number in paper.values()):
        raise entry.get("paper").wrong(f"numbers of the direction '{direction}'")
    return {"direction": direction, "paper": paper}


def _equivalence(entry: Checked, every: dict[str, Any]) -> Equivalence:
    scale, margin = entry.get("scale").name(SCALES), entry.get("margin")
    none = 1.0 if scale == "ratio" else 0.0
    if margin.real() <= none:
        raise margin.wrong(f"a {scale} above {none:g}")
    low = 1 / margin.real() if scale == "ratio" else -margin.real()
    paper = _paper(entry, every["datasets"])
    if any(not low <= number <= margin.real() for number in paper.values()):
        raise entry.get("paper").wrong("numbers within the margin")
    return Equivalence(
        scale=scale,
        margin=margin.real(),
        margin_reason=entry.get("margin_reason").text(),
        paper=paper,
        **every,
    )


def _at_most(entry: Checked, every: dict[str, Any]) -> AtMost:
    limit = entry.get("limit")
    if limit.real() <= 0:
        raise limit.wrong("a ratio above 0")
    paper = _paper(entry, every["datasets"])
    if any(not 0 < number <= limit.real() for number in paper.values()):
        raise entry.get("paper").wrong("ratios above 0 and up to the limit")
    return AtMost(
        limit=limit.real(),
        limit_reason=entry.get("limit_reason").text(),
        paper=paper,
        **every,
    )


def _curve_below(entry: Checked, every: dict[str, Any]) -> CurveBelow:
    return CurveBelow(**every)


def _equal(entry: Checked, every: dict[str, Any]) -> Equal:
    return Equal(**every)


_PAIRS: dict[str, Callable[[Checked, dict[str, Any]], Claim]] = {
    Difference.kind: _difference,
    Amount.kind: _amount,
    Equivalence.kind: _equivalence,
    AtMost.kind: _at_most,
    CurveBelow.kind: _curve_below,
    Equal.kind: _equal,
}


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
