"""Stage 1: does the GPU compute what the CPU computes?

The first three steps use every kernel of SR3D in the sizes and orders of the network. The tests
after them say which kernel is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

import sr3d
from benchmarks.against_naive import same_boxes
from benchmarks.gpu.plan import Plan
from benchmarks.gpu.runner import Row, Step
from sr3d.data.loader import generator_for
from sr3d.data.transforms import augment, sample_points
from sr3d.detectors.tr3d.detector import TR3D
from sr3d.runs.folder import as_jobs_run, synchronise
from sr3d.runs.machine import code_version, machine_facts, versions
from sr3d.sparse.agreement import compare_engines
from sr3d.study.benchmarking.stages import replaced
from sr3d.study.benchmarking.subject import Rooms
from sr3d.train.precision import network_precision
from sr3d.train.schedule import build_optimizer, learning_rate, set_learning_rate
from sr3d.train.step import train_step

_AGREE = 1e-4  # of the largest value, in fp32
_TRAINING_STEPS = 10
_TOLERANCE = {"fp32": 0.01, "bf16": 0.1}  # of a loss. Ten steps amplify rounding
_LEAST_SAME = 0.99  # of the boxes of a trained network
_WORKERS = "8"  # of pytest. Most of the time, tests compile kernels


def agreement(plan: Plan) -> Iterator[Row]:
    """The Triton engine against the torch engine, on three small layers."""
    yield {"machine": machine_facts(), "versions": versions(), "code": code_version()}
    found = compare_engines(torch.device(plan.device))
    yield {"differences": found}
    if max(found.values()) > _AGREE:
        raise AssertionError(f"the engines differ by more than {_AGREE}")


def training(plan: Plan) -> Iterator[Row]:
    """The losses of SR3D's first training steps: CPU in fp32, then the device in fp32 and bf16."""
    torch.set_num_threads(plan.threads)
    exact = _losses(replace(plan, device="cpu"), "fp32")
    yield {"device": "cpu", "precision": "fp32", "loss": exact}
    apart = {}
    for precision in _TOLERANCE:
        loss = _losses(plan, precision)
        pairs = zip(loss, exact, strict=True)
        differences = [abs(ours - theirs) / abs(theirs) for ours, theirs in pairs]
        apart[precision] = max(differences)
        yield {
            "device": plan.device,
            "precision": precision,
            "loss": loss,
            "relative_differences": differences,
        }
    wrong = {name: value for name, value in apart.items() if not value <= _TOLERANCE[name]}
    if wrong:
        raise AssertionError(f"losses differ from the CPU's by {wrong}, allowed {_TOLERANCE}")


def _losses(plan: Plan, precision: str) -> list[float]:
    subject = plan.sr3d()
    config = subject.config
    model = subject.build().train()
    optimizer = build_optimizer(model, config.train)
    scenes = [
        sample_points(scene, plan.compared, generator_for(0, i), "never")
        for i, scene in enumerate(Rooms(plan.dataset, 2).load())
    ]
    losses = []
    with as_jobs_run(plan.threads), network_precision(model, precision):
        for step in range(_TRAINING_STEPS):
            batch = [
                augment(scene, config.augment, model.dataset.rotated, generator_for(0, step, i))
                for i, scene in enumerate(scenes)
            ]
            set_learning_rate(optimizer, learning_rate(config.train, step, 0, 10_000))
            values = train_step(model, batch, optimizer, config.train.clip_norm)
            losses.append(float(values["loss"]))
    return losses


def graph(plan: Plan) -> Iterator[Row]:
    """Replays of the compiled detector's CUDA graph against the eager detector, trained weights."""
    model = sr3d.load("sr3d_rooms", device=plan.device)
    assert isinstance(model, TR3D)
    compiled, replays = model.compile(), 0
    replay = torch.cuda.CUDAGraph.replay

    def counted(graph: torch.cuda.CUDAGraph) -> None:
        nonlocal replays
        replays += 1
        replay(graph)

    rooms, worst = Rooms("synthetic", 1 if plan.dry else 3).load(), 1.0
    with torch.no_grad(), replaced(torch.cuda.CUDAGraph, "replay", counted):
        for scene in [rooms[0], *rooms]:  # the first call records the graph
            points, colors = scene.points.to(plan.device), scene.colors.to(plan.device)
            found = compiled.detect_points(points, colors)
            synchronise(model.device)
            eager = model.select(model(model.voxels([points], [colors])))
            same = same_boxes(found, eager)
            worst = min(worst, same)
            yield {
                "scene": scene.id,
                "boxes": len(found.labels),
                "eager_boxes": len(eager.labels),
                "same": same,
                "replays": replays,
            }
    if worst < _LEAST_SAME:
        raise AssertionError(f"only {worst:.1%} of the boxes are the same")
    if not plan.dry and not replays:
        raise AssertionError("no CUDA graph was replayed")


@dataclass(frozen=True)
class Tests:
    """A step that runs pytest. dry: its arguments in a dry run, which interprets the kernels."""

    words: tuple[str, ...]
    dry: tuple[str, ...]

    def __call__(self, plan: Plan) -> Iterator[Row]:
        words = self.dry if plan.dry else ("-n", _WORKERS, *self.words)
        with TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            code = int(
                pytest.main(["-q", "-p", "no:cacheprovider", f"--junitxml={report}", *words])
            )
            if report.exists():
                yield _counts(report)
        if code:
            raise AssertionError(f"pytest ended with exit code {code}")


def _counts(report: Path) -> dict[str, Any]:
    """Numbers of tests, and the names of those that failed."""
    cases = ElementTree.parse(report).getroot().iter("testcase")
    kinds = [(case, {child.tag for child in case}) for case in cases]
    failed = [
        f"{case.get('classname')}::{case.get('name')}"
        for case, tags in kinds
        if tags & {"failure", "error"}
    ]
    skipped = sum("skipped" in tags for _, tags in kinds)
    passed = len(kinds) - len(failed) - skipped
    return {"passed": passed, "skipped": skipped, "failed": failed}


_SPARSE = tuple(
    f"tests/sparse/test_triton_{name}.py" for name in ("convolution", "fused", "tables", "pooling")
)
_POINTS_AND_SCANS = ("tests/points/test_brute_force.py", "tests/detectors/dest/test_triton_scan.py")
_RUNS = ("tests/test_training_speed.py", "-k", "on_a_gpu")

STEPS = (
    Step("agreement", agreement, limit=45),
    Step("training", training, limit=90),
    Step("graph", graph, limit=60),
    Step("kernels", Tests(_SPARSE, dry=(_SPARSE[2], "-k", "pairs")), limit=100),
    Step("point_kernels", Tests(_POINTS_AND_SCANS, (*_POINTS_AND_SCANS, "--collect-only")), 60),
    Step("runs", Tests(_RUNS, dry=(*_RUNS, "--collect-only")), limit=60),
)
