"""From voxels to boxes: a plain implementation, our eager detector, and the compiled one.

    python -m benchmarks.against_naive --device cuda --out FILE.json [--points SCAN.npz] [--run RUN]

`naive` is a typical first implementation, with the same kernel maps and weights: one gather,
product and scatter per kernel offset, separate batch norm and ReLU, single precision, and NMS in a
loop over the classes. Before the timing, contenders in single precision must find the same boxes.
All run in one process, in turn, A B A B. RUN is the folder of a training run, or `sr3d_rooms`.
Without it the full network has random weights, which give NMS more work. Their scores differ so
little that rounding may change a few boxes of a hundred.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sr3d
from benchmarks.nms import loop
from benchmarks.timing import milliseconds
from sr3d.data.scene import point_table
from sr3d.detectors import NETWORKS
from sr3d.detectors.common.selection import kept
from sr3d.detectors.outputs import Detections
from sr3d.detectors.tr3d.detector import TR3D
from sr3d.runs.files import write_json
from sr3d.runs.machine import code_version, machine_facts, versions
from sr3d.sparse import functional, torch_engine
from sr3d.study.benchmarking.subject import Rooms

HALF = {"compiled_fp16": torch.float16, "compiled_bf16": torch.bfloat16}
CLOSE = 1e-3  # metres, radians
LEAST_SAME = 0.9


@contextmanager
def offset_by_offset() -> Iterator[None]:
    """The plain PyTorch engine, without its strategy for dense neighbourhoods."""
    usual, torch_engine._DENSE = torch_engine._DENSE, 2.0
    try:
        with functional.engine("torch"):
            yield
    finally:
        torch_engine._DENSE = usual


def naive(model: TR3D, points: Tensor, colors: Tensor) -> Detections:
    config = model.inference
    with offset_by_offset():
        predictions = model(model.voxels([points], [colors]))
    scores = predictions.logits.sigmoid()
    top = torch.topk(scores.amax(dim=1), min(config.nms_pre, len(scores))).indices
    boxes, scores = predictions.boxes[top], scores[top]
    valid = scores > config.score_thr
    keep = loop(boxes, scores, valid, config.iou_thr, model.dataset.rotated)
    return kept(boxes, scores, keep)


def same_boxes(found: Detections, truth: Detections) -> float:
    """The share of detections that have an equal one in the other set, up to rounding."""
    if not len(found.labels) or not len(truth.labels):
        return float(len(found.labels) == len(truth.labels))
    apart = torch.cdist(found.boxes, truth.boxes, p=float("inf"))
    apart = apart + (found.labels[:, None] != truth.labels)
    here, there = apart.amin(dim=1) < CLOSE, apart.amin(dim=0) < CLOSE
    return float(torch.cat([here, there]).float().mean())


def measure(
    model: TR3D, points: Tensor, colors: Tensor, rounds: int, least_same: float = LEAST_SAME
) -> dict[str, Any]:
    """Milliseconds of every contender, their medians, and naive's time over each.

    Raises:
        ValueError: a contender in single precision finds other boxes.
    """
    compiled = model.compile()
    contenders: dict[str, Callable[[], Detections]] = {
        "naive": lambda: naive(model, points, colors),
        "eager": lambda: model.select(model(model.voxels([points], [colors]))),
        "compiled_fp32": lambda: compiled.detect_points(points, colors),
    }
    for name, dtype in HALF.items():
        half = model.compile(dtype)
        contenders[name] = lambda run=half: run.detect_points(points, colors)  # type: ignore[misc]
    times: dict[str, list[float]] = {name: [] for name in contenders}
    with torch.no_grad():
        truth = contenders["naive"]()
        same = {name: same_boxes(contenders[name](), truth) for name in ("eager", "compiled_fp32")}
        if min(same.values()) < least_same:
            raise ValueError(f"shares of boxes that the plain way finds too: {same}")
        for turn in range(-3, rounds):
            for name, run in contenders.items():
                value = milliseconds(run, points.device)
                if turn >= 0:
                    times[name].append(value)
    ratios = {
        name: statistics.median(a / b for a, b in zip(times["naive"], values, strict=True))
        for name, values in times.items()
    }
    return {
        "points": len(points),
        "boxes": len(truth.boxes),
        "same_boxes": same,
        "milliseconds": times,
        "median": {name: statistics.median(values) for name, values in times.items()},
        "naive_over": ratios,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--points", type=Path, help="SCAN.npz with `points` (N, 6)")
    parser.add_argument("--run", default="tr3d", help="model for sr3d.load")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = sr3d.load(args.run, device=args.device, untrained=args.run in NETWORKS)
    assert isinstance(model, TR3D)
    if args.points:
        scan = torch.from_numpy(np.load(args.points)["points"]).float()
    else:
        scan = point_table(Rooms(model.dataset.name, 1).load()[0])
    found = measure(model, *scan.to(args.device).split(3, dim=1), args.rounds)
    write_json(
        args.out,
        {
            "benchmark": "against_naive",
            "model": args.run,
            **found,
            "device": args.device,
            "machine": machine_facts(),
            "versions": versions(),
            "code": code_version(),
        },
    )
    for name, value in found["median"].items():
        print(f"{name:14} {value:9.2f} ms   naive takes {found['naive_over'][name]:.1f} times")


if __name__ == "__main__":
    main()
