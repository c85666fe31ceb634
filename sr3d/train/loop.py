"""The state of a training run and the loop over its steps, resumable at any step.

Random draws do not depend on earlier draws: batches and augmentation are functions of (seed, epoch,
position). So a resumed run takes the same steps as an uninterrupted one.

On a GPU the loop itself needs no host–device sync. Every few steps it fetches the logged values,
checks the loss, writes a checkpoint if one is due, and checks whether to stop.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from sr3d.config import Config, TrainConfig
from sr3d.data.loader import (
    Place,
    TrainingScenes,
    epoch_batches,
    generator_for,
    load_batches,
)
from sr3d.data.prepared import PreparedDataset
from sr3d.data.scene import Scene
from sr3d.detectors.base import Detector
from sr3d.errors import InputError, Kind
from sr3d.runs.progress import Progress
from sr3d.train.checkpoint import TrainingState, resumable_state, write_state
from sr3d.train.distributed import ALONE, Processes
from sr3d.train.metrics_log import LoggedStep, MetricsLog
from sr3d.train.schedule import build_optimizer, learning_rate, set_learning_rate
from sr3d.train.step import train_step

PARTIAL_METRICS_FILE = "metrics.partial.jsonl"
_SECONDS_BETWEEN_CHECKPOINTS = 60.0
_STEPS_BETWEEN_FETCHES = {"cpu": 1, "cuda": 10}  # a few seconds, for a quick stop on a signal


@dataclass(frozen=True)
class TrainingJob:
    """The arguments of a training run. index: of the run in its setting. split: of the scenes.

    resume_anyway: resume a training run that other code began. The record then lists both codes.
    """

    config: Config
    overrides: Sequence[str]
    data: Path
    out: Path
    setting: str
    index: int
    split: str = "train"
    device: str = "cpu"
    workers: int = 0
    resume_anyway: bool = False


class TrainingRun:
    """The state of a training run, as in a checkpoint, and the steps that change it."""

    def __init__(
        self,
        job: TrainingJob,
        model: Detector[Any, Any],
        scenes: PreparedDataset,
        seed: int,
        code: Mapping[str, Any],
        processes: Processes = ALONE,
    ) -> None:
        self.job, self.model, self.scenes, self.seed = job, model, scenes, seed
        self.processes, self.device = processes, torch.device(job.device)
        self.config = job.config.train
        self.optimizer = build_optimizer(model, self.config)
        self.replaced = _replaced(scenes, self.config)
        self.steps_per_epoch = len(self._batches(epoch=0))
        self.total = self.config.epochs * self.steps_per_epoch
        self.step = 0
        self.seconds_before = 0.0  # of interrupted calls, up to their checkpoints
        self.seconds = 0.0
        self.last: dict[str, Any] = {}
        self.metrics = ""
        # The facts that must equal those of a checkpoint to resume from it.
        self.identity = {
            "config": job.config.to_dict(),
            "data": scenes.manifest.digest(),
            "split": job.split,
            "seed": seed,
        }
        self.code = [{"step": 0, "digest": code["digest"], "torch": str(torch.__version__)}]

    def run(self) -> None:
        """Train to the end, from the checkpoint if there is one."""
        self._resume()
        first, every = self.processes.first, _STEPS_BETWEEN_FETCHES[self.device.type]
        label = f"{self.job.config.dataset}/{self.job.setting}/train{self.job.index}"
        self.model.train()
        with (
            Progress(label, self.total, self.step) if first else nullcontext() as progress,
            MetricsLog(self.job.out / PARTIAL_METRICS_FILE, self.metrics, writes=first) as log,
            _stop_on_signal() as stopped,
            closing(self._left()) as left,
        ):
            saved = started = time.monotonic()
            for epoch, batch, scenes in left:
                self._seed_dropout(batch)
                rate = learning_rate(self.config, self.step, epoch, self.total)
                set_learning_rate(self.optimizer, rate)
                values = train_step(
                    self.model, scenes, self.optimizer, self.config.clip_norm,
                    self.processes, stopped(), self._generators(batch),
                )  # fmt: skip
                self.step += 1
                known = {"step": self.step, "steps": self.total, "epoch": epoch, "lr": rate}
                log.add(LoggedStep(known, [self.scenes.ids[index] for *_, index in batch], values))
                if self.step % every and self.step < self.total:
                    continue
                log.fetch()
                if progress:
                    progress.update(self.step, f"loss {log.last['loss']:.3f}")
                now = time.monotonic()
                if log.stop or now - saved > _SECONDS_BETWEEN_CHECKPOINTS:
                    self._save(self.seconds_before + now - started, log.text)
                    saved = now
                if log.stop:
                    raise KeyboardInterrupt
            self.seconds = self.seconds_before + time.monotonic() - started
            self.last, self.metrics = log.last, log.text

    def _batches(self, epoch: int) -> list[list[Place]]:
        c, processes = self.config, self.processes.count
        batches = epoch_batches(
            len(self.scenes), c.repeat, c.batch_size, self.seed, epoch, self.replaced, c.keep_last
        )
        if len(batches[0]) < processes:
            raise InputError(
                f"{processes} processes share batches of {len(batches[0])}",
                field="--nproc-per-node",
                kind=Kind.CONFLICT,
                remedy="Start no more processes than a batch has scenes.",
            )
        return batches

    def _generators(self, batch: list[Place]) -> list[torch.Generator]:
        """For the inputs of each of this process's scenes, whatever the number of processes."""
        own = self.processes.share(batch)
        return [generator_for(self.seed, epoch, position, 1) for epoch, position, _ in own]

    def _seed_dropout(self, batch: list[Place]) -> None:
        """Dropout draws from PyTorch's own generators. A resumed run must draw the same."""
        epoch, position, _ = (self.processes.share(batch) or batch)[0]
        torch.manual_seed(generator_for(self.seed, epoch, position, 2).initial_seed())

    def _left(self) -> Generator[tuple[int, list[Place], list[Scene]], None, None]:
        """The remaining training: epoch, batch, and this process's scenes of the batch."""
        augmented = TrainingScenes(self.scenes, self.job.config.augment, self.seed)
        pin = self.device.type == "cuda"
        first, done = divmod(self.step, self.steps_per_epoch)
        for epoch in range(first, self.config.epochs):
            self.model.start_epoch(epoch)
            rest, done = self._batches(epoch)[done:], 0
            own = [self.processes.share(batch) for batch in rest]
            with closing(load_batches(augmented, own, self.job.workers, pin)) as loaded:
                for batch, scenes in zip(rest, loaded, strict=True):
                    yield epoch, batch, scenes

    def _save(self, seconds: float, metrics: str) -> None:
        """Write a checkpoint. Called in the first process when all values have been fetched."""
        if not self.processes.first:
            return
        state = TrainingState(
            identity=self.identity,
            code=self.code,
            step=self.step,
            seconds=seconds,
            metrics=metrics,
            model=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
        )
        write_state(self.job.out, state)

    def _resume(self) -> None:
        now, anyway = self.code[0], self.job.resume_anyway
        state = self.processes.from_first(
            lambda: resumable_state(self.job.out, self.identity, now, anyway)
        )
        if state is None:
            return
        self.model.load_state_dict(state.model)
        # Groups say how this device computes. The configuration has their other values.
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({**state.optimizer, "param_groups": groups})
        self.step, self.seconds_before = state.step, state.seconds
        self.metrics, self.code = state.metrics, state.code


def _replaced(scenes: PreparedDataset, config: TrainConfig) -> list[int]:
    """Indices of the scenes whose places in an epoch other scenes take."""
    if not config.filter_empty_gt:
        return []
    empty = scenes.empty()
    if len(empty) == len(scenes):
        raise InputError(
            f"no scene of the split '{scenes.split}' has a box to train on",
            file=scenes.folder,
            field="--split",
            kind=Kind.EMPTY,
            remedy="Name another split, or label its scans and run `sr3d prepare` again.",
        )
    return empty


@contextmanager
def _stop_on_signal() -> Iterator[Any]:
    """Yield a function: whether SIGTERM or Ctrl-C came. The loop then saves and stops."""
    received: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        received.append(number)

    previous = {n: signal.signal(n, remember) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
