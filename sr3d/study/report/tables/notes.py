"""The notes below a printed table: the meaning of its numbers, and what must not be compared."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from sr3d.detectors.configuration import default_config
from sr3d.runs.machine import BUSY_LOAD
from sr3d.study.report.paper import METRICS, OWN_DATA, printed_dataset
from sr3d.study.report.scene_draws import THRESHOLDS
from sr3d.study.report.setting_comparisons import HypothesisFamily, family_of
from sr3d.study.report.setting_summary import code_of
from sr3d.study.report.tables.filled import FilledRow, FilledTable
from sr3d.study.report.verdicts.judgement import called, listed
from sr3d.validation import flatten

BUSY = "†"  # marks a latency that was measured on a busy machine
SHARPER = "*"  # marks a p-value that is significant although the interval beside it includes 0
_TIMES = ("latency_ms", "minutes_per_epoch")


class Topic(StrEnum):
    """What a note is about, for code and tests that must not depend on the wording."""

    DATA = "data"  # our data differ from the paper's
    LEFT_OUT = "left out"  # rows for which the paper has only other data
    OVERRIDES = "overrides"  # of SR3D as published, in all rows
    INCOMPLETE = "incomplete"  # a row with missing runs
    WARNING = "warning"  # of a row's summary
    MIXED_DATA = "mixed data"  # rows of different origin
    MIXED_ENGINES = "mixed engines"
    MIXED_DEVICES = "mixed devices"
    MIXED_CODE = "mixed code"
    CONFIGURATIONS = "configurations"  # the fields in which rows differ
    SAME_CONFIGURATION = "same configuration"
    TIMES = "times"  # the machines
    BUSY = "busy"
    STATISTICS = "statistics"  # best, mean, interval
    DIFFERENCES = "differences"
    SCENES = "scenes"  # the intervals over scenes
    NO_SCENES = "no scenes"  # rows without these intervals
    UNPAIRED_SCENES = "unpaired scenes"
    PAPER = "paper"  # what the paper prints
    PAPER_ROW = "paper row"
    FOOTNOTE = "footnote"


class Note(NamedTuple):
    """A note below a table. text: whole sentences."""

    topic: Topic
    text: str


def tested_on(results: FilledTable) -> str:
    """Our data in words. If the paper evaluates on them, with the evaluated part if it differs."""
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


def paper_label(results: FilledTable) -> str:
    """The data of the paper's values in words, "" for a table of our own."""
    return printed_dataset(results.paper_dataset).label if results.paper_dataset else ""


def notes_of(results: FilledTable) -> list[Note]:
    """All notes, the most urgent first."""
    return [
        *_other_data(results),
        *_changed_configuration(results),
        *_of_rows(results),
        *_between_rows(_summaries(results)),
        *_same_rows(results),
        *_of_machines(results),
        *_how_to_read(results),
        *([] if results.dataset == OWN_DATA else _of_paper(results)),
    ]


def _of_paper(results: FilledTable) -> list[Note]:
    """Notes on the paper's rows and numbers."""
    rows = [entry.row for entry in results.entries]
    return [
        *(Note(Topic.PAPER_ROW, f"'{row.label}': {row.note}") for row in rows if row.note),
        *(Note(Topic.FOOTNOTE, footnote) for footnote in results.table.footnotes),
    ]


def _same_rows(results: FilledTable) -> list[Note]:
    """Different settings may have the same configuration, since a setting is only a name."""
    labels: dict[str, list[str]] = {}
    for entry in results.entries:
        if entry.summary:
            if entry.summary.get("external"):
                continue
            config = str(flatten(entry.summary["config"]))
            labels.setdefault(config, []).append(f"'{entry.row.label}'")
    return [
        Note(
            Topic.SAME_CONFIGURATION,
            f"{listed(same)} have the same configuration. Not all are what their names say.",
        )
        for same in labels.values()
        if len(same) > 1
    ]


def _summaries(results: FilledTable) -> list[dict[str, Any]]:
    return [entry.summary for entry in results.entries if entry.summary]


def _of_sr3d(summaries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without detectors of which sr3d has only the boxes, because their runs are unknown."""
    return [summary for summary in summaries if not summary.get("external")]


def _other_data(results: FilledTable) -> list[Note]:
    ours, theirs = tested_on(results), paper_label(results)
    if theirs in (ours, ""):
        return []
    notes = [
        Note(
            Topic.DATA,
            f"The paper's values are on {theirs}, ours are on {ours}. "
            "Do not compare them in absolute terms.",
        )
    ]
    shown = [entry.row for entry in results.entries]
    left_out = [row for row in results.table.rows if row not in shown]
    if left_out:
        rows, them = ("row is", "it") if len(left_out) == 1 else ("rows are", "them")
        text = f"{len(left_out)} {rows} omitted, because the paper has {them} only on other data."
        here = results.dataset
        known = [row.label for row in left_out if row.setting and row.belongs_on(here)]
        if known:
            text += f" sr3d can run {len(known)} of them: {listed(known)}."
        notes.append(Note(Topic.LEFT_OUT, text))
    return notes


def _changed_configuration(results: FilledTable) -> list[Note]:
    """On the paper's data set: the overrides that all rows with runs share."""
    configs = [flatten(summary["config"]) for summary in _of_sr3d(_summaries(results))]
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
    text = f"All rows that ran override SR3D as published: {', '.join(changed)}."
    return [Note(Topic.OVERRIDES, text)]


def _of_rows(results: FilledTable) -> list[Note]:
    """Rows with missing runs, or with runs of different origin."""
    notes = []
    for entry in results.entries:
        if entry.summary is None:
            continue
        lacking: dict[str, None] = {}  # an ordered set
        for metric in results.table.metrics:
            have, expected = results.runs(entry, metric)
            if entry.metric(metric) is not None and 0 < have < expected:
                what = "training runs" if METRICS[metric].of_trainings else "evaluations"
                lacking[f"{have} of {expected} {what}"] = None
        if lacking:
            text = f"'{entry.row.label}': incomplete, {' and '.join(lacking)}."
            notes.append(Note(Topic.INCOMPLETE, text))
        notes += [
            Note(Topic.WARNING, f"'{entry.row.label}': {warning}.")
            for warning in entry.summary["warnings"]
        ]
    return notes


def _between_rows(summaries: Sequence[dict[str, Any]]) -> list[Note]:
    """Differences between the rows: their configuration, and facts that should be the same."""
    notes = []
    ours = _of_sr3d(summaries)
    for topic, what, key, some in (
        (Topic.MIXED_DATA, "data", "data_digest", summaries),
        (Topic.MIXED_ENGINES, "engines", "engine", ours),
        (Topic.MIXED_DEVICES, "devices", "device", ours),
    ):
        values = {str(s[key]) for s in some}
        if len(values) > 1:
            text = f"Rows come from different {what}: {', '.join(sorted(values))}."
            notes.append(Note(topic, text))
    codes = {str(code_of(s["code"]))[:10] for s in ours}
    if len(codes) > 1:
        text = f"Rows come from different code versions: {', '.join(sorted(codes))}."
        notes.append(Note(Topic.MIXED_CODE, text))
    configs = [flatten(s["config"]) for s in ours]
    first = configs[0] if configs else {}
    names = [n for n in first if all(n in config for config in configs)]  # families have own fields
    differing = [n for n in names if len({str(config[n]) for config in configs}) > 1]
    if differing:
        text = f"The rows' configurations differ in {', '.join(differing)}."
        notes.append(Note(Topic.CONFIGURATIONS, text))
    return notes


def _of_machines(results: FilledTable) -> list[Note]:
    """The machines on which our times were measured, if the table has times."""
    timed = [
        e for e in results.entries for m in results.table.metrics if m in _TIMES and e.metric(m)
    ]
    given = [f"'{e.row.label}'" for e in timed if e.summary and e.summary.get("external")]
    notes = []
    if given:
        text = f"Times of {listed(dict.fromkeys(given))} were given by the user."
        notes.append(Note(Topic.TIMES, text))
    ours = _of_sr3d([e.summary for e in timed if e.summary])
    machines = {_machine(summary["machine"]): None for summary in ours}
    if not machines:
        return notes
    text = f"Our times were measured on {listed(sorted(machines))}."
    if len(machines) > 1:
        text += " Do not compare times of different machines."
    notes = [Note(Topic.TIMES, text), *notes]
    if "latency_ms" in results.table.metrics and any(e.busy for e in timed):
        text = (
            f"{BUSY}: latencies were measured on a busy machine and are too long. Other work had "
            f"a load average above {BUSY_LOAD:g} per core."
        )
        notes.append(Note(Topic.BUSY, text))
    return notes


def _machine(facts: dict[str, Any]) -> str:
    return ", ".join(facts.get("gpus") or []) or str(facts.get("processor"))


def _how_to_read(results: FilledTable) -> list[Note]:
    table = results.table
    read = "Best and mean are over all evaluations."
    alone = [METRICS[name].label for name in table.metrics if not METRICS[name].has_best]
    if table.prints == "best_mean" and alone:
        read += f" A number alone is the mean: {', '.join(alone)}."
    read += " CI: Student's t interval of the means of training runs."
    notes = [Note(Topic.STATISTICS, read)]
    if results.reference is not None:
        notes.append(Note(Topic.DIFFERENCES, _of_differences(results, results.reference)))
    notes += _of_scenes(results)
    if results.paper_dataset is not None:
        form = "best (mean)" if table.prints == "best_mean" else "mean"
        runs = f"{table.trainings * table.tests} runs ({table.trainings} × {table.tests})"
        notes.append(Note(Topic.PAPER, f"Paper: {form} of {runs}. Source: {table.source}."))
    return notes


def _of_differences(results: FilledTable, reference: FilledRow) -> str:
    """The test of differences, and the tests over which their p-values are adjusted."""
    note = f"Δ: difference of means to the row '{reference.row.label}'"
    tested = {key: delta for key, delta in results.deltas.items() if delta.p is not None}
    if not tested:
        return f"{note}."
    pairs = {setting for (setting, _), delta in tested.items() if delta.paired}
    labels = [f"'{e.row.label}'" for e in results.entries if e.row.setting in pairs]
    note += ", with Welch's interval on the means of training runs"
    if labels:
        note += (
            f". {listed(labels)} {'evaluates' if len(labels) == 1 else 'evaluate'} the same "
            "training runs as the reference. There the interval is paired: Student's t on the "
            "differences of each training run"
        )
    of_family = {f: [m for _, m in tested if family_of(m) is f] for f in HypothesisFamily}
    counts = [
        f"the {len(metrics)} of {family.value} ({listed(map(called, dict.fromkeys(metrics)))})"
        for family, metrics in of_family.items()
        if metrics
    ]
    apart = ", each by themselves" if len(counts) > 1 else ""
    note += (
        f". p: p-value of the difference, adjusted by Holm's rule over {listed(counts)} in this "
        f"table{apart}. The intervals are simultaneous over the same tests (Bonferroni). The CSV "
        "also has the intervals of single differences"
    )
    if any(delta.sharper for delta in tested.values()):
        note += f". {SHARPER}: significant by Holm's rule, although the interval includes 0"
    return f"{note}."


def _of_scenes(results: FilledTable) -> list[Note]:
    """The meaning of the intervals over scenes, and the rows without them."""
    kept = {
        f"'{entry.row.label}'": entry.drawn
        for entry in results.entries
        if entry.summary is not None and entry.summary["runs"]
    }
    drawn = {label: of for label, of in kept.items() if of}
    if not drawn:
        return []
    counts = sorted({of["scenes"] for of in drawn.values()})
    draws = max(len(of[metric]) for of in drawn.values() for metric in THRESHOLDS if metric in of)
    text = (
        "Scenes: half width of the 95 % interval over the choice of scenes for these runs, by "
        f"{draws:,} bootstrap draws of the {listed(map(str, counts))} evaluated scenes"
    )
    to = results.reference.drawn if results.reference is not None else None
    text += ". The interval of Δ is paired: both rows have the same draws." if to else "."
    notes = [Note(Topic.SCENES, text)]
    if len(drawn) < len(kept):
        without = listed(label for label in kept if label not in drawn)
        text = f"No interval over scenes of {without}: run `sr3d summarise` again."
        notes.append(Note(Topic.NO_SCENES, text))
    others = [label for label, of in drawn.items() if to and of["drawn"] != to["drawn"]]
    if others:
        text = f"No paired interval over scenes of {listed(others)}: evaluated on other scenes."
        notes.append(Note(Topic.UNPAIRED_SCENES, text))
    return notes
