"""What finished runs took: better than any measurement, because it is the thing itself.

Configurations that cost the same form a group, so that one number serves all of them.
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
    """The runs below a results folder that ran on such a device, by what they tell the price of."""

    def __init__(self, results: Path, device: str) -> None:
        self.results = results
        self.trainings: dict[Hashable, list[FinishedRun]] = {}
        self.tests: dict[Hashable, list[FinishedRun]] = {}
        for record in find_runs(results):
            try:
                run = FinishedRun(record, config_from_dict(record.config))
            except InputError:
                continue  # of a version with other settings: no measure for this one
            if record.device != device:
                continue
            if record.kind == "test":
                self.tests.setdefault(evaluation_group(run.config), []).append(run)
                continue
            for group in (training_group, rough_training_group):
                self.trainings.setdefault(group(run.config), []).append(run)

    def iteration_seconds(self, config: Config) -> SourcedNumber | None:
        """From trainings of the same network, with the same assigner and loss if there are any."""
        runs = self.trainings.get(training_group(config), [])
        what = "finished trainings"
        if not runs:
            runs = self.trainings.get(rough_training_group(config), [])
            what += " with another assigner or loss"
        return _mean([_seconds_an_iteration(run) for run in runs], runs, what)

    def scene_seconds(self, config: Config) -> SourcedNumber | None:
        """From tests of the same network, with their scoring and writing."""
        runs = self.tests.get(evaluation_group(config), [])
        seconds = [run.record.wall_seconds / run.record.data["scenes"] for run in runs]
        return _mean(seconds, runs, "finished tests")

    def scene_bytes(self, config: Config) -> SourcedNumber | None:
        """The size of a scene's detections, from tests of the same network."""
        runs = [
            run for run in self.tests.get(evaluation_group(config), []) if self._file(run).is_file()
        ]
        sizes = [self._file(run).stat().st_size / run.record.data["scenes"] for run in runs]
        return _mean(sizes, runs, "finished tests")

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
    """The GPU or the processor that a device of this machine is."""
    return str(facts["gpus"][0] if device == "cuda" and facts.get("gpus") else facts["processor"])


def network_group(config: Config) -> Hashable:
    """What decides the size of the weights."""
    return config.dataset, config.model


def training_group(config: Config) -> Hashable:
    """What decides a step, as far as assigners and losses go by their names."""
    values = config.flat()
    return rough_training_group(config), values.get("assigner.name"), values.get("loss.cls")


def rough_training_group(config: Config) -> Hashable:
    """The same without assigner and loss, which are a few hundredths of a step."""
    drawn = config.augment.sample_count or config.augment.sample_fraction
    return network_group(config), config.train.batch_size, drawn


def evaluation_group(config: Config) -> Hashable:
    """What decides the test of a scene."""
    test, oracle = config.test, config.flat().get("test.oracle")
    return network_group(config), test.sample_count, test.nms, config.candidates, oracle
