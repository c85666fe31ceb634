"""Run all measurements of one call of `sr3d benchmark`, in order."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sr3d.detectors import FAMILIES, build_detector
from sr3d.detectors.configuration import with_overrides
from sr3d.detectors.needs import with_mean_sizes
from sr3d.errors import InputError, Kind
from sr3d.runs.folder import check_device
from sr3d.runs.machine import code_version, is_busy, machine_facts, versions
from sr3d.study.benchmarking.measurements import measure_detection, measure_training
from sr3d.study.benchmarking.measures import Benchmark, SizedDetection
from sr3d.study.benchmarking.memory import OutOfMemory, in_fresh_process
from sr3d.study.benchmarking.subject import Floor, SceneSource, Subject, mean_sizes

_REPEATS_A_FLOOR = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchmarkPlan:
    """The requested measurements.

    setting: its name. batch: scenes per training step, None for no training. points: sizes of the
    floors that show how latency and memory grow. nms_pre: numbers of boxes kept for NMS, likewise.
    command: the command line.
    """

    subject: Subject
    setting: str
    source: SceneSource
    repeats: int
    batch: int | None = None
    points: Sequence[int] = ()
    nms_pre: Sequence[int] = ()
    command: str = ""


def run(plan: BenchmarkPlan) -> Benchmark:
    """Measure, each measurement in its own process.

    Raises:
        InputError: no such device, an oracle, unusable scenes or weights, or too little memory.
    """
    subject = plan.subject
    check_device(subject.device)
    if subject.config.flat().get("test.oracle", "none") != "none":
        raise InputError(
            "an oracle is not a detector",
            field="test.oracle",
            kind=Kind.CONFLICT,
            remedy="Leave it out to measure latency.",
        )
    family, sizes = FAMILIES[subject.config.model.name], partial(mean_sizes, plan.source)
    subject = replace(subject, config=with_mean_sizes(subject.config, family, sizes))
    plan = replace(plan, subject=subject)
    facts = _facts(plan)
    _log.info("detection in %s", plan.source)
    detection = in_fresh_process(measure_detection, subject, plan.source, plan.repeats)
    training = None
    if plan.batch:
        _log.info("training steps of %d scenes", plan.batch)
        training = in_fresh_process(
            measure_training, subject, plan.source, plan.batch, plan.repeats
        )
    scaling = tuple(_floor(subject, points, plan.repeats) for points in plan.points)
    candidates = tuple(_candidates(plan, nms_pre) for nms_pre in plan.nms_pre)
    return Benchmark(facts, detection, training, scaling, candidates)


def _floor(subject: Subject, points: int, repeats: int) -> SizedDetection:
    source = Floor(subject.config.dataset, points)
    _log.info("detection on %s", source)
    repeats = min(repeats, _REPEATS_A_FLOOR)
    return _row(points, subject, source, repeats, sample=False, details=False)


def _candidates(plan: BenchmarkPlan, nms_pre: int) -> SizedDetection:
    _log.info("detection with the %d best boxes kept for NMS", nms_pre)
    config = with_overrides(plan.subject.config, [f"test.nms_pre={nms_pre}"])
    subject = replace(plan.subject, config=config)
    return _row(nms_pre, subject, plan.source, plan.repeats)


def _row(
    size: int, subject: Subject, source: SceneSource, repeats: int, **how: bool
) -> SizedDetection:
    """Measure at one size. how: options of `measure_detection`."""
    try:
        return SizedDetection(
            size, in_fresh_process(measure_detection, subject, source, repeats, **how)
        )
    except OutOfMemory as error:
        _log.warning("%d: %s", size, error)
        return SizedDetection(size, None, str(error))


def _facts(plan: BenchmarkPlan) -> dict[str, Any]:
    subject = plan.subject
    load = os.getloadavg()[0]
    machine = machine_facts()
    busy = is_busy(load, machine["cores"])
    if busy:
        _log.warning(
            "the machine is busy (load average %.1f on %s cores). Times will be too long. Shares "
            "are more reliable than milliseconds.", load, machine["cores"],
        )  # fmt: skip
    parameters = sum(p.numel() for p in build_detector(subject.config).parameters())
    return {
        "command": plan.command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "setting": plan.setting,
        "dataset": subject.config.dataset,
        "config": subject.config.to_dict(),
        "config_digest": subject.config.digest(),
        "weights": str(subject.weights) if subject.weights else "random, seed 0",
        "parameters": parameters,
        "precision": subject.compiled or "fp32",
        "source": str(plan.source),
        "device": subject.device,
        "threads": subject.threads,
        "compiled": subject.compiled is not None,
        "load_average": round(load, 2),
        "busy": busy,
        "machine": {**machine, "threads": subject.threads},
        "versions": versions(),
        "code": code_version(),
    }
