"""Read the experiment to be planned from the JSON file of the workflow into checked dataclasses.

    {"device": "cpu", "slots": 2, "results": "results",
     "data": {"scannet": {"folder": "data/scannet", "split": "train", "test_split": "val",
                          "scenes": {"train": 1201, "val": 312}}},
     "jobs": [{"dataset": "scannet", "setting": "sr3d", "overrides": [], "trainings": 5, "tests": 5,
               "tests_of": null, "done_trainings": 0, "done_tests": []}]}

Optional: `threads` (CPU threads of a job, default 1) and `workers` (threads that load scenes ahead,
default 0) beside `slots`, and `points` (per scene) beside `scenes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval

from sr3d.config import Config
from sr3d.config_groups import DatasetName
from sr3d.detectors.configuration import with_overrides
from sr3d.detectors.starting_config import starting_config
from sr3d.errors import InputError, Kind
from sr3d.run_setting import configure
from sr3d.runs.files import read_json
from sr3d.settings import read_settings
from sr3d.validation import did_you_mean, validate
from sr3d.value_types import Text, Validated

Positive = Annotated[int, Interval(ge=1)]
Whole = Annotated[int, Interval(ge=0)]


@dataclass(frozen=True)
class DataPlan:
    """One data set.

    folder: of the prepared data, which may not exist yet. split, test_split: for training and for
    evaluation. scenes: size of each split, as published or planned. points: of a scene, if planned.
    """

    folder: Path
    split: str
    test_split: str
    scenes: Mapping[str, Positive]
    points: Positive | None = None


@dataclass(frozen=True)
class Job:
    """One setting on one data set.

    tests: evaluation runs per training run. done_tests: finished evaluation runs per training run,
    in order. Training runs beyond its end have none.

    overrides: in addition to the setting's own overrides, which may be repeated here. If the name
    is not a setting of the package, all its overrides. tests_of: the setting whose training runs
    it evaluates, if it has none of its own. Its overrides follow those of that setting.
    """

    dataset: DatasetName
    setting: Text
    overrides: tuple[str, ...]
    trainings: Positive
    tests: Whole
    tests_of: Text | None = None
    done_trainings: Whole = 0
    done_tests: tuple[Whole, ...] = ()

    @property
    def trainings_left(self) -> int:
        return 0 if self.tests_of else self.trainings - self.done_trainings

    @property
    def tests_left(self) -> int:
        return self.trainings * self.tests - sum(self.done_tests)

    def tests_left_of(self, training: int) -> int:
        return self.tests - (self.done_tests[training] if training < len(self.done_tests) else 0)


@dataclass(frozen=True)
class Experiment(Validated):
    """slots: jobs that run at the same time. results: the folder of finished runs."""

    device: Literal["cpu", "cuda"]
    slots: Positive
    results: Path
    data: Mapping[DatasetName, DataPlan]
    jobs: tuple[Job, ...]
    threads: Positive = 1
    workers: Whole = 0

    def job(self, dataset: str, setting: str) -> Job | None:
        """The job of this data set and setting."""
        named = (job for job in self.jobs if (job.dataset, job.setting) == (dataset, setting))
        return next(named, None)

    def trained_by(self, job: Job) -> Job:
        """The job whose training runs this job evaluates, usually itself."""
        return (self.job(job.dataset, job.tests_of) if job.tests_of else None) or job

    def config(self, job: Job) -> Config:
        """The configuration of the job."""
        trained = self.trained_by(job).overrides if job.tests_of else ()
        data = self.data[job.dataset]
        config, overrides = starting_config(job.dataset, data.folder, data.split), job.overrides
        if job.setting in (settings := read_settings()):
            return configure(settings, job.setting, config, [*trained, *overrides]).config
        return with_overrides(config, [*trained, *overrides])


def read_experiment(path: str | Path) -> Experiment:
    """Read and check the file.

    Raises:
        InputError: names the file, the field and the problem.
    """
    experiment = validate(Experiment, read_json(path), path)
    for name, data in experiment.data.items():
        for key in ("split", "test_split"):
            _known(getattr(data, key), list(data.scenes), path, f"data.{name}.{key}")
    for i, job in enumerate(experiment.jobs):
        _known(job.dataset, list(experiment.data), path, f"jobs[{i}].dataset")
        _check_job(experiment, job, path, f"jobs[{i}]")
    return experiment


def _known(name: str, known: list[str], file: str | Path, field: str) -> None:
    if name not in known:
        problem = f"'{name}'{did_you_mean(name, known)}"
        raise InputError(problem, file=file, field=field, kind=Kind.UNKNOWN)


def _check_job(experiment: Experiment, job: Job, file: str | Path, where: str) -> None:
    """Refuse a combination of fields that is inconsistent although each value is allowed."""

    def wrong(key: str, wanted: str) -> InputError:
        found = getattr(job, key)
        problem = f"expected {wanted}, got '{list(found) if isinstance(found, tuple) else found}'"
        return InputError(problem, file=file, field=f"{where}.{key}", kind=Kind.CONFLICT)

    if experiment.job(job.dataset, job.setting) is not job:
        raise wrong("setting", f"a setting that is new on {job.dataset}")
    if job.tests_of:
        trained = experiment.job(job.dataset, job.tests_of)
        if trained is None or trained.tests_of:
            raise wrong("tests_of", f"a setting that is trained on {job.dataset}")
        if job.trainings > trained.trainings:
            raise wrong("trainings", f"at most the {trained.trainings} of {job.tests_of}")
    elif job.done_trainings > job.trainings:
        raise wrong("done_trainings", f"at most the {job.trainings} training runs")
    if len(job.done_tests) > job.trainings or max(job.done_tests, default=0) > job.tests:
        most = f"at most {job.tests} evaluation runs of each of {job.trainings} training runs"
        raise wrong("done_tests", most)
    try:
        experiment.config(job)
    except InputError as error:
        field = f"{where}.overrides"
        raise InputError(str(error), file=file, field=field, kind=error.kind) from None
