"""Results of measurements, as frozen dataclasses that become the JSON of docs/benchmark.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Times:
    """Milliseconds of each run, in the order of the runs."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.runs))

    @property
    def p95(self) -> float:
        """The 95th percentile, interpolated. With few runs it is close to the slowest."""
        return float(np.percentile(self.runs, 95))

    @property
    def least(self) -> float:
        return min(self.runs)

    def to_dict(self) -> dict[str, Any]:
        summary = {"median": self.median, "p95": self.p95, "min": self.least}
        rounded = {name: round(value, 3) for name, value in summary.items()}
        return {**rounded, "n": len(self.runs), "runs": [round(value, 3) for value in self.runs]}


@dataclass(frozen=True)
class Memory:
    """Mebibytes. peak: as described by `what`. weights: of parameters and buffers."""

    peak: float
    weights: float
    what: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "peak_mb": round(self.peak, 1),
            "weights_mb": round(self.weights, 1),
            "what": self.what,
        }


@dataclass(frozen=True)
class Work:
    """The sparse convolutions of a scene, compared with the machine's peak.

    gflop: 10⁹ multiplications and additions over the existing pairs of rows. milliseconds: of
    `span`, "network" or "points to boxes". peak: GFLOP/s of a large dense matrix product in the
    same precision.
    """

    gflop: float
    milliseconds: float
    span: str
    peak: float

    @property
    def reached(self) -> float:
        """GFLOP/s over that span."""
        return 1000 * self.gflop / self.milliseconds

    @property
    def floor(self) -> float:
        """Milliseconds of the same work at the peak."""
        return 1000 * self.gflop / self.peak

    def to_dict(self) -> dict[str, Any]:
        return {
            "gflop": round(self.gflop, 6),
            "span": self.span,
            "span_ms": round(self.milliseconds, 3),
            "reached_gflop_per_s": round(self.reached, 3),
            "dense_gflop_per_s": round(self.peak, 3),
            "share_of_dense": round(self.reached / self.peak, 4),
            "floor_ms": round(self.floor, 3),
        }


@dataclass(frozen=True)
class MeasuredScene:
    """One scene: points at the start of the clock, size of the network's input, boxes after NMS."""

    id: str
    points: int
    size: int
    boxes: int

    def to_dict(self, unit: str) -> dict[str, Any]:
        """unit: of the size (`Detector.input_unit`), which names it."""
        return {"id": self.id, "points": self.points, _key(unit): self.size, "boxes": self.boxes}


@dataclass(frozen=True)
class Detection:
    """Detection from points on the device to boxes after NMS, in each scene in turn.

    unit: of the scenes' sizes. The optional fields come from separate passes. network: from inputs
    to predictions. stages: mean milliseconds per scene of each stage. Their sum is the time of a
    scene. work: see `Work`.
    """

    scenes: tuple[MeasuredScene, ...]
    latency: Times
    memory: Memory
    unit: str
    network: Times | None = None
    stages: Mapping[str, float] | None = None
    work: Work | None = None

    def to_dict(self) -> dict[str, Any]:
        more = {
            "network_ms": self.network.to_dict() if self.network else None,
            "stages": stage_table(self.stages) if self.stages else None,
            "roofline": self.work.to_dict() if self.work else None,
        }
        return {
            "scenes": [scene.to_dict(self.unit) for scene in self.scenes],
            "latency_ms": self.latency.to_dict(),
            "memory": self.memory.to_dict(),
            **{name: value for name, value in more.items() if value is not None},
        }


@dataclass(frozen=True)
class TrainingSteps:
    """Training steps. stages: mean milliseconds per step. size, unit: of the first batch."""

    batch: int
    size: int
    unit: str
    step: Times
    stages: Mapping[str, float]
    memory: Memory

    @property
    def scenes_per_second(self) -> float:
        return 1000 * self.batch / self.step.median

    def to_dict(self) -> dict[str, Any]:
        return {
            "batch": self.batch,
            _key(self.unit): self.size,
            "scenes_per_second": round(self.scenes_per_second, 4),
            "step_ms": self.step.to_dict(),
            "stages": stage_table(self.stages),
            "memory": self.memory.to_dict(),
        }


@dataclass(frozen=True)
class SizedDetection:
    """The measurement at one size, or why there is none.

    size: the points of a floor, or the boxes kept for NMS.
    """

    size: int
    detection: Detection | None
    error: str | None = None

    def to_dict(self, size: str) -> dict[str, Any]:
        """size: the key under which the size is written."""
        measured = self.detection.to_dict() if self.detection else {"error": self.error}
        return {size: self.size, **measured}


@dataclass(frozen=True)
class Benchmark:
    """All results of one call. facts: plain values on the subject, the machine and the method.

    scaling: by the points of a floor. candidates: by the boxes kept for NMS (`test.nms_pre`).
    """

    facts: Mapping[str, Any]
    detection: Detection
    training: TrainingSteps | None
    scaling: tuple[SizedDetection, ...] = ()
    candidates: tuple[SizedDetection, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as docs/benchmark.md lists them."""
        return {
            "schema_version": SCHEMA_VERSION,
            **self.facts,
            "detection": self.detection.to_dict(),
            "training": self.training.to_dict() if self.training else None,
            "scaling": [row.to_dict("points") for row in self.scaling],
            "candidates": [row.to_dict("nms_pre") for row in self.candidates],
        }


def _key(unit: str) -> str:
    return unit.replace(" ", "_")


def stage_table(stages: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Milliseconds and share of the sum, by stage."""
    total = sum(stages.values())
    return {
        name: {"ms": round(value, 3), "share": round(value / total, 4)}
        for name, value in stages.items()
    }
