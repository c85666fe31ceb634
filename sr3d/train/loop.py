"""The loop behind `sr3d train`: one training of one setting, resumable at any step.

Nothing it draws at random depends on what came before: batches and augmentation follow from
(seed, epoch, position), so a resumed run takes the steps that an uninterrupted one would have.

On a GPU this loop itself waits for nothing: the values of the curves are fetched every few steps,
and with them come the check of the loss, checkpoints and the wish to stop.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from types import FrameType
from typing import Any

import torch
from torch import nn

from sr3d.config import Config, TrainConfig
from sr3d.data.datasets import dataset_of
from sr3d.data.loader import Place, TrainingScenes, epoch_batches, load_batches, on_device
from sr3d.data.prepared import PreparedDataset
from sr3d.data.scene import Scene
from sr3d.detectors import Detector, build_detector
from sr3d.detectors.outputs import GroundTruth, LossTerms
from sr3d.detectors.weights import write_model
from sr3d.errors import InputError
from sr3d.runs.files import exclusive, write_text
from sr3d.runs.folder import Stopwatch, finish_run, finished_run, open_split
from sr3d.runs.progress import Progress
from sr3d.runs.record import (
    METRICS_FILE,
    MODEL_FILE,
    RUN_FILE,
    RunRecord,
    read_metrics,
    train_seed,
)
from sr3d.train.checkpoint import TrainingState, remove_states, resumable_state, write_state
from sr3d.train.distributed import ALONE, Processes, backward, share_norms
from sr3d.train.metrics_log import Curve, Line

CURVE_FILE = "metrics.partial.jsonl"
_SECONDS_BETWEEN_CHECKPOINTS = 60.0
_STEPS_BETWEEN_FETCHES = {"cpu": 1, "cuda": 10}  # a few seconds at most: who says stop waits


@dataclass(frozen=True)
class TrainingJob:
    """What is trained, where. index: which training of the setting. split: whose scenes.

    resume_anyway: resume a training that other code began. The record then lists both codes.
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


def train(job: TrainingJob, processes: Processes = ALONE) -> RunRecord:
    """Train, and leave `model.safetensors`, `metrics.jsonl` and `run.json` in the job's folder.

    processes: which all call this with the same job, and get the same record.

    A finished training is not repeated: its record is returned. An interrupted one resumes from
    its newest checkpoint that is not damaged.

    Raises:
        InputError: unusable data, another process that trains in this folder, another training that
            has finished or was interrupted there, fewer scenes in a batch than processes, a full
            disk, or a loss that stopped being a number.
    """
    scenes = open_split(job.data, job.split, dataset_of(job.config))
    watch, config = Stopwatch(), job.config
    with exclusive(job.out / RUN_FILE) if processes.first else nullcontext():
        finished = processes.from_first(
            lambda: finished_run(job.out, _facts(job, scenes), watch.code)
        )
        if finished is not None:
            return finished
        seed = train_seed(config.seed, job.index)
        torch.manual_seed(seed)
        model = build_detector(config).to(job.device)
        if processes.count > 1:
            share_norms(model)
        training = _Training(job, model, scenes, seed, watch.code, processes)
        with network_precision(model, config.train.precision):
            training.run()
        return processes.from_first(lambda: _finish(training, watch))


def _facts(job: TrainingJob, scenes: PreparedDataset) -> dict[str, Any]:
    """As `runs.facts_of` the record."""
    return {
        "kind": "train",
        "data set": job.config.dataset,
        "setting": job.setting,
        "training": job.index,
        "configuration": job.config.digest(),
        "data": scenes.manifest.digest(),
        "split": job.split,
    }


def _finish(training: _Training, watch: Stopwatch) -> RunRecord:
    job, config, model = training.job, training.job.config, training.model
    source = {"dataset": config.dataset, "setting": job.setting, "train": str(job.index)}
    write_model(job.out / MODEL_FILE, model, config, source)
    write_text(job.out / METRICS_FILE, training.metrics)
    record = finish_run(
        job.out,
        kind="train",
        config=config,
        overrides=job.overrides,
        setting=job.setting,
        train=job.index,
        test=None,
        seeds={"base": config.seed, "train": training.seed},
        scenes=training.scenes,
        model=model,
        device=job.device,
        watch=watch,
        earlier_seconds=training.seconds_before,
        metrics={
            **training.last,
            "epochs": epoch_means(read_metrics(job.out / METRICS_FILE)),
        },
        timings={"seconds_per_epoch": training.seconds / config.train.epochs},
        files=(MODEL_FILE, METRICS_FILE),
        resumed=training.code,
    )
    remove_states(job.out)  # only now: until then the same command resumes
    (job.out / CURVE_FILE).unlink(missing_ok=True)
    return record


class _Training:
    """The state of a training: what a checkpoint holds, and the steps that change it."""

    def __init__(
        self,
        job: TrainingJob,
        model: Detector[Any],
        scenes: PreparedDataset,
        seed: int,
        code: Mapping[str, Any],
        processes: Processes = ALONE,
    ) -> None:
        self.job, self.model, self.scenes, self.seed = job, model, scenes, seed
        self.processes, self.device = processes, torch.device(job.device)
        self.config = job.config.train
        self.optimizer = optimizer_of(model, self.config)
        self.replaced = _replaced(scenes, self.config)
        self.batches = [self._batches(epoch) for epoch in range(self.config.epochs)]
        self.total = sum(map(len, self.batches))
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
                curve.add(self._take_step(epoch, batch, scenes, stopped))
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
        """What is left to train on: epoch, batch, and the scenes of it that are this process's."""
        augmented = TrainingScenes(self.scenes, self.job.config.augment, self.seed)
        pin, done = self.device.type == "cuda", self.step
        for epoch, whole in enumerate(self.batches):
            rest, done = whole[done:], max(0, done - len(whole))
            own = [self.processes.share(batch) for batch in rest]
            with closing(load_batches(augmented, own, self.job.workers, pin)) as loaded:
                for batch, scenes in zip(rest, loaded, strict=True):
                    yield epoch, batch, scenes

    def _take_step(
        self, epoch: int, batch: list[Place], scenes: list[Scene], stopped: Callable[[], bool]
    ) -> Line:
        """One step, for whose values nobody has waited yet. stopped: was this process told to?"""
        rate = learning_rate(self.config, self.step, epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        terms = batch_loss(self.model, scenes)
        self.optimizer.zero_grad(set_to_none=True)
        values = backward(terms, self.model, self.processes, stopped())
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.step += 1
        return Line(
            {"step": self.step, "steps": self.total, "epoch": epoch, "lr": rate},
            [self.scenes.ids[index] for _, _, index in batch],
            {**values, "grad_norm": norm},
        )

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


def optimizer_of(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """As trainings begin: at the rate of the first step."""
    parameters = list(model.parameters())
    return torch.optim.AdamW(
        parameters,
        lr=learning_rate(config, step=0, epoch=0),
        weight_decay=config.weight_decay,
        fused=parameters[0].device.type == "cuda" or None,
    )


def batch_loss(model: Detector[Any], scenes: list[Scene]) -> LossTerms:
    """Voxelise a batch, run the network and take the loss."""
    device = next(model.parameters()).device
    points, colors = zip(
        *((on_device(s.points, device), on_device(s.colors, device)) for s in scenes), strict=True
    )
    truth = GroundTruth.collate([s.boxes.tensor for s in scenes], [s.labels for s in scenes])
    truth = GroundTruth(
        *(on_device(value, device) for value in (truth.boxes, truth.labels, truth.scenes))
    )
    return model.loss(model(model.voxels(points, colors)), truth)


@contextmanager
def network_precision(model: Detector[Any], precision: str) -> Iterator[None]:
    """For the block, let the network multiply in another precision than fp32.

    "tf32": what GPUs make of fp32, ten bits of mantissa. "bf16": autocast up to the raw outputs.
    Weights, statistics of batch norms, decoding, assigners and losses stay fp32 in any case.
    """
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32, model.autocast
    matmul.allow_tf32 = precision == "tf32"
    model.autocast = torch.bfloat16 if precision == "bf16" else None
    try:
        yield
    finally:
        matmul.allow_tf32, model.autocast = before


def epoch_means(rows: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """The curves of a training, averaged over each epoch: `{"loss": […], "AIC": […]}`.

    Steps without positives have no AIC; an epoch of such steps alone has 0.
    """
    epochs: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        epochs.setdefault(row["epoch"], []).append(row)
    means: dict[str, list[float]] = {"loss": [], "AIC": []}
    for members in epochs.values():
        aic = [row["aic"] for row in members if row["positives"]]
        means["loss"].append(round(fmean(row["loss"] for row in members), 6))
        means["AIC"].append(round(fmean(aic), 6) if aic else 0.0)
    return means


def learning_rate(config: TrainConfig, step: int, epoch: int) -> float:
    """Linear warm-up by step, a tenth after each milestone epoch."""
    rate = config.lr * 0.1 ** sum(epoch >= milestone for milestone in config.milestones)
    if step < config.warmup_iters:
        share = step / config.warmup_iters
        return config.warmup_start_lr + share * (rate - config.warmup_start_lr)
    return rate


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
