"""The parts of a training step of the full network, and SPOTA's share of it.

    python -m benchmarks.training_step --points SCAN.npz --threads 1 --out FILE.json
    python -m benchmarks.training_step --points SCAN.npz --device cuda --precision bf16 --out …

SCAN.npz holds `points` (N, 6): metres, colours 0-1. The ground truth is boxes on random points,
with the mean and the maximum number of boxes of ScanNet's scenes (13 and 54).
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors import build_detector
from sr3d.detectors.common.voxelize import voxelize
from sr3d.detectors.configuration import default_config
from sr3d.runs.files import write_json
from sr3d.runs.machine import machine_facts, versions
from sr3d.sparse.determinism import ordered_backward
from sr3d.train.precision import network_precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "tf32", "bf16"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(args.device)
    points = torch.from_numpy(np.load(args.points)["points"]).float()
    config = default_config("scannet")
    model = build_detector(config).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device.type == "cuda" or None)

    results: dict[str, Any] = {}
    for boxes in (13, 54):
        truth = _truth(points, boxes).to(device)
        with network_precision(model, args.precision):
            steps = [
                _step(model, optimizer, points.to(device), truth) for _ in range(args.rounds + 1)
            ]
        rows = steps[1:]
        parts = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
        parts["spota_share"] = statistics.median(row["spota"] / row["step"] for row in rows)
        results[f"{boxes} boxes"] = parts
        print(f"{boxes} boxes: ", {k: round(v, 4) for k, v in parts.items()})
    write_json(
        args.out,
        {
            "benchmark": "training_step",
            "points": len(points),
            "threads": args.threads,
            "device": args.device,
            "precision": args.precision,
            "median": results,
            "machine": machine_facts(),
            "versions": versions(),
        },
    )


def _truth(points: torch.Tensor, count: int) -> GroundTruth:
    g = torch.Generator().manual_seed(count)
    centers = points[torch.randint(len(points), (count,), generator=g), :3]
    sizes = torch.rand(count, 3, generator=g) * 1.5 + 0.3
    box = torch.cat([centers, sizes, torch.zeros(count, 1)], dim=1)
    return GroundTruth.collate([box], [torch.randint(18, (count,), generator=g)])


def _step(
    model: Any, optimizer: torch.optim.Optimizer, points: torch.Tensor, truth: GroundTruth
) -> dict[str, float]:
    """Seconds of one step on one scene and of its parts. SPOTA is timed separately."""
    config = default_config("scannet")
    marks = [_now(points)]
    voxels = voxelize([points[:, :3]], [points[:, 3:]], config.model.voxel_size)
    predictions = model(voxels)
    marks.append(_now(points))
    terms = model.loss(predictions, truth)
    marks.append(_now(points))
    optimizer.zero_grad(set_to_none=True)
    ordered_backward(terms.total)
    marks.append(_now(points))
    optimizer.step()
    marks.append(_now(points))
    forward, loss, backward, update = (b - a for a, b in pairwise(marks))
    model.assigner(predictions.anchors, predictions.boxes, predictions.logits, truth)
    spota = _now(points) - marks[-1]
    return {
        "forward": forward,
        "loss": loss,
        "backward": backward,
        "optimizer": update,
        "step": marks[-1] - marks[0],
        "spota": spota,
    }


def _now(points: torch.Tensor) -> float:
    """The time in seconds, after a sync."""
    if points.is_cuda:
        torch.cuda.synchronize(points.device)
    return time.perf_counter()


if __name__ == "__main__":
    main()
