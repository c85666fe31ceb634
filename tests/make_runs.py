"""Builds result trees as finished runs leave them, without training anything."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.evaluate.detection_matches import DetectionMatches
from sr3d.evaluate.scored_files import ScoredDetections, write_scored
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.files import atomic_path, sha256, write_text
from sr3d.runs.record import (
    DETECTIONS_FILE,
    METRICS_FILE,
    MODEL_FILE,
    RunRecord,
    evaluation_seed,
    read_run,
    run_key,
    train_seed,
    write_run,
)

SETTINGS: dict[str, list[str]] = {
    "baseline": ["assigner.name=tr3d", "loss.cls=focal"],
    "spota": ["loss.cls=focal"],
    "ras": ["assigner.name=tr3d"],
    "sr3d": [],
}
LEVEL = {"baseline": 60.0, "spota": 61.5, "ras": 61.75, "sr3d": 62.5}
CLASSES = ("chair", "night_stand")
STEPS = 12
START = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)

Score = Callable[[str, int, int], float]


def ap25(setting: str, train: int, test: int) -> float:
    """A made-up AP25 that a reader can add up: one point a training, a tenth a test."""
    return LEVEL[setting] + train + 0.1 * test


def make_tree(
    results: Path,
    dataset: str = "synthetic",
    settings: Mapping[str, Sequence[str]] = SETTINGS,
    trainings: int = 2,
    tests: int = 2,
    score: Score = ap25,
    **changes: Any,
) -> list[RunRecord]:
    """Write complete runs of every setting below `results`; AP50 is 20 points below AP25.

    changes: fields of RunRecord to set otherwise, in every record.
    """
    records = []
    for setting, overrides in settings.items():
        for i in range(trainings):
            records.append(make_training(results, dataset, setting, overrides, i, **changes))
            for j in range(tests):
                value = score(setting, i, j)
                records.append(
                    make_test(results, dataset, setting, overrides, i, j, value, **changes)
                )
    return records


def make_training(
    results: Path, dataset: str, setting: str, overrides: Sequence[str], train: int, **changes: Any
) -> RunRecord:
    """A training with curves of a few steps and a model of one tiny weight."""
    folder = results / run_key(dataset, setting, train)
    rows = [
        {"step": s, "epoch": s // 4, "lr": 1e-3, "loss": 2.0 / (s + 1), "aic": 0.5 - 0.01 * s}
        for s in range(STEPS)
    ]
    write_text(folder / METRICS_FILE, "".join(json.dumps(row) + "\n" for row in rows))
    with atomic_path(folder / MODEL_FILE) as temporary:
        save_file({"head.bias": np.full(3, train, np.float32)}, temporary)
    record = _record(
        folder, (METRICS_FILE, MODEL_FILE), dataset, setting, overrides, train, None, changes
    )
    record = dataclasses.replace(record, metrics={"loss": rows[-1]["loss"], "aic": rows[-1]["aic"]})
    write_run(folder, record)
    return record


def make_test(
    results: Path,
    dataset: str,
    setting: str,
    overrides: Sequence[str],
    train: int,
    test: int,
    value: float,
    **changes: Any,
) -> RunRecord:
    """A test whose AP25 is `value`, with two detections."""
    folder = results / run_key(dataset, setting, train, test)
    write_scored(folder / DETECTIONS_FILE, two_detections(0.4 + 0.01 * test))
    record = _record(folder, (DETECTIONS_FILE,), dataset, setting, overrides, train, test, changes)
    per_class = {
        name: {"AP25": value + shift, "AP50": value - 20 + shift}
        for name, shift in zip(CLASSES, (5.0, -5.0), strict=True)
    }
    metrics = {"AP25": value, "AP50": value - 20, "per_class": per_class}
    record = dataclasses.replace(record, metrics=metrics)
    write_run(folder, record)
    return record


def two_detections(score: float) -> ScoredDetections:
    """One box in each of two rooms, both found, the second with this score."""
    scene, label = np.array(["room0", "room1"]), np.array([0, 1])
    box = np.ones((2, 7), np.float32)
    truth = BoxSet(scene, label, box, scenes=("room0", "room1"))
    found = BoxSet(scene, label, box, np.array([0.9, score], np.float32), ("room0", "room1"))
    return ScoredDetections(truth, found, DetectionMatches(np.arange(2), np.ones(2)))


def leave_detections(folder: Path, scored: ScoredDetections) -> None:
    """Replace what a test left, as if it had found these."""
    write_scored(folder / DETECTIONS_FILE, scored)
    record = read_run(folder)
    files = {**record.files, DETECTIONS_FILE: sha256(folder / DETECTIONS_FILE)}
    write_run(folder, dataclasses.replace(record, files=files))


def edit(results: Path, key: str, **changes: Any) -> RunRecord:
    """Change fields of a record on disk."""
    record = dataclasses.replace(read_run(results / key), **changes)
    write_run(results / key, record)
    return record


def _record(
    folder: Path,
    files: Sequence[str],
    dataset: str,
    setting: str,
    overrides: Sequence[str],
    train: int,
    test: int | None,
    changes: dict[str, Any],
) -> RunRecord:
    config = with_overrides(default_config(dataset), overrides)
    start = START + timedelta(hours=train, minutes=0 if test is None else 30 + test)
    seeds = {"train": train_seed(0, train)}
    if test is not None:
        seeds["test"] = evaluation_seed(0, train, test)
    seconds = 600.0 if test is None else 20.0
    record = RunRecord(
        kind="train" if test is None else "test",
        dataset=dataset,
        setting=setting,
        train=train,
        test=test,
        config=config.to_dict(),
        config_digest=config.digest(),
        overrides=list(overrides),
        seeds=seeds,
        code={"commit": "0123456789abcdef0123456789abcdef01234567", "edited": False},
        data={
            "dataset": dataset,
            "split": "train" if test is None else "val",
            "scenes": 64 if test is None else 32,
            "source": "made up for a test",
            "digest": "00112233445566ff",
        },
        machine={"system": "Linux", "processor": "a processor", "cores": 2, "gpus": []},
        versions={"python": "3.11.7", "torch": "2.13.0"},
        engine="native",
        device="cpu",
        started=start.isoformat(),
        finished=(start + timedelta(seconds=seconds)).isoformat(),
        wall_seconds=seconds,
        peak_memory_mb={"cpu": 512.0},
        metrics={},
        parameters=1_234_567,
        files={name: sha256(folder / name) for name in files},
    )
    return dataclasses.replace(record, **changes)
