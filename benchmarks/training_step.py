"""Where a training step of the full-size network goes, and SPOTA's share of it.

    python -m benchmarks.training_step --points SCAN.npz --threads 1 --out FILE.json

SCAN.npz holds `points` (N, 6): metres, colours 0-1; the ground truth is made of boxes placed on
random points, as many as ScanNet's scenes have on average and at most (13 and 54).
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

from sr3d.config import default_config
from sr3d.data.datasets import SCANNET
from sr3d.files import write_json
from sr3d.machine import machine_facts, versions
from sr3d.models.criterion import GroundTruth, assign, detection_loss
from sr3d.models.detector import build_detector
from sr3d.models.voxelize import voxelize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    points = torch.from_numpy(np.load(args.points)["points"]).float()
    config = default_config("scannet")
    model = build_detector(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    results: dict[str, Any] = {}
    for boxes in (13, 54):
        truth = _truth(points, boxes)
        rows = [_step(model, optimizer, points, truth) for _ in range(args.rounds + 1)][1:]
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
    """Seconds of one step on one scene and of its parts; SPOTA is timed apart, once more."""
    config = default_config("scannet")
    marks = [time.perf_counter()]
    voxels = voxelize([points[:, :3]], [points[:, 3:]], config.model.voxel_size)
    predictions = model(voxels)
    marks.append(time.perf_counter())
    terms = detection_loss(predictions, truth, SCANNET, config.assigner, config.loss)
    marks.append(time.perf_counter())
    optimizer.zero_grad(set_to_none=True)
    terms.total.backward()
    marks.append(time.perf_counter())
    optimizer.step()
    marks.append(time.perf_counter())
    forward, loss, backward, update = (b - a for a, b in pairwise(marks))
    started = time.perf_counter()
    assign(predictions, truth, SCANNET, config.assigner)
    return {
        "forward": forward,
        "loss": loss,
        "backward": backward,
        "optimizer": update,
        "step": marks[-1] - marks[0],
        "spota": time.perf_counter() - started,
    }


if __name__ == "__main__":
    main()
