"""The state of a training run and the loop over its steps, resumable at any step.

Nothing drawn at random depends on earlier draws: batches and augmentation follow from (seed, epoch,
position), so a resumed run takes the steps that an uninterrupted one would have taken.

On a GPU the loop itself needs no host–device sync. Every few steps it fetches the values of the
curves, checks the loss, writes a checkpoint if one is due, and looks whether to stop.
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
from sr3d.data.loader import Place, TrainingScenes, epoch_batches, load_batches
from sr3d.data.prepared import PreparedDataset
from sr3d.data.scene import Scene
from sr3d.detectors.base import Detector
from sr3d.errors import InputError
from sr3d.runs.progress import Progress
from sr3d.train.checkpoint import TrainingState, resumable_state, write_state
from sr3d.train.distributed import ALONE, Processes
from sr3d.train.metrics_log import Curve, Line
from sr3d.train.schedule import build_optimizer, learning_rate, set_learning_rate
from sr3d.train.step import train_step

CURVE_FILE = "metrics.partial.jsonl"
_SECONDS_BETWEEN_CHECKPOINTS = 60.0
_STEPS_BETWEEN_FETCHES = {"cpu": 1, "cuda": 10}  # a few seconds, so that a signal stops it soon


@dataclass(frozen=True)
class TrainingJob:
    """What is trained, where. index: which training run of the setting. split: whose scenes.

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


class Training:
    """The state of a training run: what a checkpoint holds, and the steps that change it."""

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
        self.seconds_before = 0.0  # of the runs that were interrupted, up to their checkpoints
        self.seconds = 0.0
        self.last: dict[str, Any] = {}
        self.metrics = ""
        # What must be equal for a checkpoint to be this training's.
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
            Curve(self.job.out / CURVE_FILE, self.metrics, writes=first) as curve,
            _stop_on_signal() as stopped,
            closing(self._left()) as left,
        ):
            saved = started = time.monotonic()
            for epoch, batch, scenes in left:
                rate = learning_rate(self.config, self.step, epoch, self.total)
                set_learning_rate(self.optimizer, rate)
                values = train_step(
                    self.model, scenes, self.optimizer, self.config.clip_norm,
                    self.processes, stopped(),
                )  # fmt: skip
                self.step += 1
                known = {"step": self.step, "steps": self.total, "epoch": epoch, "lr": rate}
                curve.add(Line(known, [self.scenes.ids[index] for *_, index in batch], values))
                if self.step % every and self.step < self.total:
                    continue
                curve.fetch()
                if progress:
                    progress.update(self.step, f"loss {curve.last['loss']:.3f}")
                now = time.monotonic()
                if curve.stop or now - saved > _SECONDS_BETWEEN_CHECKPOINTS:
                    self._save(self.seconds_before + now - started, curve.text)
                    saved = now
                if curve.stop:
                    raise KeyboardInterrupt
            self.seconds = self.seconds_before + time.monotonic() - started
            self.last, self.metrics = curve.last, curve.text

    def _batches(self, epoch: int) -> list[list[Place]]:
        c, processes = self.config, self.processes.count
        batches = epoch_batches(
            len(self.scenes), c.repeat, c.batch_size, self.seed, epoch, self.replaced
        )
        if len(batches[0]) < processes:
            raise InputError(
                f"train.batch_size={c.batch_size}: {processes} processes share batches of "
                f"{len(batches[0])}; start no more of them than a batch has scenes"
            )
        return batches

    def _left(self) -> Generator[tuple[int, list[Place], list[Scene]], None, None]:
        """What is left to train on: epoch, batch, and this process's scenes of it."""
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
        """For the first process to do, whenever the values of all steps have been seen."""
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
        # Groups say how this device computes; what else they hold, the configuration says too.
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({**state.optimizer, "param_groups": groups})
        self.step, self.seconds_before = state.step, state.seconds
        self.metrics, self.code = state.metrics, state.code


def _replaced(scenes: PreparedDataset, config: TrainConfig) -> list[int]:
    """Indices of the scenes whose places in an epoch go to others."""
    if not config.filter_empty_gt:
        return []
    empty = scenes.empty()
    if len(empty) == len(scenes):
        raise InputError(
            f"{scenes.folder}: no scene of the split '{scenes.split}' has a box to train on; "
            "label some, or name another split"
        )
    return empty


@contextmanager
def _stop_on_signal() -> Iterator[Any]:
    """Yield a function that tells whether SIGTERM or Ctrl-C came; the loop saves, then stops."""
    received: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        received.append(number)

    previous = {n: signal.signal(n, remember) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
