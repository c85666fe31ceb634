"""Where detectors on points spend their time, with our point operations and in plain PyTorch.

    OMP_WAIT_POLICY=passive python -m benchmarks.point_detectors --threads 1 --out FILE.json
    python -m benchmarks.point_detectors --device cuda --out FILE.json

One scene of 40,000 points of procedural rooms, networks of the published size with random weights.
Both kinds of point operations run in turn, A B A B, and give equal detections (checked). Each
figure is a median of the rounds, each ratio the median of the ratios of pairs. On a CPU, times are
CPU times of the process, because other programs lengthen wall times. With several threads, they add
up over the threads, and waiting threads must sleep (OMP_WAIT_POLICY). `wall` has the wall times.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

from sr3d.data.scene import Scene
from sr3d.detectors.base import Detector
from sr3d.detectors.common import pointnet2
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.points import functional, torch_engine
from sr3d.runs.files import write_json
from sr3d.runs.machine import code_version, machine_facts, versions
from sr3d.study.benchmarking.stages import StageClock, replaced, staged, training_staged
from sr3d.study.benchmarking.subject import Floor, Subject
from sr3d.train.step import train_step

POINTS = 40_000
DETECTORS = ("votenet", "groupfree", "3detr_m")
# Functions of an engine. `group` and `interpolate`, which gather, count as grouping too.
POINT_STAGES = {
    "furthest_points": "sampling", "ball_query": "grouping", "nearest": "grouping",
}  # fmt: skip


@contextmanager
def points_staged(engine: ModuleType, clock: StageClock) -> Iterator[None]:
    """Within the block, an engine computes the point operations, timed by `POINT_STAGES`."""
    timed = {n: clock.timed(stage, getattr(engine, n)) for n, stage in POINT_STAGES.items()}
    with (
        replaced(functional, "points_engine", lambda device: SimpleNamespace(**timed)),
        staged(clock, (pointnet2, "group", "grouping"), (pointnet2, "interpolate", "grouping")),
    ):
        yield


@contextmanager
def detection_staged(model: Detector[Any, Any], clock: StageClock) -> Iterator[None]:
    """Backbone and neck are the stage "network"."""
    heads = [name for name, stage in model.stages().items() if stage == "head"]
    with staged(
        clock,
        (model, "inputs", "inputs"),
        (model, "forward", "network"),
        (model, "detections", "post-processing"),
        *((model.get_submodule(name), "forward", "heads") for name in heads),
    ):
        yield


def detect(model: Detector[Any, Any], scene: Scene, engine: ModuleType) -> dict[str, float]:
    """Milliseconds by stage, and the wall time."""
    clock, began = _clock(model), time.perf_counter()
    with torch.no_grad(), points_staged(engine, clock), detection_staged(model, clock):
        model.detections(model(model.inputs([scene])))
    return {**_milliseconds(clock), "wall": 1000 * (time.perf_counter() - began)}


def train(
    model: Detector[Any, Any], optimizer: torch.optim.Optimizer, scene: Scene, engine: ModuleType
) -> dict[str, float]:
    """The same of a training step of one scene."""
    clock, began = _clock(model), time.perf_counter()
    with points_staged(engine, clock), training_staged(model, optimizer, clock):
        train_step(model, [scene], optimizer, clip_norm=10.0)
    return {**_milliseconds(clock), "wall": 1000 * (time.perf_counter() - began)}


def _clock(model: Detector[Any, Any]) -> StageClock:
    return StageClock(model.device, processor=model.device.type == "cpu")


def _milliseconds(clock: StageClock) -> dict[str, float]:
    stages = {name: 1000 * seconds for name, seconds in clock.seconds.items()}
    return {**stages, "total": sum(stages.values())}


def engines(device: torch.device) -> dict[str, ModuleType]:
    return {"ours": functional.points_engine(device), "torch": torch_engine}


def compared(rounds: Sequence[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Medians of both engines, and of the ratios. rounds: engine to times."""

    def median(engine: str) -> dict[str, float]:
        names = rounds[0][engine]
        return {n: round(statistics.median(r[engine][n] for r in rounds), 1) for n in names}

    def ratio(name: str) -> float:
        return round(statistics.median(r["torch"][name] / r["ours"][name] for r in rounds), 2)

    def share(engine: str) -> float:
        each = (
            (r[engine]["sampling"] + r[engine]["grouping"]) / r[engine]["total"] for r in rounds
        )
        return round(statistics.median(each), 3)

    return {
        "milliseconds": {name: median(name) for name in rounds[0]},
        "ratio": ratio("total"),
        "wall_ratio": ratio("wall"),
        "share_of_points": {name: share(name) for name in rounds[0]},
    }


def same_detections(model: Detector[Any, Any], scene: Scene) -> bool:
    """Whether both engines give equal detections. The warm-up too."""
    found = []
    for engine in engines(model.device).values():
        with torch.no_grad(), replaced(functional, "points_engine", lambda device, e=engine: e):
            found.append(model.detections(model(model.inputs([scene])))[0])
    return all(map(torch.equal, *found))


def measure(name: str, scene: Scene, device: str, rounds: int) -> dict[str, Any]:
    config = with_overrides(
        default_config("scannet"), [f"model={name}", f"model.num_points={POINTS}"]
    )
    model = Subject(config, device=device).build()
    kinds = engines(model.device).items()
    if not same_detections(model, scene):
        raise SystemExit(f"{name}: the detections differ, so nothing was compared")
    detected = [
        {kind: detect(model, scene, engine) for kind, engine in kinds} for _ in range(rounds)
    ]
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    for _, engine in kinds:  # a warm-up
        train(model, optimizer, scene, engine)
    trained = [
        {kind: train(model, optimizer, scene, engine) for kind, engine in kinds}
        for _ in range(rounds)
    ]
    return {"detection": compared(detected), "training": compared(trained)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--detectors", nargs="+", default=DETECTORS, choices=DETECTORS)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    scene = Floor("scannet", POINTS).load()[0]
    found = {}
    for name in args.detectors:
        found[name] = measure(name, scene, args.device, args.rounds)
        print(name, found[name], flush=True)
    write_json(
        args.out,
        {
            "benchmark": "point_detectors",
            "what": "milliseconds of one scene, medians. On a CPU, CPU time except for wall",
            "points": POINTS,
            "device": args.device,
            "threads": args.threads,
            "rounds": args.rounds,
            "load": os.getloadavg()[0],
            "detectors": found,
            "machine": machine_facts(),
            "versions": versions(),
            "code": code_version(),
            "command": f"benchmarks.point_detectors --device {args.device} "
            f"--threads {args.threads} --rounds {args.rounds} "
            f"--detectors {' '.join(args.detectors)}",
        },
    )


if __name__ == "__main__":
    main()
