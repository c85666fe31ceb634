"""The parts of a training step of the full network, and SPOTA's share of it.

    python -m benchmarks.training_step --points SCAN.npz --threads 1 --out FILE.json
    python -m benchmarks.training_step --points SCAN.npz --device cuda --precision bf16 --out …

SCAN.npz holds `points` (N, 6): metres, colours 0-1. Without it, the points are a procedural room of
ScanNet's size. The ground truth is boxes on random points, with the mean and the maximum number of
boxes of ScanNet's scenes (13 and 54).
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.timing import milliseconds
from sr3d.data.ground_truth import GroundTruth
from sr3d.data.scene import Scene, point_table
from sr3d.detectors import build_detector
from sr3d.detectors.configuration import default_config
from sr3d.geometry.boxes import Boxes
from sr3d.runs.files import write_json
from sr3d.runs.machine import machine_facts, versions
from sr3d.study.benchmarking.stages import TRAINING_STAGES, StageClock, training_staged
from sr3d.study.benchmarking.subject import Rooms
from sr3d.train.precision import network_precision
from sr3d.train.step import train_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "tf32", "bf16"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(args.device)
    if args.points:
        points = torch.from_numpy(np.load(args.points)["points"]).float()
    else:
        points = point_table(Rooms("scannet", 1).load()[0])
    config = default_config("scannet")
    model = build_detector(config).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=device.type == "cuda" or None)

    results: dict[str, Any] = {}
    for boxes in (13, 54):
        scene = _scene(points, boxes)
        scene = replace(scene, points=scene.points.to(device), colors=scene.colors.to(device))
        with network_precision(model, args.precision):
            clip = config.train.clip_norm
            steps = [_step(model, optimizer, clip, scene) for _ in range(args.rounds + 1)]
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


def _scene(points: torch.Tensor, count: int) -> Scene:
    """The scan with `count` boxes on random points of it."""
    g = torch.Generator().manual_seed(count)
    centers = points[torch.randint(len(points), (count,), generator=g), :3]
    sizes = torch.rand(count, 3, generator=g) * 1.5 + 0.3
    box = torch.cat([centers, sizes, torch.zeros(count, 1)], dim=1)
    labels = torch.randint(18, (count,), generator=g)
    return Scene("scan", points[:, :3], points[:, 3:], Boxes(box), labels)


def _step(
    model: Any, optimizer: torch.optim.Optimizer, clip_norm: float, scene: Scene
) -> dict[str, float]:
    """Seconds of one step on one scene and of its parts. SPOTA is timed separately."""
    clock = StageClock(model.device)
    with training_staged(model, optimizer, clock):
        train_step(model, [scene], optimizer, clip_norm)
    predictions = model(model.inputs([scene]))
    truth = GroundTruth.of([scene], model.device)
    assign = partial(model.assigner, predictions.anchors, predictions.boxes, predictions.logits)
    spota = milliseconds(lambda: assign(truth), model.device) / 1000
    parts = {name: clock.seconds[name] for name in TRAINING_STAGES}
    return {**parts, "step": sum(parts.values()), "spota": spota}


if __name__ == "__main__":
    main()
