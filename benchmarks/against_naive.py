"""From voxels to boxes: a plain implementation, our eager detector, and the compiled one.

    python -m benchmarks.against_naive --device cuda --out FILE.json [--points SCAN.npz] [--run RUN]

`naive` is a typical first implementation, with the same kernel maps and weights: one gather,
product and scatter per kernel offset, separate batch norm and ReLU, single precision, and NMS in a
loop over the classes. Before the timing, eager and single-precision contenders must find the same
boxes. All run in one process, in turn, A B A B. RUN is the folder of a training run. Without it the
weights are random, which gives NMS more work.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import sr3d
from benchmarks.nms import loop
from benchmarks.timing import milliseconds
from sr3d.data.scene import point_table
from sr3d.detectors.common.selection import kept
from sr3d.detectors.outputs import Detections
from sr3d.detectors.tr3d.detector import TR3D
from sr3d.runs.files import write_json
from sr3d.runs.machine import code_version, machine_facts, versions
from sr3d.sparse import functional, torch_engine
from sr3d.study.benchmarking.subject import Rooms

HALF = {"compiled_fp16": torch.float16, "compiled_bf16": torch.bfloat16}


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


def check_same(name: str, found: Detections, truth: Detections) -> None:
    same = len(found.boxes) == len(truth.boxes) and torch.equal(found.labels, truth.labels)
    if not same or not torch.allclose(found.boxes, truth.boxes, atol=1e-3):
        raise SystemExit(f"{name} finds {len(found.boxes)} boxes, the plain way {len(truth.boxes)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--points", type=Path, help="SCAN.npz with `points` (N, 6)")
    parser.add_argument("--run", default="sr3d_rooms", help="model for sr3d.load")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = sr3d.load(args.run, device=args.device)
    assert isinstance(model, TR3D)
    if args.points:
        scan = torch.from_numpy(np.load(args.points)["points"]).float()
    else:
        scan = point_table(Rooms(model.dataset.name, 1).load()[0])
    points, colors = scan[:, :3].to(args.device), scan[:, 3:].to(args.device)
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
        for name in ("eager", "compiled_fp32"):
            check_same(name, contenders[name](), truth)
        for turn in range(-3, args.rounds):
            for name, run in contenders.items():
                value = milliseconds(run, torch.device(args.device))
                if turn >= 0:
                    times[name].append(value)
    ratios = {
        name: statistics.median(a / b for a, b in zip(times["naive"], values, strict=True))
        for name, values in times.items()
    }
    medians = {name: statistics.median(values) for name, values in times.items()}
    write_json(
        args.out,
        {
            "benchmark": "against_naive",
            "model": args.run,
            "points": len(scan),
            "boxes": len(truth.boxes),
            "milliseconds": times,
            "median": medians,
            "naive_over": ratios,
            "device": args.device,
            "machine": machine_facts(),
            "versions": versions(),
            "code": code_version(),
        },
    )
    for name, value in medians.items():
        print(f"{name:14} {value:9.2f} ms   naive takes {ratios[name]:.1f} times as long")


if __name__ == "__main__":
    main()
