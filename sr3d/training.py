"""The loop behind `sr3d train`: one training of one setting, resumable at any step.

Nothing it draws at random depends on what came before: batches and augmentation follow from
(seed, epoch, position), so a resumed run takes the steps that an uninterrupted one would have.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from types import FrameType
from typing import Any, TextIO

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sr3d.config import Config, TrainConfig
from sr3d.data.datasets import get_dataset
from sr3d.data.loader import TrainingScenes, epoch_batches, load_batches
from sr3d.data.prepared import PreparedDataset
from sr3d.data.scene import Scene
from sr3d.errors import InputError
from sr3d.files import atomic_path, exclusive
from sr3d.models.detector import Detector, build_detector
from sr3d.models.outputs import GroundTruth, LossTerms
from sr3d.progress import Progress
from sr3d.records import (
    METRICS_FILE,
    MODEL_FILE,
    RUN_FILE,
    RunRecord,
    read_metrics,
    train_seed,
)
from sr3d.runs import Stopwatch, finish_run, open_split

# Not among a run's declared results, so a workflow that clears those of a failed job keeps them.
CHECKPOINT_FILE = "last.ckpt"
CURVE_FILE = "metrics.partial.jsonl"
_SECONDS_BETWEEN_CHECKPOINTS = 60.0


@dataclass(frozen=True)
class TrainingJob:
    """What is trained, where. index: which training of the setting. split: whose scenes."""

    config: Config
    overrides: Sequence[str]
    data: Path
    out: Path
    setting: str
    index: int
    split: str = "train"
    device: str = "cpu"
    workers: int = 0


def train(job: TrainingJob) -> RunRecord:
    """Train, and leave `model.safetensors`, `metrics.jsonl` and `run.json` in the job's folder.

    Raises:
        InputError: unusable data, another process that trains in this folder, or a loss that
            stopped being a number.
    """
    scenes = open_split(job.data, job.split, get_dataset(job.config.dataset))
    with exclusive(job.out / RUN_FILE):
        return _train(job, scenes)


def _train(job: TrainingJob, scenes: PreparedDataset) -> RunRecord:
    watch, config = Stopwatch(), job.config
    seed = train_seed(config.seed, job.index)
    torch.manual_seed(seed)
    model = build_detector(config).to(job.device)
    training = _Training(job, model, scenes, seed)
    training.run()

    with atomic_path(job.out / MODEL_FILE) as temporary:
        save_file(model.state_dict(), temporary)
    (job.out / CURVE_FILE).replace(job.out / METRICS_FILE)
    record = finish_run(
        job.out,
        kind="train",
        config=config,
        overrides=job.overrides,
        setting=job.setting,
        train=job.index,
        test=None,
        seeds={"base": config.seed, "train": seed},
        scenes=scenes,
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
    )
    (job.out / CHECKPOINT_FILE).unlink(missing_ok=True)
    return record


class _Training:
    """The state of a training: what a checkpoint holds, and the steps that change it."""

    def __init__(
        self, job: TrainingJob, model: Detector[Any], scenes: PreparedDataset, seed: int
    ) -> None:
        self.job, self.model, self.scenes, self.seed = job, model, scenes, seed
        self.config = job.config.train
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=self.config.lr, weight_decay=self.config.weight_decay
        )
        self.step = 0
        self.seconds_before = 0.0  # of the runs that were interrupted, up to their checkpoints
        self.seconds = 0.0
        self.last: dict[str, Any] = {}
        # What must be equal for a checkpoint to be this training's.
        self.identity = {
            "config": job.config.digest(),
            "data": scenes.manifest.digest(),
            "split": job.split,
            "seed": seed,
        }

    def run(self) -> None:
        """Train to the end, from the checkpoint if there is one."""
        self._resume()
        batches = [self._batches(epoch) for epoch in range(self.config.epochs)]
        steps_an_epoch = len(batches[0])
        total = steps_an_epoch * self.config.epochs
        label = f"{self.job.config.dataset}/{self.job.setting}/train{self.job.index}"
        augmented = TrainingScenes(self.scenes, self.job.config.augment, self.seed)
        self.model.train()
        with (
            Progress(label, total, self.step) as progress,
            self._curve() as curve,
            _stop_on_signal() as stopped,
        ):
            saved = started = time.monotonic()
            for epoch in range(self.step // steps_an_epoch, self.config.epochs):
                rest = batches[epoch][self.step - epoch * steps_an_epoch :]
                with closing(load_batches(augmented, rest, self.job.workers)) as loaded:
                    for scenes in loaded:
                        self.last = self._take_step(scenes, epoch, total)
                        curve.write(json.dumps(self.last, allow_nan=False) + "\n")
                        progress.update(self.step, f"loss {self.last['loss']:.3f}")
                        now = time.monotonic()
                        if stopped() or now - saved > _SECONDS_BETWEEN_CHECKPOINTS:
                            self._save(curve, self.seconds_before + now - started)
                            saved = now
                        if stopped():
                            raise KeyboardInterrupt
            self.seconds = self.seconds_before + time.monotonic() - started

    def _batches(self, epoch: int) -> list[Any]:
        c = self.config
        return epoch_batches(len(self.scenes), c.repeat, c.batch_size, self.seed, epoch)

    def _take_step(self, scenes: list[Scene], epoch: int, total: int) -> dict[str, Any]:
        rate = learning_rate(self.config, self.step, epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        terms = batch_loss(self.model, scenes)
        value = terms.total
        if not torch.isfinite(value):
            names = ", ".join(scene.id for scene in scenes)
            raise InputError(
                f"{self.job.out}: the loss is {value.item()} at step {self.step} (scenes {names}); "
                "lower train.lr, or look at these scenes"
            )
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.step += 1
        return {
            "step": self.step,
            "steps": total,
            "epoch": epoch,
            "lr": rate,
            "loss": _plain(value),
            **{f"loss_{name}": _plain(term) for name, term in terms.parts.items()},
            "aic": _plain(terms.aic),
            "positives": terms.positives,
            "grad_norm": _plain(norm),
        }

    @contextmanager
    def _curve(self) -> Iterator[TextIO]:
        """The curve so far, cut back to the checkpoint's step, open for more."""
        path = self.job.out / CURVE_FILE
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        with open(path, "w", encoding="utf-8", buffering=1) as file:
            file.writelines(line + "\n" for line in lines[: self.step])
            yield file

    def _save(self, curve: TextIO, seconds: float) -> None:
        curve.flush()
        with atomic_path(self.job.out / CHECKPOINT_FILE) as temporary:
            torch.save(
                {
                    "identity": self.identity,
                    "step": self.step,
                    "seconds": seconds,
                    "model": self.model.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                },
                temporary,
            )

    def _resume(self) -> None:
        path = self.job.out / CHECKPOINT_FILE
        curve = self.job.out / CURVE_FILE
        if not path.exists() or not curve.exists():
            curve.unlink(missing_ok=True)
            return
        checkpoint = torch.load(path, map_location=self.job.device, weights_only=True)
        if checkpoint["identity"] != self.identity:
            curve.unlink()
            return  # of another configuration or other data: start anew
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.step, self.seconds_before = checkpoint["step"], checkpoint["seconds"]


def batch_loss(model: Detector[Any], scenes: list[Scene]) -> LossTerms:
    """Voxelise a batch, run the network and take the loss."""
    voxels = model.voxels([s.points for s in scenes], [s.colors for s in scenes])
    truth = GroundTruth.collate([s.boxes.tensor for s in scenes], [s.labels for s in scenes])
    return model.loss(model(voxels), truth.to(voxels.features.device))


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


def _plain(value: Tensor) -> float:
    return round(float(value.detach()), 6)
