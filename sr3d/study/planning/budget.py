"""Compute hours and bytes of an experiment from the cost of one step, one scene and one file.

Nothing here measures, reads a file or needs PyTorch.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sr3d.config import TrainConfig
from sr3d.study.planning.experiment import Experiment, Job

CURVE_BYTES = 180  # a line of metrics.jsonl, one per iteration


@dataclass(frozen=True)
class SourcedNumber:
    """A number and its source in a few words."""

    value: float
    source: str


@dataclass(frozen=True)
class Price:
    """The cost of a job's runs.

    iteration, scene: seconds of a training iteration and of an evaluated scene. None if no run of
    that kind is left. start: seconds until a job starts to compute. scene_bytes, model_bytes,
    checkpoint_bytes: size of a scene's detections, of a model's file, and of a checkpoint.
    """

    iteration: SourcedNumber | None
    scene: SourcedNumber | None
    scene_bytes: SourcedNumber
    start: float
    model_bytes: int
    checkpoint_bytes: int


@dataclass(frozen=True)
class PlanInput:
    """One number of the plan, and the settings of a data set that use it.

    what: "iteration" and "scene" in seconds, "detections" of a scene in bytes.
    """

    dataset: str
    settings: tuple[str, ...]
    what: str
    value: float
    source: str


@dataclass(frozen=True)
class SettingBudget:
    """The runs that are left of one setting on one data set.

    epochs, iterations, hours_a_training: of one training run, 0 if none is left. hours: of all its
    training and evaluation runs together.
    """

    dataset: str
    setting: str
    trainings: int
    tests: int
    epochs: int
    iterations: int
    hours_a_training: float
    hours: float


@dataclass(frozen=True)
class Disk:
    """Bytes. checkpoints: their largest total, since each is deleted when its training run ends."""

    models: float
    detections: float
    curves: float
    checkpoints: float

    @property
    def total(self) -> float:
        return self.models + self.detections + self.curves + self.checkpoints


@dataclass(frozen=True)
class Budget:
    """The cost of an experiment. Finished runs count in `done_…` only.

    start_seconds: from the start of a job until it computes. scenes: training and evaluation
    scenes of each data set. slots: GPUs or CPU cores (see `unit`) that compute at the same time.
    price: for an hour of one of them, None if unknown.
    """

    lines: tuple[SettingBudget, ...]
    trainings: int
    tests: int
    compute_hours: float
    wall_hours: float
    slots: int
    disk: Disk
    done_trainings: int
    done_tests: int
    start_seconds: float
    scenes: dict[str, tuple[int, int]]
    sources: tuple[PlanInput, ...]
    unit: str
    price: float | None = None

    @property
    def training_hours(self) -> float:
        """Hours of all training runs together."""
        return sum(line.trainings * line.hours_a_training for line in self.lines)

    @property
    def cost(self) -> float | None:
        """Money for all hours, in the currency of the price. None without a price."""
        return None if self.price is None else self.compute_hours * self.price

    def to_dict(self) -> dict[str, Any]:
        """Plain values, JSON-able."""
        value = dataclasses.asdict(self)
        value["disk"]["total"] = self.disk.total
        return value | {"cost": self.cost}


@dataclass(frozen=True)
class Chain:
    """One training run and the evaluation jobs that wait for it, in seconds. 0 if it is done.

    tests: one job for each setting that evaluates the training run. It makes all evaluation runs.
    """

    training: float
    tests: tuple[float, ...]


def iterations_per_epoch(scenes: int, config: TrainConfig) -> int:
    """The number of batches that `sr3d.data.loader.epoch_batches` makes.

    A short last batch is dropped unless `keep_last` is set. A set smaller than one batch gives one
    short batch.
    """
    places = scenes * config.repeat
    size = min(config.batch_size, places)
    return -(-places // size) if config.keep_last else places // size


def budget(
    experiment: Experiment,
    sizes: Mapping[str, tuple[int, int]],
    prices: Sequence[Price],
    price: float | None = None,
) -> Budget:
    """Add up the cost of an experiment.

    sizes: training and evaluation scenes of each data set. prices: seconds and bytes of each job,
    in order. price: money for an hour of a GPU, or of a core on the CPU.
    """
    lines = [
        _line(experiment, job, sizes[job.dataset], price)
        for job, price in zip(experiment.jobs, prices, strict=True)
    ]
    return Budget(
        lines=tuple(lines),
        trainings=sum(line.trainings for line in lines),
        tests=sum(line.tests for line in lines),
        compute_hours=sum(line.hours for line in lines),
        wall_hours=makespan(chains(experiment, sizes, prices), experiment.slots) / 3600,
        slots=experiment.slots,
        disk=_disk(experiment, sizes, prices, lines),
        done_trainings=sum(job.done_trainings for job in experiment.jobs if not job.tests_of),
        done_tests=sum(sum(job.done_tests) for job in experiment.jobs),
        start_seconds=max((price.start for price in prices), default=0.0),
        scenes=dict(sizes),
        sources=sources(experiment, prices),
        unit="GPU" if experiment.device == "cuda" else "CPU",
        price=price,
    )


def sources(experiment: Experiment, prices: Sequence[Price]) -> tuple[PlanInput, ...]:
    """The sources of the numbers. Settings with the same source share an entry."""
    found: dict[tuple[str, str, SourcedNumber], list[str]] = {}
    for job, price in zip(experiment.jobs, prices, strict=True):
        known = {"iteration": price.iteration, "scene": price.scene}
        if price.scene:
            known["detections"] = price.scene_bytes
        for what, number in known.items():
            if number is not None:
                found.setdefault((job.dataset, what, number), []).append(job.setting)
    return tuple(
        PlanInput(dataset, tuple(settings), what, number.value, number.source)
        for (dataset, what, number), settings in found.items()
    )


def chains(
    experiment: Experiment, sizes: Mapping[str, tuple[int, int]], prices: Sequence[Price]
) -> list[Chain]:
    """Every training run with its evaluation runs, in the order of the jobs."""
    found = []
    priced = list(zip(experiment.jobs, prices, strict=True))
    for job, price in priced:
        if job.tests_of:
            continue
        testers = [pair for pair in priced if experiment.trained_by(pair[0]) is job]
        seconds = _training_seconds(price, _iterations(experiment, job, sizes[job.dataset][0]))
        for i in range(job.trainings):
            tests: list[float] = []
            for tester, its_price in testers:
                if i < tester.trainings and (left := tester.tests_left_of(i)):
                    tests.append(_test_seconds(its_price, sizes[job.dataset][1], left))
            found.append(Chain(0.0 if i < job.done_trainings else seconds, tuple(tests)))
    return found


def makespan(work: Sequence[Chain], slots: int) -> float:
    """Seconds until all runs are done, in the workflow's order.

    Every free slot takes an evaluation job that can start, otherwise the next training run.
    """
    free = [0.0] * slots  # when each slot is free again
    ready = [(0.0, test) for chain in work if not chain.training for test in chain.tests]
    trainings = deque(chain for chain in work if chain.training)
    heapq.heapify(ready)
    while ready or trainings:
        now = heapq.heappop(free)
        if ready and (ready[0][0] <= now or not trainings):
            since, seconds = heapq.heappop(ready)
            heapq.heappush(free, max(now, since) + seconds)
        else:
            chain = trainings.popleft()
            ended = now + chain.training
            heapq.heappush(free, ended)
            for test in chain.tests:
                heapq.heappush(ready, (ended, test))
    return max(free)


def _line(experiment: Experiment, job: Job, scenes: tuple[int, int], price: Price) -> SettingBudget:
    iterations = _iterations(experiment, job, scenes[0])
    training = _training_seconds(price, iterations)
    left = filter(None, map(job.tests_left_of, range(job.trainings)))
    evaluation = sum(_test_seconds(price, scenes[1], tests) for tests in left)
    return SettingBudget(
        dataset=job.dataset,
        setting=job.setting,
        trainings=job.trainings_left,
        tests=job.tests_left,
        epochs=experiment.config(job).train.epochs if job.trainings_left else 0,
        iterations=iterations,
        hours_a_training=training / 3600,
        hours=(job.trainings_left * training + evaluation) / 3600,
    )


def _disk(
    experiment: Experiment,
    sizes: Mapping[str, tuple[int, int]],
    prices: Sequence[Price],
    lines: Sequence[SettingBudget],
) -> Disk:
    models = detections = curves = 0.0
    checkpoints: list[int] = []  # one size for every training run
    for job, price, line in zip(experiment.jobs, prices, lines, strict=True):
        models += line.trainings * price.model_bytes
        detections += line.tests * sizes[job.dataset][1] * price.scene_bytes.value
        curves += line.trainings * line.iterations * CURVE_BYTES
        checkpoints += [price.checkpoint_bytes] * line.trainings
    side_by_side = sorted(checkpoints, reverse=True)[: experiment.slots]
    # Twice, because a checkpoint is complete before the previous one is deleted.
    return Disk(models, detections, curves, 2 * sum(side_by_side))


def _iterations(experiment: Experiment, job: Job, scenes: int) -> int:
    """Iterations of one training run, 0 if none is left."""
    if not job.trainings_left:
        return 0
    config = experiment.config(job).train
    return config.epochs * iterations_per_epoch(scenes, config)


def _training_seconds(price: Price, iterations: int) -> float:
    return price.start + iterations * price.iteration.value if price.iteration else 0.0


def _test_seconds(price: Price, scenes: int, tests: int) -> float:
    """Seconds of a job with several evaluation runs, which share the start of their process."""
    return price.start + tests * scenes * price.scene.value if price.scene else 0.0
