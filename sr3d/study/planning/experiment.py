"""The experiment to be planned: a JSON file that the workflow writes, as checked dataclasses.

    {"device": "cpu", "slots": 2, "results": "results",
     "data": {"scannet": {"folder": "data/scannet", "split": "train", "test_split": "val",
                          "scenes": {"train": 1201, "val": 312}}},
     "jobs": [{"dataset": "scannet", "setting": "sr3d", "overrides": [], "trainings": 5, "tests": 5,
               "tests_of": null, "done_trainings": 0, "done_tests": []}]}

Optional: `threads` (of the CPU, a job; 1) and `workers` (threads that load scenes ahead; 0) beside
`slots`, and `points` (of a scene) beside `scenes`.
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
    """One data set. folder: where it is prepared, or will be. split, test_split: whose scenes are
    trained on and tested. scenes: how many each split has, as published or planned. points: of a
    scene, where planned.
    """

    folder: Path
    split: str
    test_split: str
    scenes: Mapping[str, Positive]
    points: Positive | None = None


@dataclass(frozen=True)
class Job:
    """One setting on one data set. tests: of each training. done_tests: of each, in turn, how many
    have ended; none where it says nothing.

    overrides: beside those that the setting brings by its name, which may be repeated; all of them
    where the name is no setting of the package. tests_of: the setting whose trainings it tests, for
    one that has none of its own. Its overrides come after that setting's.
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
    """slots: jobs that run side by side. results: the folder that has the finished ones."""

    device: Literal["cpu", "cuda"]
    slots: Positive
    results: Path
    data: Mapping[DatasetName, DataPlan]
    jobs: tuple[Job, ...]
    threads: Positive = 1
    workers: Whole = 0

    def job(self, dataset: str, setting: str) -> Job | None:
        """The job of that name."""
        named = (job for job in self.jobs if (job.dataset, job.setting) == (dataset, setting))
        return next(named, None)

    def trained_by(self, job: Job) -> Job:
        """The job whose trainings this one tests: itself, as a rule."""
        return (self.job(job.dataset, job.tests_of) if job.tests_of else None) or job

    def config(self, job: Job) -> Config:
        """The configuration that the job runs under."""
        trained = self.trained_by(job).overrides if job.tests_of else ()
        data = self.data[job.dataset]
        config, overrides = starting_config(job.dataset, data.folder, data.split), job.overrides
        if job.setting in (settings := read_settings()):
            return configure(settings, job.setting, config, [*trained, *overrides]).config
        return with_overrides(config, [*trained, *overrides])


def read_experiment(path: str | Path) -> Experiment:
    """Read and check the file.

    Raises:
        InputError: names the file, the field and what is wrong with it.
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
    """Refuse what each field allows and all together do not."""

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
        raise wrong("done_trainings", f"at most the {job.trainings} trainings")
    if len(job.done_tests) > job.trainings or max(job.done_tests, default=0) > job.tests:
        most = f"at most {job.tests} tests of each of {job.trainings} trainings"
        raise wrong("done_tests", most)
    try:
        experiment.config(job)
    except InputError as error:
        field = f"{where}.overrides"
        raise InputError(str(error), file=file, field=field, kind=error.kind) from None
