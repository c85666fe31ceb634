"""Latency, stages, memory and work of detection."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from sr3d.data.loader import generator_for
from sr3d.data.scene import Scene
from sr3d.data.transforms import sample_points
from sr3d.detectors.outputs import Detections
from sr3d.evaluate.loop import detect_scene, shuffled
from sr3d.runs.folder import as_jobs_run, synchronise
from sr3d.study.benchmarking.memory import watched_memory
from sr3d.study.benchmarking.results import Detection, MeasuredScene, Times, Work
from sr3d.study.benchmarking.roofline import counted_flop, dense_peak
from sr3d.study.benchmarking.sources import Source
from sr3d.study.benchmarking.stages import STAGES, StageClock, detection_staged
from sr3d.study.benchmarking.subject import Subject

T = TypeVar("T")
# Passes, the one that memory is watched in included. A GPU tunes, and records graphs, in the first.
_WARM_UP = {"cpu": 1, "cuda": 3}


@torch.inference_mode()
def measure_detection(
    subject: Subject, source: Source, repeats: int, *, sample: bool = True, details: bool = True
) -> Detection:
    """Detect in all scenes of the source, `repeats` times over, after warming up.

    sample: draw points as the configuration's test does, before the clock starts.
    """
    with as_jobs_run(subject.threads):
        runner = _Runner(subject, source, sample)
        with watched_memory(runner.model, runner.device) as memory:
            first = runner.in_turn(lambda i: runner.detect(i)[0])
        for _ in range(_WARM_UP[runner.device.type] - 1):
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
        )
        if not details:
            return found
        if runner.compiled is not None:  # one piece, whose inside is not to be told apart
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

    def __init__(self, subject: Subject, source: Source, sample: bool) -> None:
        self.model = subject.build()
        self.compiled = subject.compile(self.model)
        self.config = self.model.test_config
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
        """Boxes, and the seconds that they took."""
        scene = self.scenes[i]
        if self.compiled is None:
            return detect_scene(self.model, scene, generator_for(0, i))
        return self._clock(partial(self.compiled.detect_points, scene.points, scene.colors))

    def network(self, i: int) -> float:
        """Seconds from inputs to predictions, kernel maps built anew."""
        return self._clock(partial(self.model, self.inputs(i)))[1]

    def inputs(self, i: int) -> Any:
        """As `detect_scene` gives them to the network."""
        generator = generator_for(0, i)
        scene = shuffled(self.model, self.scenes[i], generator)
        return self.model.inputs([scene], generator)

    def _clock(self, run: Callable[[], T]) -> tuple[T, float]:
        synchronise(self.device)
        started = time.perf_counter()
        result = run()
        synchronise(self.device)
        return result, time.perf_counter() - started


def _stages(runner: _Runner, repeats: int) -> dict[str, float]:
    """Mean milliseconds of each stage a scene."""
    clock = StageClock(runner.device)
    with detection_staged(runner.model, clock):
        for _ in range(repeats):
            runner.in_turn(runner.detect)
    passes = repeats * len(runner.scenes)
    return {stage: 1000 * clock.seconds.get(stage, 0.0) / passes for stage in STAGES}


def _work(runner: _Runner, seconds: np.ndarray, span: str, dtype: torch.dtype) -> Work:
    """Of a scene, on average. seconds: (repeats, scenes), of the span."""
    with counted_flop(runner.model) as counts:
        runner.in_turn(runner.network)
    return Work(
        gflop=sum(counts) / len(runner.scenes) / 1e9,
        milliseconds=1000 * float(np.median(seconds, axis=0).mean()),
        span=span,
        peak=dense_peak(runner.device, dtype),
    )


def _times(seconds: np.ndarray) -> Times:
    """In the order of the runs: all scenes, then all again."""
    return Times(tuple((1000 * seconds).ravel().tolist()))
