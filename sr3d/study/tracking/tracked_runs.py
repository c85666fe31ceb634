"""The content of each run in a tracking store, derived from run records alone.

Each training or evaluation run becomes a `TrackedRun`. So does each setting, with its statistics.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sr3d.errors import InputError, Kind
from sr3d.runs.files import digest
from sr3d.runs.record import METRICS_FILE, RUN_FILE, RunRecord, read_metrics, run_file
from sr3d.study.report.findings import expected_counts
from sr3d.study.report.paper import PrintedSetting
from sr3d.study.report.setting_summary import METRICS, summarise_runs
from sr3d.validation import flatten

MAPPING = "4"  # increase it when the content of runs changes: all runs are then written again
CURVE_POINTS = 1000  # a longer curve is thinned evenly. metrics.jsonl has all points.

Point = tuple[str, float, int]  # name of a metric, value, step


@dataclass(frozen=True)
class DataInput:
    """A data set that a run used.

    digest: of the whole data set. facts: JSON about the whole data set. context: `training`,
    `evaluation`, or both. splits, scenes: names and sizes of the splits, comma-separated.
    """

    dataset: str
    digest: str
    facts: str
    context: str
    splits: str
    scenes: str


@dataclass(frozen=True)
class TrackedRun:
    """One run. key identifies it permanently, digest changes with its content.

    started, finished: milliseconds since 1970. points reads the curves, so it is called only when
    the run is written. inputs: empty if the record does not identify its data.
    """

    key: str
    digest: str
    name: str
    description: str
    started: int
    finished: int
    tags: dict[str, str]
    params: dict[str, Any]
    points: Callable[[], list[Point]]
    inputs: tuple[DataInput, ...] = ()


def single_run(results: Path, record: RunRecord) -> TrackedRun:
    """A training or evaluation run.

    Raises:
        InputError: a time or a curve that cannot be read. A curve is read when `points` is called.
    """
    return TrackedRun(
        key=record.key,
        digest=digest([MAPPING, record.digest()]),
        name=_name(record),
        description=_description(record),
        started=_milliseconds(record, record.started),
        finished=_milliseconds(record, record.finished),
        tags=_origin(record)
        | {
            "sr3d.kind": record.kind,
            "sr3d.train": str(record.train),
            **({} if record.test is None else {"sr3d.test": str(record.test)}),
        }
        | _source("evaluate" if record.external else record.kind)
        | {
            f"sr3d.file.{name}": f"{record.key}/{name} sha256:{value}"
            for name, value in record.files.items()
        },
        params=flatten({**record.config, "seeds": record.seeds}),
        points=lambda: _run_points(results, record),
        inputs=_inputs([record]),
    )


def setting_run(
    results: Path, records: Sequence[RunRecord], shown: PrintedSetting | None
) -> TrackedRun:
    """The parent of a setting's runs: what they share, and the statistics over its evaluations.

    Raises:
        InputError: a time or a summary that cannot be read.
    """
    first = records[0]
    expected = expected_counts(results / first.dataset / first.setting)
    flats = [flatten(r.config) for r in records]
    shared = {k: v for k, v in flats[0].items() if all(k in f and f[k] == v for f in flats)}
    origins = [_origin(r) for r in records]
    tags = {k: v for k, v in origins[0].items() if all(o.get(k) == v for o in origins)}
    tags |= {"sr3d.kind": "setting"} | _source("track")
    if first.external and shown is None:
        tags |= {"sr3d.label": first.external["label"]}
    if shown is not None:
        tags |= {"sr3d.tables": ", ".join(shown.tables), "sr3d.label": shown.label}
    return TrackedRun(
        key=f"{first.dataset}/{first.setting}",
        digest=digest([MAPPING, tags, expected, [r.digest() for r in records]]),
        name=first.setting,
        description=_setting_description(records, shown),
        started=min(_milliseconds(r, r.started) for r in records),
        finished=max(_milliseconds(r, r.finished) for r in records),
        tags=tags,
        params=shared,
        points=lambda: _points(_statistics(records, *expected)),
        inputs=_inputs(records),
    )


def _name(record: RunRecord) -> str:
    """Short, since MLflow's table shows about 20 characters of a name."""
    if record.test is None:
        return f"{record.setting} training run {record.train}"
    return f"{record.setting} run {record.train}, evaluation {record.test}"


def _description(record: RunRecord) -> str:
    """Markdown about a training or evaluation run."""
    if record.test is None:
        what = f"Training run {record.train} of the setting `{record.setting}`"
    else:
        model = f"training run {record.train} of the setting `{record.tests_of or record.setting}`"
        what = f"Evaluation run {record.test} of {model}"
    split, scenes = record.data.get("split"), record.data.get("scenes")
    data = f"{record.dataset}, split `{split}`, {scenes} scenes" if split else record.dataset
    lines = [f"{what}.", f"Data: {data}.", f"Overrides: {_overrides(record)}."]
    return "\n\n".join([*lines, f"Files: `{record.key}/` in the results folder."])


def _setting_description(records: Sequence[RunRecord], shown: PrintedSetting | None) -> str:
    """Markdown about a setting."""
    first, tests = records[0], sum(r.test is not None for r in records)
    label = f" ({shown.label})" if shown else ""
    lines = [
        f"Setting `{first.setting}`{label} on {first.dataset}: mean, median, best and confidence "
        f"interval over its evaluation runs (so far {tests}).",
        f"Overrides: {_overrides(first)}.",
    ]
    if shown:
        lines.append(f"The report shows this setting in: {', '.join(shown.tables)}.")
    return "\n\n".join(
        [*lines, f"Files: `{first.dataset}/{first.setting}/` in the results folder."]
    )


def _overrides(record: RunRecord) -> str:
    return " ".join(f"`{text}`" for text in record.overrides) or "none"


def _source(verb: str) -> dict[str, str]:
    """Tags for MLflow's column Source. The column Version shows the commit."""
    return {"mlflow.source.name": f"sr3d {verb}", "mlflow.source.type": "LOCAL"}


def _inputs(records: Sequence[RunRecord]) -> tuple[DataInput, ...]:
    """The data of the records, one entry per data digest, without records that have no digest."""
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.data.get("digest"):
            found.setdefault(str(record.data["digest"]), []).append(record)
    return tuple(_input(key, found[key]) for key in sorted(found))


def _input(key: str, records: Sequence[RunRecord]) -> DataInput:
    first = records[0]
    whole = {k: v for k, v in first.data.items() if k not in ("split", "scenes")}
    used = {
        (r.test is not None, str(r.data.get("split")), str(r.data.get("scenes"))) for r in records
    }
    contexts, splits, scenes = zip(*sorted(used), strict=True)
    words = ["evaluation" if tested else "training" for tested in contexts]
    return DataInput(
        dataset=first.dataset,
        digest=key,
        facts=json.dumps(whole, sort_keys=True),
        context=", ".join(dict.fromkeys(words)),
        splits=", ".join(splits),
        scenes=", ".join(scenes),
    )


def _origin(record: RunRecord) -> dict[str, str]:
    """Where a run comes from, as tags."""
    facts = {
        "dataset": record.dataset,
        "setting": record.setting,
        "overrides": " ".join(record.overrides),
        "config_digest": record.config_digest,
        "data_digest": record.data.get("digest"),
        "engine": record.engine,
        "device": record.device,
        "code": record.code,
        "machine": record.machine,
        "versions": record.versions,
        "external": record.external,
    }
    tags = {f"sr3d.{name}": str(v) for name, v in flatten(facts).items() if v not in (None, "", [])}
    commit = record.code.get("commit")
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})


def _run_points(results: Path, record: RunRecord) -> list[Point]:
    """Curves of a training run, and the record's numbers that are not the end of a curve."""
    folder = results / record.key
    curves = _curves(run_file(folder, record, METRICS_FILE)) if record.test is None else []
    scores = dict(record.metrics)
    per_class = scores.pop("per_class", {})
    single = flatten({**scores, "peak_memory_mb": record.peak_memory_mb})
    single |= {f"{metric}/{name}": v for name, s in per_class.items() for metric, v in s.items()}
    single |= {"wall_seconds": record.wall_seconds, "parameters": record.parameters}
    single |= record.timings
    drawn = {name for name, _, _ in curves} | {"step", "steps"}
    return curves + [point for point in _points(single) if point[0] not in drawn]


def _curves(path: Path) -> list[Point]:
    rows = read_metrics(path)
    try:
        stride = max(1, math.ceil(len(rows) / CURVE_POINTS))
        thinned = rows[::stride] + ([] if (len(rows) - 1) % stride == 0 else rows[-1:])
        return [
            point
            for row in thinned
            for point in _points(row, row["step"])
            if point[0] not in ("step", "steps")
        ]
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"has no curves of a training run ({error!r})",
            file=path,
            kind=Kind.UNREADABLE,
            remedy=f"Move {path.parent} away, then repeat the run with its `sr3d train` command.",
        ) from None


def _statistics(
    records: Sequence[RunRecord], trainings: int | None, tests: int | None
) -> dict[str, Any]:
    """`AP25/mean` and so on: the same numbers as in the report, over the same runs."""
    summary = summarise_runs(records, trainings, tests)
    found: dict[str, Any] = {"tests": summary["runs"]}
    for name, s in summary["metrics"].items():
        low, high = s["interval"] or (None, None)
        found |= {
            f"{name}/mean": s["mean"],
            f"{name}/median": s["median"],
            f"{name}/interval_low": low,
            f"{name}/interval_high": high,
            f"{name}/sd_between": s["sd_between"],
            f"{name}/sd_within": s["sd_within"],
        }
        if name in METRICS:
            found[f"{name}/best"] = s["best"]
    return found


def _points(values: Mapping[str, Any], step: int = 0) -> list[Point]:
    """The numbers among the values, under names that every store accepts."""
    return [
        (re.sub(r"[^\w./: -]", "_", name, flags=re.ASCII), float(value), step)
        for name, value in values.items()
        if _is_number(value)
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _milliseconds(record: RunRecord, text: str) -> int:
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (TypeError, ValueError):
        raise InputError(
            f"'{text}' is not a time",
            file=f"{record.key}/{RUN_FILE}",
            kind=Kind.UNREADABLE,
            remedy="Move its folder away, then repeat the command that made the run.",
        ) from None
