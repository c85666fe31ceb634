"""Lay out a filled table as text for any format: columns and cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sr3d.study.report.paper import METRICS, OWN_DATA, PARAMETERS, number, signed
from sr3d.study.report.tables.filled import Delta, FilledRow, FilledTable
from sr3d.study.report.tables.notes import BUSY, SHARPER, Note, notes_of, paper_label, tested_on

TICK = "✓"
NOT_RUN = "not run"
CITED = "cited"
NONE = "–"
DELTA = "Δ [simultaneous 95 % CI]"
SCENES, SCENES_OF_DELTA = "scenes", "Δ scenes"

TableLine = str | tuple[str, ...]


@dataclass(frozen=True)
class PrintedTable:
    """A table as text.

    blocks: the label and the lines of each metric. A line holds the cells of a row or, as plain
    text, the heading of a group of rows.
    """

    name: str
    dataset: str
    title: str
    heading: str
    columns: tuple[str, ...]
    blocks: tuple[tuple[str, tuple[TableLine, ...]], ...]
    notes: tuple[Note, ...]


def lay_out(results: FilledTable) -> PrintedTable:
    """The complete printed table."""
    table = results.table
    # On the user's data it is not a table of the paper.
    title = table.title.partition(": ")[2] if results.dataset == OWN_DATA else table.title
    title = title or table.title
    compared, printed = results.reference is not None, results.paper_dataset is not None
    drawn = any(entry.drawn for entry in results.entries)
    columns = (
        *table.components,
        "setting",
        _main(results),
        "95 % CI",
        *([SCENES] if drawn else []),
        "runs",
        *([DELTA, "p"] if compared else []),
        *([SCENES_OF_DELTA] if compared and drawn else []),
        *(["paper"] if printed else []),
        *(["paper's Δ"] if compared and printed else []),
    )
    return PrintedTable(
        name=table.name,
        dataset=results.dataset,
        title=title,
        heading=f"{title} ({_where(results)})",
        columns=columns,
        blocks=tuple(
            (METRICS[metric].label, _lines(results, metric, columns)) for metric in table.metrics
        ),
        notes=tuple(notes_of(results)),
    )


def _main(results: FilledTable) -> str:
    """The heading of the column with our results."""
    return "best (mean)" if results.table.prints == "best_mean" else "mean"


def _where(results: FilledTable) -> str:
    ours, theirs = tested_on(results), paper_label(results)
    return f"on {ours}" if theirs in (ours, "") else f"ours on {ours}, the paper's on {theirs}"


def _lines(results: FilledTable, metric: str, columns: Sequence[str]) -> tuple[TableLine, ...]:
    lines: list[TableLine] = []
    group = ""
    for entry in results.entries:
        if entry.row.group != group:
            group = entry.row.group
            lines += [group] if group else []
        cells = _cells(results, entry, metric)
        lines.append(tuple(cells[name] for name in columns))
    return tuple(lines)


def _cells(results: FilledTable, entry: FilledRow, metric: str) -> dict[str, str]:
    """The cells of a row by column, including columns that the table does not print."""
    components, row = results.table.components, entry.row
    delta = results.delta(entry, metric)
    values = [results.paper_value(entry, metric, s) for s in ("best", "mean")]
    changes = [results.paper_difference(entry, metric, s) for s in ("best", "mean")]
    return {name: TICK if name in row.ticks else "" for name in components} | {
        "setting": row.label,
        _main(results): _ours(results, entry, metric),
        "95 % CI": _confidence(entry, metric),
        SCENES: _half_width(metric, entry.scenes(metric)),
        "runs": _runs(results, entry, metric),
        DELTA: NONE if delta is None else _difference(delta, metric),
        "p": NONE if delta is None or delta.p is None else _p(delta.p) + SHARPER * delta.sharper,
        SCENES_OF_DELTA: _half_width(metric, delta.scenes if delta else None),
        "paper": _in_form(number, metric, *values),
        "paper's Δ": _in_form(signed, metric, *changes),
    }


def _ours(results: FilledTable, entry: FilledRow, metric: str) -> str:
    found = entry.metric(metric)
    if found is None:
        ran = NOT_RUN if entry.summary is None else NONE  # NONE: its runs lack this metric
        return CITED if entry.cited else ran
    best = results.table.prints == "best_mean" and METRICS[metric].has_best
    text = _in_form(number, metric, found["best"] if best else None, found["mean"])
    return text + BUSY * (metric == "latency_ms" and entry.busy)


def _confidence(entry: FilledRow, metric: str) -> str:
    found = entry.metric(metric)
    if found is None or metric == PARAMETERS:
        return NONE
    interval = found["interval"]
    return _interval(number, metric, interval) if interval else "one training"


def _difference(delta: Delta, metric: str) -> str:
    text, interval = signed(metric, delta.difference), delta.simultaneous
    return f"{text} {_interval(signed, metric, interval)}" if interval else text


def _in_form(
    write: Callable[[str, float], str], metric: str, best: float | None, mean: float | None
) -> str:
    """In the paper's form: "74.0 (73.2)", or the available one of the two numbers."""
    written = [write(metric, value) for value in (best, mean) if value is not None]
    return f"{written[0]} ({written[1]})" if len(written) == 2 else (written or [NONE])[0]


def _half_width(metric: str, half: float | None) -> str:
    return NONE if half is None else f"±{number(metric, half)}"


def _interval(write: Callable[[str, float], str], metric: str, interval: Sequence[float]) -> str:
    low, high = interval
    return f"[{write(metric, low)}, {write(metric, high)}]"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _runs(results: FilledTable, entry: FilledRow, metric: str) -> str:
    if entry.metric(metric) is None or metric == PARAMETERS:
        return NONE
    have, expected = results.runs(entry, metric)
    return str(have) if have >= expected else f"{have} of {expected}"
