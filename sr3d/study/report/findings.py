"""The results below `results/{dataset}/`: the run records of each setting and their summary."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sr3d.detectors.configuration import config_from_dict
from sr3d.errors import DamagedFile, InputError, Kind
from sr3d.runs.files import read_json, with_checksum, without_checksum, write_json
from sr3d.runs.markers import forget_marker
from sr3d.runs.record import RUN_FILE, RunRecord, read_run, run_file
from sr3d.study.report.paper import Paper, labels_of
from sr3d.study.report.scene_draws import digest_of_tests, resample_scenes
from sr3d.study.report.setting_summary import (
    RUN_FIRST,
    SCHEMA_VERSION,
    summarise_runs,
    tests_of,
)

SUMMARY_FILE = "summary.json"
_AGAIN = "Repeat the `sr3d summarise` command."


def write_summary(
    folder_of_setting: str | Path,
    out: str | Path,
    expected_trainings: int | None = None,
    expected_tests: int | None = None,
) -> dict[str, Any]:
    """Summarise `results/{dataset}/{setting}/` into a JSON file, and return its content.

    It also has `scenes` (`scene_draws.resample_scenes`), from the detections of the evaluation
    runs. Without detections, `scenes` is None and a warning says so.

    Raises:
        InputError: no complete run there, an unreadable record, or a record of another folder.
        DamagedFile: detections that do not match their record. Their markers are removed.
    """
    records = runs_of(folder_of_setting)
    if not records:
        raise InputError(
            "no complete run there", file=folder_of_setting, kind=Kind.EMPTY, remedy=RUN_FIRST
        )
    summary = summarise_runs(records, expected_trainings, expected_tests)
    tests = tests_of(records, expected_trainings, expected_tests)
    try:
        summary["scenes"] = resample_scenes(Path(folder_of_setting), tests)
    except InputError as error:
        _refuse_damaged(Path(folder_of_setting), tests)
        summary["scenes"] = None
        reason = str(error).removesuffix(".")  # as of all warnings
        summary["warnings"].append(f"no intervals over scenes: {reason}")
    write_json(out, with_checksum(summary))
    return summary


def _refuse_damaged(folder: Path, tests: Sequence[RunRecord]) -> None:
    """Refuse evaluation runs with a damaged file, and let a workflow repeat all of them.

    An absent file is not damage: users delete detections to save space.
    """
    damaged, marked = [], False
    for record in tests:
        place = folder.parent.parent / record.key
        try:
            for name in record.files:
                if (place / name).is_file():
                    run_file(place, record, name)
        except DamagedFile:
            damaged.append(place / name)
            marked |= forget_marker(place)
    if not damaged:
        return
    others = f", and {len(damaged) - 1} more evaluation runs" if len(damaged) > 1 else ""
    raise DamagedFile(
        f"damaged or changed since {RUN_FILE} was written{others}",
        file=damaged[0],
        kind=Kind.UNREADABLE,
        remedy="Run `snakemake` again. It repeats the evaluation."
        if marked
        else "Repeat the evaluation with its `sr3d test` command.",
    )


def find_summary(folder_of_setting: str | Path) -> dict[str, Any] | None:
    """The summary of a setting's folder, or None if there are no results.

    While run records exist, all numbers come from them. `summary.json` then only adds the expected
    numbers of runs and, if it was made from these evaluations, the intervals over scenes. So a
    table is never older than the runs below it.
    Raises:
        InputError: an unreadable record or summary.
    """
    written = _written(folder_of_setting)
    records = runs_of(folder_of_setting)
    if not records:
        return written
    counts = expected_counts(folder_of_setting)
    scenes = (written or {}).get("scenes")
    if scenes is not None and scenes["tests"] != digest_of_tests(tests_of(records, *counts)):
        scenes = None
    return summarise_runs(records, *counts) | {"scenes": scenes}


def expected_counts(folder_of_setting: str | Path) -> tuple[int | None, int | None]:
    """Expected training runs, and evaluation runs of each, from the summary. None if unknown.

    Raises:
        InputError: an unreadable summary.
    """
    expected = (_written(folder_of_setting) or {}).get("expected") or {}
    return expected.get("trainings"), expected.get("tests")


def _written(folder_of_setting: str | Path) -> dict[str, Any] | None:
    path = Path(folder_of_setting) / SUMMARY_FILE
    if not path.is_file():
        return None
    written = read_json(path, _AGAIN)
    if not isinstance(written, dict) or written.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            "of another version of sr3d", file=path, kind=Kind.UNREADABLE, remedy=_AGAIN
        )
    return without_checksum(written, path, _AGAIN)


def runs_of(folder_of_setting: str | Path) -> list[RunRecord]:
    """The complete runs of one setting, ordered by training run and evaluation.

    Raises:
        InputError: an unreadable record, or a record of another folder.
    """
    folder = Path(folder_of_setting)
    paths = [*folder.glob(f"train*/{RUN_FILE}"), *folder.glob(f"train*/test*/{RUN_FILE}")]
    records = []
    for path in paths:
        record = read_run(path)
        if not os.path.abspath(path.parent).endswith(os.sep + os.path.normpath(record.key)):
            raise InputError(
                f"is the record of {record.key}",
                file=path,
                kind=Kind.CONFLICT,
                remedy="Move its folder to that place.",
            )
        records.append(record)
    return sorted(records, key=lambda r: (r.train, -1 if r.test is None else r.test))


@dataclass(frozen=True)
class Findings:
    """All settings on one data set. A setting that never ran has no summary and no values."""

    results: Path
    dataset: str
    _read: dict[str, dict[str, Any] | None] = field(default_factory=dict, repr=False)

    def summary(self, setting: str) -> dict[str, Any] | None:
        """The setting's summary (`setting_summary`), or None without runs.

        Raises:
            InputError: an unreadable record or summary.
        """
        if setting not in self._read:
            self._read[setting] = find_summary(self.results / self.dataset / setting)
        return self._read[setting]

    def metric(self, setting: str, name: str) -> dict[str, Any] | None:
        """Statistics of one metric (fields of `stats.Summary`, and `values`), None without any."""
        found: dict[str, Any] | None = (self.summary(setting) or {}).get("metrics", {}).get(name)
        return found

    def values(self, setting: str, name: str) -> list[list[float]]:
        """`[training][test]`. A metric of training runs has one value each."""
        return [list(row) for row in (self.metric(setting, name) or {}).get("values", [])]

    def means(self, setting: str, name: str) -> list[float]:
        """The mean of each training run."""
        return [
            float(value) for value in (self.metric(setting, name) or {}).get("training_means", [])
        ]

    def trainings(self, setting: str, name: str) -> list[str]:
        """The identity of the training run behind each of `means` (`setting_summary.training_id`).

        Empty if it is unknown, as in summaries of earlier versions.
        """
        return list((self.metric(setting, name) or {}).get("training_ids", []))

    def curves(self, setting: str, name: str) -> list[list[float]]:
        """`[training][epoch]` of "AIC" or "loss"."""
        found = (self.summary(setting) or {}).get("curves", {}).get(name, [])
        return [list(row) for row in found]

    def settings(self) -> list[str]:
        """The settings with a folder here, by name."""
        folder = self.results / self.dataset
        return (
            sorted(path.name for path in folder.iterdir() if path.is_dir())
            if folder.is_dir()
            else []
        )


def ran(findings: Findings, paper: Paper) -> list[str]:
    """The settings with results, in the order of the paper's tables, then by name."""
    order = list(labels_of(paper))
    there = [name for name in findings.settings() if findings.summary(name) is not None]
    known = sorted((name for name in there if name in order), key=order.index)
    return [*known, *(name for name in there if name not in order)]


def is_thin(values: Mapping[str, Any]) -> bool:
    """Whether layers of a run's network are narrower than in its family's published one.

    False for configurations of other versions, which cannot be read.
    """
    try:
        config = config_from_dict(values)
    except InputError:
        return False
    own, full = vars(config.model), vars(type(config).of_values({}).model)
    widths = [name for name in own if name.endswith(("channels", "planes"))]
    return any(np.sum(own[name]) < np.sum(full[name]) for name in widths)
