"""The cost of each job's runs, from finished runs, measurements on this machine, or assumptions."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cache, partial

import torch

from sr3d.config import Config
from sr3d.data.datasets import dataset_of
from sr3d.data.mean_sizes import mean_sizes_of
from sr3d.data.prepared import PreparedDataset
from sr3d.detectors import FAMILIES, build_detector
from sr3d.detectors.needs import with_mean_sizes, with_needs
from sr3d.errors import InputError, Kind
from sr3d.runs.folder import as_jobs_run
from sr3d.runs.machine import machine_facts
from sr3d.runs.progress import Progress
from sr3d.study.planning.budget import Budget, Price, SourcedNumber, budget
from sr3d.study.planning.experiment import Experiment, Job
from sr3d.study.planning.finished_runs import (
    FinishedRuns,
    evaluation_group,
    machine_name,
    training_group,
)
from sr3d.study.planning.measuring import (
    Sample,
    Timing,
    is_prepared,
    sample_scenes,
    split_sizes,
    time_test,
    time_training,
)
from sr3d.validation import did_you_mean

# Observed with the thin network on procedural rooms: detections per anchor among the `nms_pre`
# kept for NMS (an anchor can be detected as several classes), and bytes per detection on disk.
_DETECTIONS_AN_ANCHOR = 2.5
_DETECTION_BYTES = 15

_ASSUMABLE = ("iteration", "scene", "start", "gpus", "price")
_SHAPE = "Write it as iteration=SECONDS,scene=SECONDS,gpus=N,price=P. The last two are optional."


@dataclass(frozen=True)
class Assumptions:
    """Numbers that the user assumes for all settings. None is unknown.

    iteration, scene: seconds of a training iteration and of an evaluated scene, both or neither.
    start: seconds from the start of a job until it computes. gpus: GPUs that compute at the same
    time, to which the seconds refer. price: money for an hour of a GPU, or of a core on the CPU.
    """

    iteration: float | None = None
    scene: float | None = None
    start: float = 0.0
    gpus: int | None = None
    price: float | None = None


def parse_assumed(text: str) -> Assumptions:
    """Read `iteration=0.65,scene=0.042,start=5,gpus=4,price=2.5`. Each part is optional.

    Raises:
        InputError: an unknown name, not a number, a negative value, iteration without scene.
    """
    field = f"--assume {text}"
    values: dict[str, float] = {}
    for item in text.split(","):
        name, _, number = item.strip().partition("=")
        if name not in _ASSUMABLE:
            problem = f"unknown '{name}'{did_you_mean(name, _ASSUMABLE)}"
            raise InputError(problem, field=field, kind=Kind.UNKNOWN, remedy=_SHAPE)
        try:
            values[name] = float(number)
        except ValueError:
            problem = f"'{number}' is not a number"
            raise InputError(problem, field=field, kind=Kind.VALUE, remedy=_SHAPE) from None
        if not 0 <= values[name] < float("inf"):
            problem, remedy = f"{name} is negative or infinite", "Use a positive number."
            raise InputError(problem, field=field, kind=Kind.VALUE, remedy=remedy)
    if len({"iteration", "scene"} & values.keys()) == 1:
        problem = "iteration and scene belong together, but one is missing"
        raise InputError(problem, field=field, kind=Kind.MISSING, remedy=_SHAPE)
    gpus = values.pop("gpus", None)
    if gpus is not None and (gpus < 1 or gpus != int(gpus)):
        problem, remedy = "gpus is not a positive whole number", "Use a whole number above zero."
        raise InputError(problem, field=field, kind=Kind.VALUE, remedy=remedy)
    return Assumptions(gpus=None if gpus is None else int(gpus), **values)


def plan(experiment: Experiment, limit: float, assumed: Assumptions | None = None) -> Budget:
    """Compute the budget of an experiment. limit: seconds for each measurement.

    Raises:
        InputError: data that cannot be read, or no device to measure on.
    """
    assumed = assumed or Assumptions()
    experiment = assumed_experiment(experiment, assumed)
    sizes: dict[str, tuple[int, int]] = {
        name: split_sizes(data) for name, data in experiment.data.items()
    }
    if assumed.iteration is None or assumed.scene is None:
        prices = price_jobs(experiment, limit)
    else:
        seconds = assumed.iteration, assumed.scene, assumed.start
        prices = price_assumed(experiment, *seconds)
    return budget(experiment, sizes, prices, assumed.price)


def assumed_experiment(experiment: Experiment, assumed: Assumptions) -> Experiment:
    """The experiment on the assumed GPUs, with one job on each."""
    if assumed.gpus is None:
        return experiment
    return replace(experiment, device="cuda", slots=assumed.gpus)


def price_assumed(
    experiment: Experiment, iteration: float, scene: float, start: float
) -> list[Price]:
    """The same price for every job, in seconds."""
    runs = FinishedRuns(experiment.results, experiment.device)
    known = SourcedNumber(iteration, "assumed"), SourcedNumber(scene, "assumed")
    return [_price(experiment, job, *known, start, runs) for job in experiment.jobs]


def price_jobs(experiment: Experiment, limit: float) -> list[Price]:
    """The price of every job, from finished runs of its group or, without any, measured now."""
    runs = FinishedRuns(experiment.results, experiment.device)
    known: dict[Hashable, SourcedNumber | None] = {}
    measure: dict[Hashable, Callable[[], SourcedNumber]] = {}
    for job in experiment.jobs:
        config = experiment.config(job)
        if job.trainings_left:
            key = training_group(config)
            known[key] = runs.iteration_seconds(config)
            measure[key] = partial(_measure_training, experiment, config, limit)
        if job.tests_left:
            key = evaluation_group(config)
            known[key] = runs.scene_seconds(config)
            measure[key] = partial(_measure_test, experiment, config, limit)
    missing = [key for key, number in known.items() if number is None]
    if missing:
        _need(experiment.device)
        with as_jobs_run(experiment.threads), Progress("measurements", len(missing)) as progress:
            for done, key in enumerate(missing, start=1):
                known[key] = measure[key]()
                progress.update(done)
    start = _start_seconds()
    prices = []
    for job in experiment.jobs:
        config = experiment.config(job)
        iteration, scene = known.get(training_group(config)), known.get(evaluation_group(config))
        prices.append(_price(experiment, job, iteration, scene, start, runs))
    return prices


def _price(
    experiment: Experiment,
    job: Job,
    iteration: SourcedNumber | None,
    scene: SourcedNumber | None,
    start: float,
    runs: FinishedRuns,
) -> Price:
    config = experiment.config(job)
    defaults = type(config).of_values({})
    model_bytes, checkpoint_bytes = _weights(
        # Seed, augmentation, schedule and inference do not change the network.
        replace(
            config,
            seed=defaults.seed,
            augment=defaults.augment,
            train=defaults.train,
            test=defaults.test,
        )
    )
    guess = SourcedNumber(
        _DETECTIONS_AN_ANCHOR * config.candidates * _DETECTION_BYTES,
        f"a guess: {_DETECTIONS_AN_ANCHOR} detections of {_DETECTION_BYTES} bytes for each of "
        f"{config.candidates} boxes before NMS",
    )
    return Price(
        iteration=iteration if job.trainings_left else None,
        scene=scene if job.tests_left else None,
        scene_bytes=runs.scene_bytes(config) or guess,
        start=start,
        model_bytes=model_bytes,
        checkpoint_bytes=checkpoint_bytes,
    )


def _measure_training(experiment: Experiment, config: Config, limit: float) -> SourcedNumber:
    config, sample = _sample(experiment, config, experiment.data[config.dataset].split)
    timed = time_training(config, sample.scenes, limit, experiment.device, experiment.workers)
    size, full = timed.batch, config.train.batch_size
    scaled = f", times {full / size:g} for batches of {full}" if size < full else ""
    steps = f"{timed.runs} steps with batches of {size}{scaled}"
    return _measured(timed, experiment, steps, sample.what)


def _measure_test(experiment: Experiment, config: Config, limit: float) -> SourcedNumber:
    config, sample = _sample(experiment, config, experiment.data[config.dataset].test_split)
    timed = time_test(config, sample.scenes, limit, experiment.device)
    how = f"{timed.runs} evaluations of an untrained network"
    return _measured(timed, experiment, how, sample.what)


def _sample(experiment: Experiment, config: Config, split: str) -> tuple[Config, Sample]:
    """Scenes of a split, and the configuration completed with what its family derives from data."""
    data, family = experiment.data[config.dataset], FAMILIES[config.model.name]
    dataset = dataset_of(config)
    sample = sample_scenes(dataset, data, split)
    if is_prepared(data):
        return with_needs(config, family, PreparedDataset(data.folder, data.split)), sample
    sizes = partial(mean_sizes_of, sample.scenes, len(dataset.classes))
    return with_mean_sizes(config, family, sizes), sample


def _measured(timed: Timing, experiment: Experiment, how: str, scenes: str) -> SourcedNumber:
    machine = machine_name(machine_facts(), experiment.device)
    return SourcedNumber(timed.seconds, f"measured on {machine}: {how}, on {scenes}")


def _need(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "PyTorch finds no GPU to measure on",
            field="device cuda",
            kind=Kind.MISSING,
            remedy="Pass assumed seconds: --assume iteration=0.67,scene=0.04 (in the workflow: "
            "--config assume=iteration=0.67,scene=0.04).",
        )


@cache
def _weights(config: Config) -> tuple[int, int]:
    """Bytes of a model's file and of a checkpoint. AdamW keeps two numbers per parameter."""
    one = (1.0, 1.0, 1.0)  # metres. The sizes do not affect the number of weights.
    sizes = (one,) * len(dataset_of(config).classes)
    network = build_detector(with_mean_sizes(config, FAMILIES[config.model.name], lambda: sizes))
    weights = sum(v.numel() * v.element_size() for v in network.state_dict().values())
    return weights, weights + 2 * sum(p.numel() * p.element_size() for p in network.parameters())


def _start_seconds() -> float:
    """Seconds until Python has imported what a run needs, measured in a new process."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import sr3d.train.training, sr3d.evaluate.loop"], check=True
    )
    return time.perf_counter() - started
