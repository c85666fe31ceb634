"""Training steps: throughput, the share of each part, memory."""

from __future__ import annotations

import time

from sr3d.data.loader import generator_for
from sr3d.data.scene import Scene
from sr3d.data.transforms import augment
from sr3d.errors import InputError, Kind
from sr3d.runs.folder import as_jobs_run, synchronise
from sr3d.study.benchmarking.memory import watched_memory
from sr3d.study.benchmarking.results import Times, Training
from sr3d.study.benchmarking.sources import Source
from sr3d.study.benchmarking.stages import TRAINING_STAGES, StageClock, training_staged
from sr3d.study.benchmarking.subject import Subject
from sr3d.train import step
from sr3d.train.precision import network_precision
from sr3d.train.schedule import build_optimizer

_WARM_UP = 2  # steps, the one that memory is watched in included


def measure_training(subject: Subject, source: Source, batch: int, repeats: int) -> Training:
    """Train for some steps on augmented scenes of the source, which are loaded off the clock.

    Raises:
        InputError: scenes without any box, which nothing can be learnt from.
    """
    with as_jobs_run(subject.threads):
        scenes = source.load()
        if not any(len(scene.labels) for scene in scenes):
            raise InputError(
                f"no boxes to train on in {source}",
                field="--train",
                kind=Kind.EMPTY,
                remedy="Use --data or the procedural rooms.",
            )
        steps = _Steps(subject, scenes, batch)
        with network_precision(steps.model, subject.config.train.precision):
            with watched_memory(steps.model, steps.device) as memory:
                steps.take()
            for _ in range(_WARM_UP - 1):
                steps.take()
            seconds = [steps.take() for _ in range(repeats)]

            clock = StageClock(steps.device)
            with training_staged(steps.model, steps.optimizer, clock):
                for _ in range(repeats):
                    steps.take()
        return Training(
            batch=batch,
            voxels=steps.voxels(),
            step=Times(tuple(1000 * value for value in seconds)),
            stages={s: 1000 * clock.seconds[s] / repeats for s in TRAINING_STAGES},
            memory=memory[0],
        )


class _Steps:
    """A detector in training, and batches without end."""

    def __init__(self, subject: Subject, scenes: list[Scene], batch: int) -> None:
        self.model = subject.build().train()
        self.device = self.model.device
        self.config, self.scenes, self.batch = subject.config, scenes, batch
        self.optimizer = build_optimizer(self.model, subject.config.train)
        self.taken = 0

    def take(self) -> float:
        """The seconds of one step on the next batch."""
        batch = self.load(self.taken)
        self.taken += 1
        synchronise(self.device)
        started = time.perf_counter()
        step.train_step(self.model, batch, self.optimizer, self.config.train.clip_norm)
        synchronise(self.device)
        return time.perf_counter() - started

    def load(self, step: int) -> list[Scene]:
        """The batch of a step, augmented as the configuration says."""
        rotated = self.model.dataset.rotated
        places = range(step * self.batch, (step + 1) * self.batch)
        return [
            augment(
                self.scenes[i % len(self.scenes)], self.config.augment, rotated, generator_for(0, i)
            )
            for i in places
        ]

    def voxels(self) -> int:
        """Of the first batch."""
        return self.model.input_size(self.model.inputs(self.load(0)))
