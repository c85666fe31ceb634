"""Seconds to evaluate ScanNet's whole validation ground truth against jittered boxes.

    python benchmarks/average_precision.py --ground-truth scannet_infos_val.pkl --out result.json

The ground truth is any file that `sr3d evaluate --ground-truth` reads. Every box becomes several
detections, moved, stretched and rotated at random, with random scores.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from sr3d.data.box_files import read_ground_truth
from sr3d.data.datasets import SCANNET
from sr3d.evaluate.average_precision import average_precision
from sr3d.geometry.box_set import BoxSet
from sr3d.runs.files import write_json
from sr3d.runs.machine import code_version, machine_facts, versions


def jittered(truth: BoxSet, copies: int, seed: int) -> BoxSet:
    """`copies` detections of every box, 10 cm and 10 % off in each direction, ±0.1 rad."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(len(truth)), copies)
    box = truth.box[rows].copy()
    box[:, :3] += rng.normal(0, 0.1, (len(rows), 3))
    box[:, 3:6] *= np.exp(rng.normal(0, 0.1, (len(rows), 3)))
    box[:, 6] += rng.uniform(-0.1, 0.1, len(rows))
    score = rng.random(len(rows), dtype=np.float32)
    return BoxSet(truth.scene[rows], truth.label[rows], box.astype(np.float32), score)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ground-truth", type=Path, required=True)
    parser.add_argument("--copies", type=int, default=5, help="detections a box")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    truth = read_ground_truth(arguments.ground_truth, SCANNET.classes)
    detections = jittered(truth, arguments.copies, seed=0)
    results = {}
    for name, rotated in (("axis_aligned", False), ("rotated", True)):
        seconds = []
        for _ in range(arguments.repeats):
            start = time.perf_counter()
            value = average_precision(truth, detections, SCANNET.classes, rotated=rotated)
            seconds.append(time.perf_counter() - start)
        results[name] = {
            "seconds": [round(s, 4) for s in seconds],
            "median_seconds": round(statistics.median(seconds), 4),
            "AP25": value["AP25"],
            "AP50": value["AP50"],
        }
        print(
            f"{name}: {results[name]['median_seconds']:.3f} s (median of {arguments.repeats}) for "
            f"{len(detections)} detections, {len(truth)} boxes, {len(truth.scenes)} scenes"
        )
    write_json(
        arguments.out,
        {
            "what": "average_precision at IoU 0.25 and 0.5, ScanNet validation ground truth",
            "detections": len(detections),
            "boxes": len(truth),
            "scenes": len(truth.scenes),
            **results,
            "machine": machine_facts(),
            "versions": versions(),
            "code": code_version(),
        },
    )


if __name__ == "__main__":
    main()
