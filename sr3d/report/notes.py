"""The notes below a printed table: what its numbers are, and what forbids to compare them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sr3d.config import default_config, flatten
from sr3d.report.filled import Results
from sr3d.report.paper import METRICS, printed_dataset
from sr3d.report.summary import code_of

_TIMES = ("latency_ms", "minutes_per_epoch")


def tested_on(results: Results) -> str:
    """Our data in words; where the paper tests on it, with what of it we did if not the same."""
    dataset = printed_dataset(results.dataset)
    tested = {
        (data.get("scenes"), data.get("split"))
        for summary in _summaries(results)
        if (data := summary.get("test_data"))
    }
    if dataset.scenes is None or tested <= {(dataset.scenes, "val")}:
        return dataset.label
    parts = [f"{scenes} scenes of its split '{split}'" for scenes, split in sorted(tested, key=str)]
    return f"{dataset.label}, {' and '.join(parts)}"


def paper_label(results: Results) -> str:
    """The data of the paper's values in words; "" for a table of our own."""
    return printed_dataset(results.paper_dataset).label if results.paper_dataset else ""


def notes_of(results: Results) -> list[str]:
    """All notes, the most urgent first."""
    rows = [entry.row for entry in results.entries]
    return [
        *_other_data(results),
        *_changed_configuration(results),
        *_of_rows(results),
        *_between_rows(_summaries(results)),
        *_of_machines(results),
        *_how_to_read(results),
        *(f"'{row.label}': {row.note}" for row in rows if row.note),
        *results.table.footnotes,
    ]


def _summaries(results: Results) -> list[dict[str, Any]]:
    return [entry.summary for entry in results.entries if entry.summary]


def _other_data(results: Results) -> list[str]:
    ours, theirs = tested_on(results), paper_label(results)
    if theirs in (ours, ""):
        return []
    notes = [
        f"The paper's values are on {theirs}, ours are on {ours}: "
        "they cannot be compared in absolute terms."
    ]
    left_out = len(results.table.rows) - len(results.entries)
    if left_out:
        notes.append(f"{left_out} rows that the paper has on other data only are left out.")
    return notes


def _changed_configuration(results: Results) -> list[str]:
    """On the paper's data set: what all rows that ran do otherwise than the paper."""
    configs = [flatten(summary["config"]) for summary in _summaries(results)]
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


def _of_rows(results: Results) -> list[str]:
    """Rows that lack runs, or whose runs are of different origin."""
    notes = []
    for entry in results.entries:
        if entry.summary is None:
            continue
        lacking: dict[str, None] = {}  # in order, each once
        for metric in results.table.metrics:
            have, expected = results.runs(entry, metric)
            if entry.metric(metric) is not None and 0 < have < expected:
                what = "trainings" if METRICS[metric].of_trainings else "runs"
                lacking[f"{have} of {expected} {what}"] = None
        if lacking:
            notes.append(f"'{entry.row.label}': incomplete, {' and '.join(lacking)}.")
        notes += [f"'{entry.row.label}': {warning}." for warning in entry.summary["warnings"]]
    return notes


def _between_rows(summaries: Sequence[dict[str, Any]]) -> list[str]:
    """What differs between the rows: their configuration, and what must not."""
    notes = []
    for what, key in (("data", "data_digest"), ("engines", "engine"), ("devices", "device")):
        values = {str(s[key]) for s in summaries}
        if len(values) > 1:
            notes.append(f"Rows come from different {what}: {', '.join(sorted(values))}.")
    codes = {str(code_of(s["code"]))[:10] for s in summaries}
    if len(codes) > 1:
        notes.append(f"Rows come from different code versions: {', '.join(sorted(codes))}.")
    configs = [flatten(s["config"]) for s in summaries]
    names = list(dict.fromkeys(name for config in configs for name in config))
    differing = [n for n in names if len({str(config.get(n)) for config in configs}) > 1]
    if differing:
        notes.append(f"The rows' configurations differ in {', '.join(differing)}.")
    return notes


def _of_machines(results: Results) -> list[str]:
    """Where the table has times: on which machines ours were taken."""
    timed = [
        e for e in results.entries for m in results.table.metrics if m in _TIMES and e.metric(m)
    ]
    machines = {_machine(e.summary["machine"]): None for e in timed if e.summary}
    if not machines:
        return []
    note = f"Our times are of: {'; '.join(sorted(machines))}."
    return [note + (" Those of different machines do not compare." if len(machines) > 1 else "")]


def _machine(facts: dict[str, Any]) -> str:
    return ", ".join(facts.get("gpus") or []) or str(facts.get("processor"))


def _how_to_read(results: Results) -> list[str]:
    table = results.table
    read = "Best and mean: over all tests."
    alone = [METRICS[name].label for name in table.metrics if not METRICS[name].has_best]
    if table.prints == "best_mean" and alone:
        read += f" A number alone is the mean: {', '.join(alone)}."
    notes = [f"{read} CI: Student's t on the training means."]
    if results.reference is not None:
        note = f"Δ: difference of means to the row '{results.reference.row.label}'"
        tests = sum(delta.p is not None for delta in results.deltas.values())
        if tests:
            note += (
                ", with Welch's interval on the training means; p: of its test, adjusted by Holm's "
                f"rule over the {tests} of this table"
            )
        notes.append(f"{note}.")
    if results.paper_dataset is not None:
        form = "best (mean)" if table.prints == "best_mean" else "mean"
        runs = f"{table.trainings * table.tests} runs ({table.trainings} × {table.tests})"
        notes.append(f"Paper: {form} of {runs}; {table.source}.")
    return notes
