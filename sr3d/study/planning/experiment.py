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

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sr3d.checked import Checked
from sr3d.config import DATASETS, Config
from sr3d.errors import InputError, Kind
from sr3d.runs.files import read_json
from sr3d.runs.folder import starting_config
from sr3d.settings import configure, read_settings


@dataclass(frozen=True)
class DataPlan:
    """One data set. folder: where it is prepared, or will be. split, test_split: whose scenes are
    trained on and tested. scenes: how many each split has, as published or planned. points: of a
    scene, where planned.
    """

    folder: Path
    split: str
    test_split: str
    scenes: Mapping[str, int]
    points: int | None = None


@dataclass(frozen=True)
class Job:
    """One setting on one data set. tests: of each training. done_tests: of each, in turn, how many
    have ended; none where it says nothing.

    overrides: beside those that the setting brings by its name, which may be repeated; all of them
    where the name is no setting of the package. tests_of: the setting whose trainings it tests, for
    one that has none of its own. Its overrides come after that setting's.
    """

    dataset: str
    setting: str
    overrides: tuple[str, ...]
    trainings: int
    tests: int
    tests_of: str | None = None
    done_trainings: int = 0
    done_tests: tuple[int, ...] = ()

    @property
    def trainings_left(self) -> int:
        return 0 if self.tests_of else self.trainings - self.done_trainings

    @property
    def tests_left(self) -> int:
        return self.trainings * self.tests - sum(self.done_tests)

    def tests_left_of(self, training: int) -> int:
        return self.tests - (self.done_tests[training] if training < len(self.done_tests) else 0)


@dataclass(frozen=True)
class Experiment:
    """slots: jobs that run side by side. results: the folder that has the finished ones."""

    device: str
    slots: int
    results: Path
    data: Mapping[str, DataPlan]
    jobs: tuple[Job, ...]
    threads: int = 1
    workers: int = 0

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
        return config.with_overrides([*trained, *overrides])


def read_experiment(path: str | Path) -> Experiment:
    """Read and check the file.

    Raises:
        InputError: names the file, the field and what is wrong with it.
    """
    whole = Checked(read_json(path), f"{path}:").only(
        ("device", "slots", "results", "data", "jobs", "threads", "workers")
    )
    data = {}
    for name, plan in whole.get("data").entries().items():
        Checked(name, f"{path}: data").name(DATASETS)
        data[name] = _data(plan)
    experiment = Experiment(
        device=whole.get("device").name(("cpu", "cuda")),
        slots=whole.get("slots").whole(),
        results=Path(whole.get("results").text()),
        data=data,
        jobs=tuple(_job(job, list(data)) for job in whole.get("jobs").items()),
        threads=_optional(whole, "threads", Checked.whole) or 1,
        workers=_optional(whole, "workers", _count) or 0,
    )
    for job, where in zip(experiment.jobs, whole.get("jobs").items(), strict=True):
        _check_job(experiment, job, where)
    return experiment


def _data(value: Checked) -> DataPlan:
    value.only(("folder", "split", "test_split", "scenes", "points"))
    scenes = {name: count.whole() for name, count in value.get("scenes").entries().items()}
    return DataPlan(
        folder=Path(value.get("folder").text()),
        split=value.get("split").name(list(scenes)),
        test_split=value.get("test_split").name(list(scenes)),
        scenes=scenes,
        points=_optional(value, "points", Checked.whole),
    )


def _job(value: Checked, datasets: list[str]) -> Job:
    value.only(
        (
            "dataset", "setting", "overrides", "trainings", "tests", "tests_of", "done_trainings",
            "done_tests",
        )
    )  # fmt: skip
    return Job(
        dataset=value.get("dataset").name(datasets),
        setting=value.get("setting").text(),
        overrides=value.get("overrides").texts(),
        trainings=value.get("trainings").whole(),
        tests=_count(value.get("tests")),
        tests_of=_optional(value, "tests_of", Checked.text),
        done_trainings=_optional(value, "done_trainings", _count) or 0,
        done_tests=_optional(value, "done_tests", _counts) or (),
    )


def _check_job(experiment: Experiment, job: Job, where: Checked) -> None:
    """Refuse what each field allows and all together do not."""
    if experiment.job(job.dataset, job.setting) is not job:
        raise where.get("setting").wrong(f"a setting that is new on {job.dataset}")
    if job.tests_of:
        trained = experiment.job(job.dataset, job.tests_of)
        if trained is None or trained.tests_of:
            raise where.get("tests_of").wrong(f"a setting that is trained on {job.dataset}")
        if job.trainings > trained.trainings:
            raise where.get("trainings").wrong(f"at most the {trained.trainings} of {job.tests_of}")
    elif job.done_trainings > job.trainings:
        raise where.get("done_trainings").wrong(f"at most the {job.trainings} trainings")
    if len(job.done_tests) > job.trainings or max(job.done_tests, default=0) > job.tests:
        most = f"at most {job.tests} tests of each of {job.trainings} trainings"
        raise where.get("done_tests").wrong(most)
    try:
        experiment.config(job)
    except InputError as error:
        raise InputError(f"{where.where}.overrides: {error}", kind=Kind.VALUE) from None


T = TypeVar("T")


def _optional(value: Checked, name: str, read: Callable[[Checked], T]) -> T | None:
    return read(value.get(name)) if value.has(name) and value.get(name).value is not None else None


def _counts(value: Checked) -> tuple[int, ...]:
    return tuple(_count(item) for item in value.items())


def _count(value: Checked) -> int:
    """A whole number, zero included."""
    nothing = type(value.value) is int and value.value == 0
    return 0 if nothing else value.whole()
