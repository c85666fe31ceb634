"""The whole TR3D network on a real scan: our engine against MinkowskiEngine's CPU build.

    python -m benchmarks.sparse_network --points SCAN.npz --threads 2 --out FILE.json

Both run in one process, in turn, A B A B, on the same voxels and weights; each forward builds its
kernel maps anew. MinkowskiEngine has an environment of its own: see benchmarks/README.md. Without
it the script measures ours alone, and says so. SCAN.npz holds `points` (N, 6): metres, colours 0-1.
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
    from sr3d.files import write_json
    from sr3d.machine import machine_facts, versions
    from sr3d.models.voxelize import voxelize

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    points = torch.from_numpy(np.load(args.points)["points"]).float()
    ours = sr3d.load("tr3d", dataset="scannet").train()
    xyz, colors = points[:, :3], points[:, 3:]
    voxels = voxelize([xyz], [colors], ours.config.voxel_size)

    def run_ours() -> Any:
        return [level[1:] for level in ours.levels(voxelize([xyz], [colors], 0.01))]

    contenders: dict[str, Callable[[], Any]] = {"sr3d": run_ours}
    if find_spec("MinkowskiEngine"):
        from benchmarks.minkowski_tr3d import MinkowskiTR3D

        theirs = MinkowskiTR3D().train()
        theirs.load_state_dict(ours.state_dict())
        coords, features = voxels.sites.coords, voxels.features
        contenders["minkowski"] = lambda: [level[1:] for level in theirs(coords, features)]
    else:
        print("MinkowskiEngine is not installed here: measuring ours alone")

    times: dict[str, dict[str, list[float]]] = {
        name: {"forward": [], "forward_backward": []} for name in contenders
    }
    for measured in [False] + [True] * args.rounds:
        for name, run in contenders.items():
            forward, both = _time(run)
            if measured:
                times[name]["forward"].append(forward)
                times[name]["forward_backward"].append(both)

    result: dict[str, Any] = {
        "benchmark": "sparse_network",
        "voxels": len(voxels.sites),
        "threads": args.threads,
        "seconds": times,
        "median": {n: {k: statistics.median(v) for k, v in t.items()} for n, t in times.items()},
        "machine": machine_facts(),
        "versions": versions(),
        "command": f"benchmarks.sparse_network --points SCAN.npz --threads {args.threads}",
    }
    if "minkowski" in times:
        result["speedup"] = {
            k: statistics.median(
                m / s for m, s in zip(times["minkowski"][k], times["sr3d"][k], strict=True)
            )
            for k in ("forward", "forward_backward")
        }
    write_json(args.out, result)
    print({k: result[k] for k in ("voxels", "threads", "median", "speedup") if k in result})


def _time(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of a forward pass in training mode, and of it with the backward pass."""
    started = time.perf_counter()
    outputs = run()
    forward = time.perf_counter() - started
    sum(t.sum() for level in outputs for t in level).backward()
    return forward, time.perf_counter() - started


if __name__ == "__main__":
    main()
