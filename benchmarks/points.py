"""The point operations against the plain PyTorch versions, in the sizes that the detectors use.

    python -m benchmarks.points --threads 1 --out benchmarks/results/points_1_thread.json

`ours` is what `sr3d.points` runs on the device: NumPy and a k-d tree on a CPU, Triton on a GPU.
`torch` is `sr3d.points.torch_engine`. Results are bitwise equal (checked). Both run in turn,
A B A B. Each figure is the fastest of the rounds, because other programs only ever add time. On a
busy machine (`load`), compare `cpu_ratio` of one thread: it is the ratio of CPU times.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import milliseconds
from sr3d.points import functional, furthest_points, torch_engine
from sr3d.runs.files import write_json
from sr3d.runs.machine import code_version, machine_facts, versions
from sr3d.study.benchmarking.subject import Floor

POINTS = 40_000
# Of PointNet++ in VoteNet, GroupFree and 3DETR: centres, radius in metres, samples.
LAYERS = [(2048, 0.2, 64), (1024, 0.4, 32), (512, 0.8, 16), (256, 1.2, 16)]
Case = tuple[str, Callable[[Any], object]]


def cases(points: Tensor) -> list[Case]:
    """Names, and functions of an engine. points (1, N, 3)."""
    found: list[Case] = []
    cloud = points
    clouds = []
    for centres, radius, samples in LAYERS:
        chosen = furthest_points(cloud, centres)
        new = cloud.gather(1, chosen[..., None].expand(-1, -1, 3))
        size = f"{cloud.shape[1]:,} points"
        found += [
            (f"sampling: {size}, {centres:,} samples", partial(sample, cloud, centres)),
            (f"ball query: {size}, {centres:,} balls", partial(query, cloud, new, radius, samples)),
        ]
        clouds.append(new)
        cloud = new
    for few, many in ((clouds[3], clouds[2]), (clouds[2], clouds[1]), (clouds[1], clouds[0])):
        size = f"{few.shape[1]:,} points, {many.shape[1]:,} queries"
        found.append((f"3 nearest: {size}", partial(near, few, many, 3)))
    generator = torch.Generator(points.device).manual_seed(0)
    spread = torch.randn(1, 256, 330, 3, device=points.device, generator=generator)
    rays = (clouds[3][:, :, None] + 0.5 * spread).flatten(1, 2)
    name = f"ball query: 2,048 points, {rays.shape[1]:,} balls (RBGNet)"
    found.append((name, partial(query, clouds[0], rays, 0.2, 8)))
    queries = points[:, :4000] + 0.01
    name = f"1 nearest: {POINTS:,} points, {queries.shape[1]:,} queries"
    return [*found, (name, partial(near, points, queries, 1))]


def sample(points: Tensor, count: int, engine: Any) -> Tensor:
    return engine.furthest_points(points, count, True)


def query(points: Tensor, centres: Tensor, radius: float, count: int, engine: Any) -> Tensor:
    return engine.ball_query(points, centres, radius, count)


def near(points: Tensor, queries: Tensor, k: int, engine: Any) -> Tensor:
    return torch.cat(engine.nearest(points, queries, k))


def measure(run: Callable[[Any], object], device: torch.device, rounds: int) -> dict[str, Any]:
    engines = {"ours": functional.points_engine(device), "torch": torch_engine}
    results = [run(engine) for engine in engines.values()]  # the warm-up too
    if not torch.equal(*results):  # type: ignore[arg-type]
        raise SystemExit("the results differ: nothing was compared")
    wall: dict[str, list[float]] = {name: [] for name in engines}
    processor: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            began = time.process_time()
            wall[name].append(milliseconds(partial(run, engine), device))
            processor[name].append(1000 * (time.process_time() - began))
    best = {name: round(min(values), 3) for name, values in wall.items()}
    cpu = {name: round(min(values), 3) for name, values in processor.items()}
    return {
        "milliseconds": best,
        "ratio": round(best["torch"] / best["ours"], 1),
        "cpu_milliseconds": cpu,
        "cpu_ratio": round(cpu["torch"] / cpu["ours"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--points", type=Path, help="SCAN.npz with `points` (N, 6)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    if args.points:
        every = np.load(args.points)["points"][:, :3]
        some = np.random.default_rng(0).choice(len(every), POINTS, len(every) < POINTS)
        points = torch.from_numpy(every[some]).float()
    else:
        points = Floor("scannet", POINTS).load()[0].points
    rows = []
    for name, run in cases(points[None].to(device).contiguous()):
        rows.append({"operation": name, **measure(run, device, args.rounds)})
        print(rows[-1], flush=True)
    source = "a scan" if args.points else "procedural rooms"
    write_json(
        args.out,
        {
            "benchmark": "points",
            "what": "point operations of one scene, fastest of the rounds",
            "source": source,
            "device": args.device,
            "threads": args.threads,
            "load": os.getloadavg()[0],
            "rows": rows,
            "machine": machine_facts(),
            "versions": versions(),
            "code": code_version(),
            "command": f"benchmarks.points --threads {args.threads} --rounds {args.rounds}",
        },
    )


if __name__ == "__main__":
    main()
