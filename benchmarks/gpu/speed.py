"""Stage 2: latencies and training throughput at full size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor

from benchmarks import against_naive
from benchmarks.gpu.plan import Plan, networks
from benchmarks.gpu.runner import Row, Step
from sr3d.detectors.tr3d.detector import TR3D
from sr3d.study.benchmarking.measurements import measure_detection, measure_training
from sr3d.study.benchmarking.stages import replaced
from sr3d.study.benchmarking.subject import Subject
from sr3d.train import step


def latency(subject: Callable[[Plan], Subject], plan: Plan) -> Iterator[Row]:
    """The measurements of `sr3d benchmark`: latency, stages, memory, roofline."""
    measured, source = subject(plan), plan.source
    found = measure_detection(measured, source, plan.repeats)
    facts = {"source": str(source), "precision": measured.compiled or "fp32"}
    yield {**facts, **found.to_dict()}


def training(precision: str, plan: Plan) -> Iterator[Row]:
    """Training steps, with deterministic algorithms in the backward pass and without them."""
    subject, source = plan.sr3d(f"train.precision={precision}"), plan.source
    for deterministic in (True, False):
        plain = replaced(step, "ordered_backward", Tensor.backward)
        with nullcontext() if deterministic else plain:
            found = measure_training(subject, source, plan.batch, plan.repeats)
        facts = {"source": str(source), "precision": precision, "deterministic": deterministic}
        yield {**facts, **found.to_dict()}


def naive(plan: Plan) -> Iterator[Row]:
    """From voxels to boxes, against a plain implementation."""
    model = plan.sr3d().build()
    assert isinstance(model, TR3D)
    points, colors = plan.points().to(plan.device).split(3, dim=1)
    torch.set_num_threads(1)
    # Random weights score alike, so rounding changes the order of some boxes.
    yield against_naive.measure(model, points, colors, plan.repeats)


def _compiled(precision: str) -> Callable[[Plan], Subject]:
    return lambda plan: plan.sr3d(compiled=precision)


def _setting(name: str) -> Callable[[Plan], Subject]:
    return lambda plan: plan.detector(name)


def steps(plan: Plan) -> tuple[Step, ...]:
    """SR3D first, then the other networks."""
    others = [name for name in networks(plan.dataset) if name != "sr3d"]
    return (
        Step("latency_sr3d", partial(latency, Plan.sr3d), limit=60),
        Step("latency_sr3d_fp16", partial(latency, _compiled("fp16")), limit=60),
        Step("training_bf16", partial(training, "bf16"), limit=90),
        Step("naive", naive, limit=60),
        *(Step(f"latency_{name}", partial(latency, _setting(name)), limit=30) for name in others),
        Step("training_fp32", partial(training, "fp32"), limit=90),
    )
