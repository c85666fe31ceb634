"""Training steps: throughput, the share of each part, memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn

from sr3d.data.loader import generator_for
from sr3d.data.scene import Scene
from sr3d.data.transforms import augment
from sr3d.errors import InputError
from sr3d.runs.folder import as_jobs_run, synchronise
from sr3d.sparse.determinism import ordered_backward
from sr3d.study.benchmarking.memory import watched_memory
from sr3d.study.benchmarking.results import Times, Training
from sr3d.study.benchmarking.sources import Source
from sr3d.study.benchmarking.stages import TRAINING_STAGES, StageClock, replaced
from sr3d.study.benchmarking.subject import Subject
from sr3d.train.loop import batch_loss, network_precision, optimizer_of

_WARM_UP = 2  # steps, the one that memory is watched in included


def _no_stage(_: str) -> AbstractContextManager[Any]:
    return nullcontext()


def measure_training(subject: Subject, source: Source, batch: int, repeats: int) -> Training:
    """Train for some steps on augmented scenes of the source, which are loaded off the clock.

    Raises:
        InputError: scenes without any box, which nothing can be learnt from.
    """
    with as_jobs_run(subject.threads):
        scenes = source.load()
        if not any(len(scene.labels) for scene in scenes):
            raise InputError(f"{source}: no boxes to train on; use --data or the procedural rooms")
        steps = _Steps(subject, scenes, batch)
        with network_precision(steps.model, subject.config.train.precision):
            with watched_memory(steps.model, steps.device) as memory:
                steps.take()
            for _ in range(_WARM_UP - 1):
                steps.take()
            seconds = [steps.take() for _ in range(repeats)]

            clock = StageClock(steps.device)
            timed_loss = clock.timed("loss", steps.model.loss)
            with replaced(steps.model, "loss", timed_loss):
                for _ in range(repeats):
                    steps.take(clock.stage)
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
        self.device = next(self.model.parameters()).device
        self.config, self.scenes, self.batch = subject.config, scenes, batch
        self.optimizer = optimizer_of(self.model, subject.config.train)
        self.taken = 0

    def take(self, stage: Callable[[str], AbstractContextManager[Any]] = _no_stage) -> float:
        """The seconds of one step on the next batch. stage: told of each part."""
        batch = self.load(self.taken)
        self.taken += 1
        synchronise(self.device)
        started = time.perf_counter()
        with stage("forward"):  # but for the loss, if that is a stage of its own
            value = batch_loss(self.model, batch).total
        with stage("backward"):
            self.optimizer.zero_grad(set_to_none=True)
            ordered_backward(value)
        with stage("optimiser"):
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.clip_norm)
            self.optimizer.step()
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
        batch = self.load(0)
        return len(self.model.voxels([s.points for s in batch], [s.colors for s in batch]).sites)
