"""Reads and checks `workflow/tables.yaml`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sr3d.checked import Checked
from sr3d.errors import InputError
from sr3d.study.report.paper.contents import (
    PRINTS,
    STATISTICS,
    AmountClaim,
    AtMostClaim,
    CitedClaim,
    Claim,
    Consistency,
    CurveBelowClaim,
    DifferenceClaim,
    EqualClaim,
    EquivalenceClaim,
    Figure,
    HighestClaim,
    Panel,
    Paper,
    PaperRow,
    PaperTable,
    Qualitative,
    Sweep,
    Tradeoff,
    TrendClaim,
    Values,
)
from sr3d.study.report.paper.names import DATASETS, METRICS

_DATASETS, _METRICS = list(DATASETS), list(METRICS)
SCALES = ("difference", "ratio")
_EVERY = ("kind", "of", "says", "where", "datasets", "footnote")
_PAIR = ("metric", "setting", "over")
_OWN = {
    DifferenceClaim.kind: (*_PAIR, "direction", "paper"),
    AmountClaim.kind: (*_PAIR, "direction", "paper", "statistic"),
    EquivalenceClaim.kind: (*_PAIR, "scale", "margin", "margin_reason", "paper"),
    AtMostClaim.kind: (*_PAIR, "limit", "limit_reason", "paper"),
    HighestClaim.kind: ("metric", "setting", "among"),
    TrendClaim.kind: ("metric", "along", "direction", "log"),
    CurveBelowClaim.kind: _PAIR,
    EqualClaim.kind: _PAIR,
    CitedClaim.kind: ("reason",),
}


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


def _row(entry: Checked, components: tuple[str, ...]) -> PaperRow:
    entry.only(("setting", "label", "group", "ticks", "only_on", "paper", "note"))
    if not entry.has("setting"):
        entry.get("paper")  # a row of a method that is not run here has at least that
    return PaperRow(
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
    if kind == CitedClaim.kind:
        return CitedClaim(reason=entry.get("reason").text(), **every)
    every["metric"] = entry.get("metric").name(list(METRICS))
    if kind == TrendClaim.kind:
        return _trend(entry, every)
    every["setting"] = entry.get("setting").text()
    if kind == HighestClaim.kind:
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


def _difference(entry: Checked, every: dict[str, Any]) -> DifferenceClaim:
    return DifferenceClaim(**_directed(entry, every), **every)


def _amount(entry: Checked, every: dict[str, Any]) -> AmountClaim:
    entry.get("paper")  # the number that the words state
    statistic = entry.get("statistic").name(STATISTICS) if entry.has("statistic") else "mean"
    return AmountClaim(statistic=statistic, **_directed(entry, every), **every)


def _directed(entry: Checked, every: dict[str, Any]) -> dict[str, Any]:
    """Direction and the paper's numbers, whose sign agrees with it."""
    direction = entry.get("direction").name(("higher", "lower"))
    paper = _paper(entry, every["datasets"])
    sign = 1 if direction == "higher" else -1
    if any(sign * number <= 0 for number in paper.values()):
        raise entry.get("paper").wrong(f"numbers of the direction '{direction}'")
    return {"direction": direction, "paper": paper}


def _equivalence(entry: Checked, every: dict[str, Any]) -> EquivalenceClaim:
    scale, margin = entry.get("scale").name(SCALES), entry.get("margin")
    none = 1.0 if scale == "ratio" else 0.0
    if margin.real() <= none:
        raise margin.wrong(f"a {scale} above {none:g}")
    low = 1 / margin.real() if scale == "ratio" else -margin.real()
    paper = _paper(entry, every["datasets"])
    if any(not low <= number <= margin.real() for number in paper.values()):
        raise entry.get("paper").wrong("numbers within the margin")
    return EquivalenceClaim(
        scale=scale,
        margin=margin.real(),
        margin_reason=entry.get("margin_reason").text(),
        paper=paper,
        **every,
    )


def _at_most(entry: Checked, every: dict[str, Any]) -> AtMostClaim:
    limit = entry.get("limit")
    if limit.real() <= 0:
        raise limit.wrong("a ratio above 0")
    paper = _paper(entry, every["datasets"])
    if any(not 0 < number <= limit.real() for number in paper.values()):
        raise entry.get("paper").wrong("ratios above 0 and up to the limit")
    return AtMostClaim(
        limit=limit.real(),
        limit_reason=entry.get("limit_reason").text(),
        paper=paper,
        **every,
    )


def _curve_below(entry: Checked, every: dict[str, Any]) -> CurveBelowClaim:
    return CurveBelowClaim(**every)


def _equal(entry: Checked, every: dict[str, Any]) -> EqualClaim:
    return EqualClaim(**every)


_PAIRS: dict[str, Callable[[Checked, dict[str, Any]], Claim]] = {
    DifferenceClaim.kind: _difference,
    AmountClaim.kind: _amount,
    EquivalenceClaim.kind: _equivalence,
    AtMostClaim.kind: _at_most,
    CurveBelowClaim.kind: _curve_below,
    EqualClaim.kind: _equal,
}


def _highest(entry: Checked, every: dict[str, Any]) -> HighestClaim:
    among = entry.get("among")
    names = among.texts()
    if not names or every["setting"] in names:
        raise among.wrong(f"the other settings, without '{every['setting']}'")
    return HighestClaim(among=names, **every)


def _trend(entry: Checked, every: dict[str, Any]) -> TrendClaim:
    along = entry.get("along")
    points = read_points(along)
    log = entry.get("log").truth() if entry.has("log") else False
    if len(points) < 3:
        raise along.wrong("three settings or more")
    if log and points[0][0] <= 0:
        raise along.wrong("values above zero, for a trend along their logarithm")
    direction = entry.get("direction").name(("falls", "rises"))
    return TrendClaim(along=points, direction=direction, log=log, **every)


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
