"""The full TR3D network on a real scan: our engine against MinkowskiEngine's CPU build.

    python -m benchmarks.sparse_network --points SCAN.npz --threads 2 --out FILE.json

Both run in one process, in turn, A B A B, on the same voxels and weights. Each forward pass builds
its kernel maps again. `forward` and `forward_backward` are in training mode. `inference` is in
evaluation mode without gradients: ours compiled, in single precision and in bfloat16, and eager.
`maps` is the time of our kernel maps. MinkowskiEngine needs a separate environment, see
benchmarks/README.md. Without it the script measures only ours, and says so. SCAN.npz holds `points`
(N, 6): metres, colours 0-1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before the engines are imported

    import torch

    import sr3d
    from sr3d.deploy.fused_network import FusedNetwork
    from sr3d.detectors.common.voxelize import voxelize
    from sr3d.runs.files import write_json
    from sr3d.runs.machine import machine_facts, versions
    from sr3d.sparse.tensor import plan
    from sr3d.study.benchmarking.roofline import counted_flop, dense_peak

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    points = torch.from_numpy(np.load(args.points)["points"]).float()
    ours = sr3d.load("tr3d", dataset="scannet", untrained=True).train()
    xyz, colors = points[:, :3], points[:, 3:]
    voxels = voxelize([xyz], [colors], ours.config.voxel_size)

    def ours_now() -> Any:
        return [level[1:] for level in ours.levels(voxelize([xyz], [colors], 0.01))]

    fused, half = FusedNetwork(ours), FusedNetwork(ours, torch.bfloat16)

    def compiled(network: FusedNetwork) -> Any:
        fresh = voxelize([xyz], [colors], 0.01)
        return network(fresh.features, fresh.sites)

    training: dict[str, Callable[[], Any]] = {"sr3d": ours_now}
    inference: dict[str, Callable[[], Any]] = {
        "sr3d": ours_now,
        "sr3d_compiled": lambda: compiled(fused),
        "sr3d_compiled_bf16": lambda: compiled(half),
    }
    networks: list[torch.nn.Module] = [ours]
    if find_spec("MinkowskiEngine"):
        from benchmarks.minkowski_tr3d import MinkowskiTR3D

        theirs = MinkowskiTR3D()
        theirs.load_state_dict(ours.state_dict())
        coords, features = voxels.sites.coords, voxels.features
        training["minkowski"] = lambda: [level[1:] for level in theirs(coords, features)]
        inference["minkowski"] = training["minkowski"]
        networks.append(theirs)
    else:
        print("MinkowskiEngine is not installed: measuring only our engine")

    times: dict[str, dict[str, list[float]]] = {}
    for measured in [False] + [True] * args.rounds:
        seconds = []
        for network in networks:
            network.train()
        for name, run in training.items():
            forward, both = _time(run)
            seconds += [(name, "forward", forward), (name, "forward_backward", both)]
        for network in networks:
            network.eval()
        with torch.inference_mode():
            for name, run in inference.items():
                seconds.append((name, "inference", _seconds(run)))
            fresh = voxelize([xyz], [colors], 0.01).sites
            maps = _seconds(lambda sites=fresh: plan(ours.planned, sites))
            seconds.append(("sr3d", "maps", maps))
        for name, what, value in seconds if measured else []:
            times.setdefault(name, {}).setdefault(what, []).append(value)

    with torch.no_grad(), counted_flop(ours) as flop:
        ours_now()
    result: dict[str, Any] = {
        "benchmark": "sparse_network",
        "voxels": len(voxels.sites),
        "threads": args.threads,
        "seconds": times,
        "median": {n: {k: statistics.median(v) for k, v in t.items()} for n, t in times.items()},
        "gflop": sum(flop) / 1e9,
        "dense_gflop_per_s": {
            str(dtype).removeprefix("torch."): dense_peak(torch.device("cpu"), dtype)
            for dtype in (torch.float32, torch.bfloat16)
        },
        "machine": machine_facts(),
        "versions": versions(),
        "command": f"benchmarks.sparse_network --points SCAN.npz --threads {args.threads}",
    }
    if "minkowski" in times:
        result["speedup"] = {
            f"{name}.{what}": _ratio(times["minkowski"][what], seconds)
            for name, own in times.items()
            for what, seconds in own.items()
            if name != "minkowski" and what in times["minkowski"]
        }
    result["maps_share_of_inference"] = _ratio(times["sr3d"]["maps"], times["sr3d"]["inference"])
    write_json(args.out, result)
    print(
        {
            k: result[k]
            for k in ("voxels", "threads", "median", "speedup", "maps_share_of_inference")
            if k in result
        }
    )


def _ratio(a: list[float], b: list[float]) -> float:
    """Median of the ratios a / b, pair by pair."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def _seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _time(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of a forward pass in training mode, and of a forward and backward pass."""
    started = time.perf_counter()
    outputs = run()
    forward = time.perf_counter() - started
    sum(t.sum() for level in outputs for t in level).backward()
    return forward, time.perf_counter() - started


if __name__ == "__main__":
    main()
