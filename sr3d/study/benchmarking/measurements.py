"""Measure latency, stages, memory and arithmetic of detection and of training steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from sr3d.data.loader import generator_for
from sr3d.data.scene import Scene
from sr3d.data.transforms import augment, sample_points
from sr3d.detectors.outputs import Detections
from sr3d.errors import InputError, Kind
from sr3d.evaluate.loop import detect_scene
from sr3d.runs.folder import as_jobs_run, synchronise
from sr3d.sparse.nn import SparseConv, SparseConvTranspose
from sr3d.sparse.tensor import PlannedTensor, SparseTensor
from sr3d.study.benchmarking.measures import Detection, MeasuredScene, Times, TrainingSteps, Work
from sr3d.study.benchmarking.memory import watched_memory
from sr3d.study.benchmarking.stages import (
    STAGES,
    TRAINING_STAGES,
    StageClock,
    detection_staged,
    training_staged,
)
from sr3d.study.benchmarking.subject import SceneSource, Subject
from sr3d.train import step
from sr3d.train.precision import network_precision
from sr3d.train.schedule import build_optimizer

T = TypeVar("T")
# Passes, including the one that measures memory. The first ones tune a GPU and record its graphs.
_WARM_UP_PASSES = {"cpu": 1, "cuda": 3}


@torch.inference_mode()
def measure_detection(
    subject: Subject,
    source: SceneSource,
    repeats: int,
    *,
    sample: bool = True,
    details: bool = True,
) -> Detection:
    """Detect in all scenes of the source, `repeats` times over, after warming up.

    sample: draw points as in the configuration's evaluation, before the clock starts.
    """
    with as_jobs_run(subject.threads):
        runner = _Runner(subject, source, sample)
        with watched_memory(runner.model, runner.device) as memory:
            first = runner.in_turn(lambda i: runner.detect(i)[0])
        for _ in range(_WARM_UP_PASSES[runner.device.type] - 1):
            runner.in_turn(runner.detect)
        seconds = np.array([runner.in_turn(lambda i: runner.detect(i)[1]) for _ in range(repeats)])
        found = Detection(
            scenes=tuple(
                MeasuredScene(
                    scene.id,
                    len(scene),
                    runner.model.input_size(runner.inputs(i)),
                    len(boxes.labels),
                )
                for i, (scene, boxes) in enumerate(zip(runner.scenes, first, strict=True))
            ),
            latency=_times(seconds),
            memory=memory[0],
            unit=runner.model.input_unit,
        )
        if not details:
            return found
        if runner.compiled is not None:  # its stages cannot be separated
            return replace(found, work=_work(runner, seconds, "points to boxes", subject.dtype))
        network = np.array([runner.in_turn(runner.network) for _ in range(repeats)])
        return replace(
            found,
            network=_times(network),
            stages=_stages(runner, repeats),
            work=_work(runner, network, "network", subject.dtype),
        )


class _Runner:
    """A detector and its scenes on the device, with the same draws in every pass."""

    def __init__(self, subject: Subject, source: SceneSource, sample: bool) -> None:
        self.model = subject.build()
        self.compiled = subject.compile(self.model)
        self.config = self.model.inference
        self.device = self.model.device
        count = self.config.sample_count if sample else 0
        self.scenes: list[Scene] = []
        for i, scene in enumerate(source.load()):
            if count:
                scene = sample_points(scene, count, generator_for(0, i))
            points, colors = scene.points.to(self.device), scene.colors.to(self.device)
            self.scenes.append(replace(scene, points=points, colors=colors))

    def in_turn(self, run: Callable[[int], Any]) -> list[Any]:
        return [run(i) for i in range(len(self.scenes))]

    def detect(self, i: int) -> tuple[Detections, float]:
        """Boxes, and the seconds to compute them."""
        scene = self.scenes[i]
        if self.compiled is None:
            return detect_scene(self.model, scene, generator_for(0, i))
        return self._clock(partial(self.compiled.detect_points, scene.points, scene.colors))

    def network(self, i: int) -> float:
        """Seconds from inputs to predictions, with newly built kernel maps."""
        return self._clock(partial(self.model, self.inputs(i)))[1]

    def inputs(self, i: int) -> Any:
        """The inputs of the network as `detect_scene` makes them."""
        generator = generator_for(0, i)
        scene = self.model.shuffled(self.scenes[i], generator)
        return self.model.inputs([scene], [generator])

    def _clock(self, run: Callable[[], T]) -> tuple[T, float]:
        synchronise(self.device)
        started = time.perf_counter()
        result = run()
        synchronise(self.device)
        return result, time.perf_counter() - started


def _stages(runner: _Runner, repeats: int) -> dict[str, float]:
    """Mean milliseconds per scene of each stage of the detector."""
    clock = StageClock(runner.device)
    with detection_staged(runner.model, clock):
        for _ in range(repeats):
            runner.in_turn(runner.detect)
    passes = repeats * len(runner.scenes)
    seconds = clock.seconds
    stages = (runner.model.input_stage, *STAGES)
    return {stage: 1000 * seconds[stage] / passes for stage in stages if stage in seconds}


def _work(runner: _Runner, seconds: np.ndarray, span: str, dtype: torch.dtype) -> Work | None:
    """Work of an average scene, None without sparse convolutions.

    seconds: (repeats, scenes), of the span.
    """
    with counted_flop(runner.model) as counts:
        runner.in_turn(runner.network)
    if not counts:
        return None
    return Work(
        gflop=sum(counts) / len(runner.scenes) / 1e9,
        milliseconds=1000 * float(np.median(seconds, axis=0).mean()),
        span=span,
        peak=dense_peak(runner.device, dtype),
    )


def _times(seconds: np.ndarray) -> Times:
    """Milliseconds in the order of the runs: all scenes, then all again."""
    return Times(tuple((1000 * seconds).ravel().tolist()))


_WARM_UP_STEPS = 2  # steps, including the one that measures memory


def measure_training(
    subject: Subject, source: SceneSource, batch: int, repeats: int
) -> TrainingSteps:
    """Time training steps on augmented scenes of the source. Loading them is not timed.

    Raises:
        InputError: scenes without any box.
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
            for _ in range(_WARM_UP_STEPS - 1):
                steps.take()
            seconds = [steps.take() for _ in range(repeats)]

            clock = StageClock(steps.device)
            with training_staged(steps.model, steps.optimizer, clock):
                for _ in range(repeats):
                    steps.take()
        return TrainingSteps(
            batch=batch,
            size=steps.size(),
            unit=steps.model.input_unit,
            step=Times(tuple(1000 * value for value in seconds)),
            stages={s: 1000 * clock.seconds[s] / repeats for s in TRAINING_STAGES},
            memory=memory[0],
        )


class _Steps:
    """A detector in training mode, and an endless sequence of batches."""

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
        """The batch of a step, augmented as in the configuration."""
        rotated = self.model.dataset.rotated
        places = range(step * self.batch, (step + 1) * self.batch)
        return [
            augment(
                self.scenes[i % len(self.scenes)], self.config.augment, rotated, generator_for(0, i)
            )
            for i in places
        ]

    def size(self) -> int:
        """The size of the first batch."""
        return self.model.input_size(self.model.inputs(self.load(0)))


_ROUNDS = 10
_EDGE = {"cpu": 1024, "cuda": 8192}  # of the dense matrices, large enough to reach the peak


@contextmanager
def counted_flop(model: nn.Module) -> Iterator[list[int]]:
    """Yield a list. Inside the block each sparse convolution appends its useful operations.

    These are one multiplication and one addition per pair of rows in the kernel map, times input
    channels, times output channels. Missing neighbours, norms and pooling count nothing.
    """
    counts: list[int] = []

    def count(module: nn.Module, args: tuple[Any, ...], out: SparseTensor) -> None:
        if isinstance(out, PlannedTensor):
            return
        assert isinstance(module, SparseConv | SparseConvTranspose)
        channels_in, channels_out = module.kernel.shape[-2:]
        counts.append(2 * _pairs(module, args[0], out) * channels_in * channels_out)

    convolutions = [m for m in model.modules() if isinstance(m, SparseConv | SparseConvTranspose)]
    hooks = [module.register_forward_hook(count) for module in convolutions]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def _pairs(module: SparseConv | SparseConvTranspose, x: SparseTensor, out: SparseTensor) -> int:
    """Pairs of rows in the kernel maps that the convolution has just used."""
    if isinstance(module, SparseConvTranspose):
        return len(out.sites.kernel_map(x.sites, module.kernel_size).in_rows)
    if module.pointwise:
        return len(x.sites)
    return len(x.sites.kernel_map(out.sites, module.kernel_size).in_rows)


def dense_peak(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """The highest GFLOP/s of several products of large square matrices."""
    edge = _EDGE[device.type]
    a, b = torch.rand(2, edge, edge, device=device).to(dtype)
    best = float("inf")
    for _ in range(_ROUNDS):
        synchronise(device)
        started = time.perf_counter()
        torch.mm(a, b)
        synchronise(device)
        best = min(best, time.perf_counter() - started)
    return 2 * edge**3 / best / 1e9
