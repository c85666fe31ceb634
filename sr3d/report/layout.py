"""What a printed table says: our results beside the paper's values, and what to know of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sr3d.config import default_config, flatten
from sr3d.report.paper import PaperTable, Row, printed_dataset
from sr3d.report.summary import find_summary

TICK = "✓"
NOT_RUN = "not run"
NONE = "–"


@dataclass(frozen=True)
class Entry:
    """One row of a table with what we found: its summary, or None where nothing ran."""

    row: Row
    summary: dict[str, Any] | None

    def metric(self, name: str) -> dict[str, Any] | None:
        """The summary of one metric, if there is a test that has it."""
        found: dict[str, Any] | None = (self.summary or {}).get("metrics", {}).get(name)
        return found


@dataclass(frozen=True)
class Results:
    """A table of the paper filled with our results on one data set.

    paper_dataset: where the paper's values beside them come from; another one than `dataset` where
    the paper has none on it.
    """

    table: PaperTable
    dataset: str
    paper_dataset: str
    entries: tuple[Entry, ...]

    def paper_value(self, row: Row, metric: str, statistic: str = "") -> float | None:
        """The paper's value of a row, by default of the table's statistic."""
        metrics = row.paper.get(self.paper_dataset, {})
        return metrics.get(metric, {}).get(statistic or self.table.statistic)

    def reference(self) -> Entry:
        """The row that differences are taken to."""
        return next(e for e in self.entries if e.row.setting == self.table.reference)

    def difference(self, entry: Entry, metric: str) -> float | None:
        """Our mean less the reference row's; None for that row itself or where one is missing."""
        ours, reference = entry.metric(metric), self.reference().metric(metric)
        if entry is self.reference() or ours is None or reference is None:
            return None
        return float(ours["mean"] - reference["mean"])

    def paper_difference(self, entry: Entry, metric: str) -> float | None:
        """The same of the paper's values."""
        ours = self.paper_value(entry.row, metric)
        reference = self.paper_value(self.reference().row, metric)
        if entry is self.reference() or ours is None or reference is None:
            return None
        return ours - reference

    def expected_runs(self, entry: Entry) -> int:
        """Runs that the row should have: as its summary says, or else as many as the paper's."""
        expected = (entry.summary or {}).get("expected")
        return int(expected["runs"]) if expected else self.table.trainings * self.table.tests

    def is_complete(self, entry: Entry) -> bool:
        """Whether the row has all its runs."""
        return entry.summary is not None and entry.summary["runs"] >= self.expected_runs(entry)


@dataclass(frozen=True)
class Printed:
    """A table as text, for any format: one block of rows for each metric."""

    name: str
    dataset: str
    heading: str
    columns: tuple[str, ...]
    blocks: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    notes: tuple[str, ...]


def collect(results: str | Path, table: PaperTable, dataset: str) -> Results:
    """Fill a table with what lies below `results/{dataset}/`.

    Raises:
        InputError: unknown data set, or an unreadable record.
    """
    printed_dataset(dataset)
    entries = [
        Entry(row, find_summary(Path(results) / dataset / row.setting)) for row in table.rows
    ]
    known = any(dataset in row.paper for row in table.rows)
    return Results(table, dataset, dataset if known else table.paper_dataset, tuple(entries))


def lay_out(results: Results) -> Printed:
    """Everything that is printed, as text."""
    table = results.table
    columns = (
        *table.components,
        "setting",
        "mean [95 % CI]",
        "best",
        "median",
        "runs",
        "Δ",
        "paper",
        "paper's Δ",
    )
    ours, theirs = _tested_on(results), printed_dataset(results.paper_dataset).label
    where = f"on {ours}" if ours == theirs else f"ours on {ours}, the paper's on {theirs}"
    return Printed(
        name=table.name,
        dataset=results.dataset,
        heading=f"{table.title} ({where})",
        columns=columns,
        blocks=tuple(
            (metric, tuple(_cells(results, entry, metric) for entry in results.entries))
            for metric in table.metrics
        ),
        notes=tuple(_notes(results)),
    )


def _tested_on(results: Results) -> str:
    """Our data in words; on the paper's data set, with what of it was tested if not the same."""
    dataset = printed_dataset(results.dataset)
    tested = {
        (data.get("scenes"), data.get("split"))
        for entry in results.entries
        if (data := (entry.summary or {}).get("test_data"))
    }
    if results.dataset != results.paper_dataset or tested <= {(dataset.scenes, "val")}:
        return dataset.label
    parts = [f"{scenes} scenes of its split '{split}'" for scenes, split in sorted(tested, key=str)]
    return f"{dataset.label}, {' and '.join(parts)}"


def _cells(results: Results, entry: Entry, metric: str) -> tuple[str, ...]:
    ticks = [TICK if name in entry.row.ticks else "" for name in results.table.components]
    found = entry.metric(metric)
    if found is None:
        ours = [NOT_RUN, NONE, NONE]
    else:
        interval = found["interval"]
        mean = f"{found['mean']:.1f}"
        mean += f" [{interval[0]:.1f}, {interval[1]:.1f}]" if interval else " [one training]"
        ours = [mean, f"{found['best']:.1f}", f"{found['median']:.1f}"]
    value = results.paper_value(entry.row, metric)
    return (
        *ticks,
        entry.row.label,
        *ours,
        _runs(results, entry),
        _signed(results.difference(entry, metric)),
        NONE if value is None else f"{value:.1f}",
        _signed(results.paper_difference(entry, metric)),
    )


def _runs(results: Results, entry: Entry) -> str:
    if entry.summary is None:
        return NONE
    runs = entry.summary["runs"]
    if results.is_complete(entry):
        return str(runs)
    return f"{runs} of {results.expected_runs(entry)}"


def _signed(value: float | None) -> str:
    if value is None:
        return NONE
    text = f"{abs(value):.1f}"
    return text if text == "0.0" else ("+" if value > 0 else "−") + text


def _notes(results: Results) -> list[str]:
    table = results.table
    ours, theirs = _tested_on(results), printed_dataset(results.paper_dataset).label
    notes = []
    if ours != theirs:
        notes.append(
            f"The paper's values are on {theirs}, ours are on {ours}: "
            "they cannot be compared in absolute terms."
        )
    notes += _changed_configuration(results)
    notes += [
        f"'{entry.row.label}': incomplete, {_runs(results, entry)} runs."
        for entry in results.entries
        if entry.summary and not results.is_complete(entry)
    ]
    notes += [
        f"'{entry.row.label}': {warning}."
        for entry in results.entries
        if entry.summary
        for warning in entry.summary["warnings"]
    ]
    notes += _between_rows(results.entries)
    notes.append(
        f"AP in percent. CI: Student's t on the training means. Best and median: over all "
        f"tests. Δ: difference of means to the row '{results.reference().row.label}'."
    )
    runs = f"{table.trainings * table.tests} runs ({table.trainings} × {table.tests})"
    notes.append(f"Paper: {table.statistic} of {runs}; {table.source}.")
    return notes + [" ".join(note.split()) for note in table.footnotes]


def _changed_configuration(results: Results) -> list[str]:
    """On the paper's data set: what all rows that ran do otherwise than the paper."""
    configs = [flatten(e.summary["config"]) for e in results.entries if e.summary]
    if results.dataset != results.paper_dataset or not configs:
        return []
    changed = [
        f"{name}={configs[0][name]}"
        for name, value in default_config(results.dataset).flat().items()
        if name in configs[0]
        and configs[0][name] != value
        and all(c.get(name) == configs[0][name] for c in configs)
    ]
    if not changed:
        return []
    return [f"All rows that ran depart from SR3D as published in {', '.join(changed)}."]


def _between_rows(entries: Sequence[Entry]) -> list[str]:
    """What differs between the rows: their configuration, and what must not."""
    summaries = [e.summary for e in entries if e.summary]
    notes = []
    for what, key in (("data", "data_digest"), ("engines", "engine"), ("devices", "device")):
        values = {str(s[key]) for s in summaries}
        if len(values) > 1:
            notes.append(f"Rows come from different {what}: {', '.join(sorted(values))}.")
    commits = {str(s["code"].get("commit"))[:10] for s in summaries}
    if len(commits) > 1:
        notes.append(f"Rows come from different code commits: {', '.join(sorted(commits))}.")
    configs = [flatten(s["config"]) for s in summaries]
    names = list(dict.fromkeys(name for config in configs for name in config))
    differing = [n for n in names if len({str(config.get(n)) for config in configs}) > 1]
    if differing:
        notes.append(f"The rows' configurations differ in {', '.join(differing)}.")
    return notes
