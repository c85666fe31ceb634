"""Take durations and sizes from finished runs, which predict better than any measurement.

Configurations of the same cost form a group, and one number serves the whole group.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from sr3d.config import Config
from sr3d.detectors.configuration import config_from_dict
from sr3d.errors import InputError
from sr3d.runs.record import DETECTIONS_FILE, RunRecord, find_runs
from sr3d.study.planning.budget import SourcedNumber, iterations_per_epoch


@dataclass(frozen=True)
class FinishedRun:
    """A run and its configuration."""

    record: RunRecord
    config: Config


class FinishedRuns:
    """The runs below a results folder that ran on a device of this kind, by group."""

    def __init__(self, results: Path, device: str) -> None:
        self.results = results
        self.trainings: dict[Hashable, list[FinishedRun]] = {}
        self.tests: dict[Hashable, list[FinishedRun]] = {}
        for record in find_runs(results):
            try:
                run = FinishedRun(record, config_from_dict(record.config))
            except InputError:
                continue  # its configuration is of another version, so its group is unknown
            if record.device != device:
                continue
            if record.kind == "test":
                self.tests.setdefault(evaluation_group(run.config), []).append(run)
                continue
            for group in (training_group, rough_training_group):
                self.trainings.setdefault(group(run.config), []).append(run)

    def iteration_seconds(self, config: Config) -> SourcedNumber | None:
        """From training runs of the same network, if possible with the same assigner and loss."""
        runs = self.trainings.get(training_group(config), [])
        what = "finished training runs"
        if not runs:
            runs = self.trainings.get(rough_training_group(config), [])
            what += " with another assigner or loss"
        return _mean([_seconds_an_iteration(run) for run in runs], runs, what)

    def scene_seconds(self, config: Config) -> SourcedNumber | None:
        """From evaluation runs of the same network, with scoring and writing."""
        runs = self.tests.get(evaluation_group(config), [])
        seconds = [run.record.wall_seconds / run.record.data["scenes"] for run in runs]
        return _mean(seconds, runs, "finished evaluation runs")

    def scene_bytes(self, config: Config) -> SourcedNumber | None:
        """Bytes of a scene's detections, from evaluation runs of the same network."""
        runs = [
            run for run in self.tests.get(evaluation_group(config), []) if self._file(run).is_file()
        ]
        sizes = [self._file(run).stat().st_size / run.record.data["scenes"] for run in runs]
        return _mean(sizes, runs, "finished evaluation runs")

    def _file(self, run: FinishedRun) -> Path:
        return self.results / run.record.key / DETECTIONS_FILE


def _seconds_an_iteration(run: FinishedRun) -> float:
    record, train = run.record, run.config.train
    whole = record.wall_seconds / train.epochs
    epoch = record.timings.get("seconds_per_epoch", whole)
    return epoch / iterations_per_epoch(record.data["scenes"], train)


def _mean(values: Sequence[float], runs: Sequence[FinishedRun], what: str) -> SourcedNumber | None:
    if not values:
        return None
    machines = dict.fromkeys(machine_name(run.record.machine, run.record.device) for run in runs)
    return SourcedNumber(fmean(values), f"mean of {len(values)} {what} on {' and '.join(machines)}")


def machine_name(facts: dict[str, Any], device: str) -> str:
    """The name of this machine's GPU or processor, depending on the device."""
    return str(facts["gpus"][0] if device == "cuda" and facts.get("gpus") else facts["processor"])


def network_group(config: Config) -> Hashable:
    """The part of the configuration that decides the size of the weights."""
    return config.dataset, config.model


def training_group(config: Config) -> Hashable:
    """The part that decides the time of a training step. Assigner and loss count by name only."""
    values = config.flat()
    return rough_training_group(config), values.get("assigner.name"), values.get("loss.cls")


def rough_training_group(config: Config) -> Hashable:
    """As `training_group` without assigner and loss, which take a few hundredths of a step."""
    drawn = config.augment.sample_count or config.augment.sample_fraction
    return network_group(config), config.train.batch_size, drawn


def evaluation_group(config: Config) -> Hashable:
    """The part that decides the time to evaluate a scene."""
    test, oracle = config.test, config.flat().get("test.oracle")
    return network_group(config), test.sample_count, test.nms, config.candidates, oracle
