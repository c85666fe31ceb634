"""Summarise the runs of one setting on one data set into the dictionary of `summary.json`."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import lru_cache
from statistics import fmean
from typing import Any, NamedTuple

from sr3d.detectors.configuration import config_from_dict, default_config
from sr3d.errors import InputError, Kind
from sr3d.run_setting import departures
from sr3d.runs.files import digest
from sr3d.runs.machine import is_busy
from sr3d.runs.record import MODEL_FILE, RunRecord, run_key
from sr3d.settings import read_settings
from sr3d.study.statistics import group, summarise

SCHEMA_VERSION = 1
RUN_FIRST = "Run `sr3d train` and `sr3d test` first."

Read = Callable[[RunRecord], Any]
METRICS = ("AP25", "AP50")  # percent, in every evaluation
# Other metrics that are summarised if the records have them, and how to read them.
_OF_TESTS: dict[str, Read] = {
    "AP25": lambda r: r.metrics.get("AP25"),
    "AP50": lambda r: r.metrics.get("AP50"),
    "PCE": lambda r: r.metrics.get("PCE"),
    "latency_ms": lambda r: r.timings.get("latency_ms"),
}
_OF_TRAININGS: dict[str, Read] = {
    "AIC": lambda r: (r.metrics.get("epochs", {}).get("AIC") or [None])[-1],  # of the last epoch
    "minutes_per_epoch": lambda r: _minutes(r.timings.get("seconds_per_epoch")),
}


class Doubt(StrEnum):
    """Why runs need a warning, for code and tests that must not depend on the wording."""

    MIXED_CODE = "mixed code"
    MIXED_DATA = "mixed data"
    MIXED_CONFIGURATIONS = "mixed configurations"
    MIXED_ENGINES = "mixed engines"
    MIXED_DEVICES = "mixed devices"
    OTHER_SETTING = "other setting"  # the configuration is not that of the setting's name
    EDITED_CODE = "edited code"  # uncommitted changes
    OTHER_DATA = "other data"  # not the published data
    PARTIAL_DATA = "partial data"  # the user's data with scenes omitted
    MISSING_SCENES = "missing scenes"  # in files of boxes
    BUSY = "busy"
    NO_METRIC = "no metric"
    STALE = "stale"  # evaluations older than their training run
    SURPLUS = "surplus"  # more runs than expected


class RunWarning(NamedTuple):
    """What a reader of a setting's numbers must know. text: without a full stop."""

    doubt: Doubt
    text: str


# What all runs of a setting must share, and how to read it.
_ORIGINS: tuple[tuple[Doubt, str, Read], ...] = (
    (Doubt.MIXED_CODE, "code versions", lambda r: code_of(r.code)),
    (Doubt.MIXED_DATA, "data digests", lambda r: r.data.get("digest")),
    (Doubt.MIXED_CONFIGURATIONS, "configurations", lambda r: r.config_digest),
    (Doubt.MIXED_ENGINES, "engines", lambda r: r.engine),
    (Doubt.MIXED_DEVICES, "devices", lambda r: r.device),
)


def summarise_runs(
    records: Sequence[RunRecord],
    expected_trainings: int | None = None,
    expected_tests: int | None = None,
) -> dict[str, Any]:
    """Summarise the training and evaluation runs of one setting on one data set.

    `metrics` has an entry for AP25 and AP50 (percent), PCE and latency_ms of the evaluations, and
    for AIC (of the last epoch) and minutes_per_epoch of the training runs. An entry holds every
    value (`values[training][test]`), the training runs (`training_ids`), and the statistics of
    `stats.summarise`. `curves` holds the mean of every epoch of each training run, and `per_class`
    the mean over the evaluations. With expected counts, `missing` names the missing evaluations,
    and runs beyond the counts are omitted. `external` is None for our own runs. For boxes from
    files it holds the printed `label`, the `classes`, and `files` with their sha256.

    `warnings` lists runs of different origin, with another configuration than the setting of their
    name, omitted, or older than the training run that they evaluate, files that lack scenes, and
    data that are not the published ones.

    Raises:
        InputError: no record.
    """
    if not records:
        raise InputError("no complete run to summarise", kind=Kind.EMPTY, remedy=RUN_FIRST)
    first = records[0]
    if {(r.dataset, r.setting) for r in records} != {(first.dataset, first.setting)}:
        raise ValueError("records of more than one setting or data set")
    kept = [r for r in records if _is_expected(r, expected_trainings, expected_tests)]
    trainings = [r for r in kept if r.test is None]
    tests = tests_of(records, expected_trainings, expected_tests)
    source = (kept or list(records))[0]
    wanted = _expected_keys(source, expected_trainings, expected_tests)
    return {
        "schema_version": SCHEMA_VERSION,
        "dataset": source.dataset,
        "setting": source.setting,
        "tests_of": source.tests_of,
        "external": _external(tests),
        "overrides": source.overrides,
        "config_digest": source.config_digest,
        "config": source.config,
        "data_digest": source.data.get("digest"),
        "test_data": tests[0].data if tests else None,
        "code": source.code,
        "engine": source.engine,
        "device": source.device,
        "machine": source.machine,
        "versions": source.versions,
        "runs": len(tests),
        "expected": _expected(expected_trainings, expected_tests),
        "missing": [key for key in wanted if key not in {r.key for r in tests}],
        "trainings": sorted({r.train for r in tests}),
        "metrics": _metrics(tests, _OF_TESTS) | _metrics(trainings, _OF_TRAININGS),
        "curves": _curves(trainings),
        "parameters": source.parameters,
        "per_class": _per_class(tests),
        "busy_tests": sum(_was_busy(r) for r in tests),
        "train": _costs(trainings),
        "test": _costs(tests),
        "warnings": [
            warning.text for warning in warnings_of(records, expected_trainings, expected_tests)
        ],
    }


def training_id(record: RunRecord) -> str:
    """The identity of the training run that a record describes or evaluates.

    It consists of the training setting, index and seed, the configuration without the fields that
    only evaluation reads, and the data.
    """
    config = _trained_as(json.dumps(record.config, sort_keys=True))
    trained_by = record.tests_of or record.setting
    seed, data = record.seeds.get("train"), record.data.get("digest")
    return digest([record.dataset, trained_by, record.train, seed, config, data])


@lru_cache
def _trained_as(config: str) -> str:
    """Digest of a configuration without the fields that only evaluation reads.

    A field that an old record lacks counts with its default, with which the run was trained.
    """
    value = json.loads(config)
    with suppress(InputError):  # another version's configuration is used unchanged
        value = config_from_dict(value).to_dict()
    return digest({name: part for name, part in value.items() if name != "test"})


def _external(tests: Sequence[RunRecord]) -> dict[str, Any] | None:
    """The detector and its files, from the records of boxes from files."""
    found = [record.external for record in tests if record.external]
    files = [{"file": one["file"], "sha256": one["sha256"]} for one in found]
    if not found:
        return None
    return {"label": found[0]["label"], "classes": found[0]["classes"], "files": files}


def tests_of(records: Sequence[RunRecord], *expected: int | None) -> list[RunRecord]:
    """The evaluation runs among the records, without those beyond the expected counts."""
    return [r for r in records if r.test is not None and _is_expected(r, *expected)]


def _is_expected(record: RunRecord, trainings: int | None, tests: int | None) -> bool:
    return (trainings is None or record.train < trainings) and (
        tests is None or record.test is None or record.test < tests
    )


def _expected(trainings: int | None, tests: int | None) -> dict[str, int] | None:
    if trainings is None or tests is None:
        return None
    return {"trainings": trainings, "tests": tests, "runs": trainings * tests}


def _expected_keys(record: RunRecord, trainings: int | None, tests: int | None) -> list[str]:
    return [
        run_key(record.dataset, record.setting, i, j)
        for i in range(trainings or 0)
        for j in range(tests or 0)
    ]


def code_of(code: Mapping[str, Any]) -> str | None:
    """The identity of a run's code: the digest of all code that computes, otherwise the commit."""
    if resumed := code.get("resumed"):  # with other code from these steps on
        return ", ".join(f"{one['digest']} from step {one['step']}" for one in resumed)
    return code.get("digest") or code.get("commit")


def _having(records: Sequence[RunRecord], read: Read) -> list[RunRecord]:
    return [r for r in records if _is_number(read(r))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 60


def _metrics(records: Sequence[RunRecord], reads: Mapping[str, Read]) -> dict[str, Any]:
    found = {}
    for name, read in reads.items():
        scored = _having(records, read)
        if scored:
            values = group([r.train for r in scored], [float(read(r)) for r in scored])
            found[name] = dataclasses.asdict(summarise(values)) | {
                "values": values,
                "training_ids": _training_ids(scored),
                "training_numbers": sorted({r.train for r in scored}),
            }
    return found


def _training_ids(records: Sequence[RunRecord]) -> list[str]:
    """In the order of `group`. Evaluations that disagree give an id that matches no other run."""
    ids: dict[int, set[str]] = {}
    for record in records:
        ids.setdefault(record.train, set()).add(training_id(record))
    return ["+".join(sorted(ids[train])) for train in sorted(ids)]


def _curves(trainings: Sequence[RunRecord]) -> dict[str, list[list[float]]]:
    curves = [r.metrics.get("epochs", {}) for r in trainings]
    return {name: [c[name] for c in curves if name in c] for name in ("AIC", "loss")}


def _per_class(tests: Sequence[RunRecord]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, list[float]]] = {}
    for record in tests:
        for name, scores in record.metrics.get("per_class", {}).items():
            for metric in METRICS:
                if _is_number(scores.get(metric)):
                    found.setdefault(name, {}).setdefault(metric, []).append(scores[metric])
    return {
        name: {metric: fmean(values) for metric, values in metrics.items()}
        for name, metrics in found.items()
    }


def _costs(records: Sequence[RunRecord]) -> dict[str, Any]:
    if not records:
        return {"runs": 0}
    places = {place for r in records for place in r.peak_memory_mb}
    return {
        "runs": len(records),
        "mean_wall_seconds": fmean(r.wall_seconds for r in records),
        "peak_memory_mb": {
            place: max(r.peak_memory_mb.get(place, 0.0) for r in records)
            for place in sorted(places)
        },
    }


def _not_the_setting(records: Sequence[RunRecord]) -> list[RunWarning]:
    """Differences between the runs' configurations and the package's setting of their name."""
    alike: dict[str, list[RunRecord]] = {}
    for record in records:
        alike.setdefault(record.config_digest, []).append(record)
    found: Counter[str] = Counter()
    for same in alike.values():
        with suppress(InputError):  # a configuration that this version cannot read
            config = config_from_dict(same[0].config)
            start = default_config(config.dataset, config.own)
            for departure in departures(read_settings(), same[0].setting, start, config):
                found[departure] += len(same)
    return [
        RunWarning(
            Doubt.OTHER_SETTING,
            f"{count} of {len(records)} runs are not the setting '{records[0].setting}': "
            f"{departure}",
        )
        for departure, count in found.items()
    ]


def warnings_of(
    runs: Sequence[RunRecord],
    expected_trainings: int | None = None,
    expected_tests: int | None = None,
) -> list[RunWarning]:
    """The warnings on the runs of one setting. See `summarise_runs`."""
    expected = expected_trainings, expected_tests
    tests = tests_of(runs, *expected)
    trainings = [r for r in runs if r.test is None and _is_expected(r, *expected)]
    records = [*trainings, *tests]
    found: list[RunWarning] = []

    def warn(doubt: Doubt, text: str) -> None:
        found.append(RunWarning(doubt, text))

    for doubt, what, value_of in _ORIGINS:
        counts = Counter("unknown" if value_of(r) is None else str(value_of(r)) for r in records)
        if len(counts) > 1:
            parts = ", ".join(f"{value[:10]} ({n})" for value, n in counts.most_common())
            warn(doubt, f"runs of {len(counts)} different {what} are mixed: {parts}")
    found += _not_the_setting(records)
    edited = sum(bool(r.code.get("edited")) for r in records)
    if edited:
        text = f"{edited} of {len(records)} runs come from code with uncommitted changes"
        warn(Doubt.EDITED_CODE, text)
    deviations = dict.fromkeys(d for r in records for d in r.data.get("deviations", ()))
    if deviations:
        listed = ", ".join(deviations)
        if records[0].dataset == "own":
            warn(Doubt.PARTIAL_DATA, f"the data are not complete: {listed}")
        else:
            warn(Doubt.OTHER_DATA, f"the data are not the published ones: {listed}")
    lacking = [n for r in tests if (n := (r.external or {}).get("missing_scenes"))]
    if lacking:
        warn(
            Doubt.MISSING_SCENES,
            f"{len(lacking)} of {len(tests)} files lack scenes, up to {max(lacking)} of "
            f"{tests[0].data.get('scenes')}, whose objects count as missed",
        )
    busy = sum(_was_busy(r) for r in tests)
    if busy:
        warn(Doubt.BUSY, f"{busy} of {len(tests)} latencies were measured on a busy machine")
    for name in METRICS:
        without = len(tests) - len(_having(tests, _OF_TESTS[name]))
        if without:
            warn(Doubt.NO_METRIC, f"{without} of {len(tests)} evaluations have no {name}")
    # Times are ISO 8601 in UTC, which sort as text.
    trained = {r.train: r for r in trainings}
    stale = [r for r in tests if r.train in trained and _is_older(r, trained[r.train])]
    if stale:
        text = f"{len(stale)} of {len(tests)} evaluations are older than their training run"
        warn(Doubt.STALE, text)
    if surplus := len(runs) - len(records):
        warn(Doubt.SURPLUS, f"{surplus} runs beyond the expected ones are omitted")
    return found


def _was_busy(test: RunRecord) -> bool:
    """Whether other work disturbed the latency. Records of earlier versions have no load."""
    return is_busy(test.timings.get("other_load", 0.0), test.machine.get("cores"))


def _is_older(test: RunRecord, training: RunRecord) -> bool:
    """Whether a training run was repeated after its evaluation, which gives other weights."""
    same = test.weights is not None and test.weights == training.files.get(MODEL_FILE)
    return not same and test.started < training.finished
