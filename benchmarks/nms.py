"""Non-maximum suppression of 18 classes: one call against a loop over the classes.

    python -m benchmarks.nms --out benchmarks/results/nms.json

All contenders keep the same boxes (checked), and compute bird's-eye-view IoU by the same functions:

  one_call  the package: a sweep for the pairs that overlap, greedy choice on bits
  loop      an earlier version: a table of IoUs per class, rounds of certain decisions
  numpy     per class, take the best box and remove the boxes that it overlaps. Axis-aligned only
  rounds    the dense tables for a GPU and its CUDA graphs. At most 1,000 boxes

One thread. CPU time of the process, because wall time on a busy machine is not reliable. With
`--device cuda` wall time, with syncs before and after.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sr3d.geometry.iou import OverlapRule, pairwise_iou
from sr3d.geometry.nms import class_nms
from sr3d.geometry.static_nms import static_nms
from sr3d.runs.files import write_json
from sr3d.runs.machine import code_version, machine_facts, versions

CLASSES = 18
Contender = Callable[[Tensor, Tensor, Tensor, float, bool], Tensor]


def scattered(count: int, generator: torch.Generator) -> Tensor:
    """(count, 7) boxes of furniture size, anywhere in a room of 8 m by 8 m."""
    low = torch.tensor([0, 0, 0, 0.2, 0.2, 0.2, -math.pi])
    high = torch.tensor([8, 8, 2, 1.7, 1.7, 1.7, math.pi])
    return low + torch.rand(count, 7, generator=generator) * (high - low)


def clustered(count: int, generator: torch.Generator) -> Tensor:
    """(count, 7) guesses at 20 objects, 8 cm and 12 % off, similar to a detector's."""
    owner = torch.randint(0, 20, (count,), generator=generator)
    boxes = scattered(20, generator)[owner]
    noise = torch.randn(count, 7, generator=generator)
    boxes[:, :3] += 0.08 * noise[:, :3]
    boxes[:, 3:6] *= (0.12 * noise[:, 3:6]).exp()
    boxes[:, 6] += 0.1 * noise[:, 6]
    return boxes


def one_call(boxes: Tensor, scores: Tensor, valid: Tensor, iou_thr: float, rotated: bool) -> Tensor:
    return class_nms(boxes, scores, valid, iou_thr, rotated)


def rounds(boxes: Tensor, scores: Tensor, valid: Tensor, iou_thr: float, rotated: bool) -> Tensor:
    keep, settled = static_nms(boxes, scores, valid, OverlapRule(iou_thr, rotated), rounds=16)
    assert settled
    return keep


def loop(boxes: Tensor, scores: Tensor, valid: Tensor, iou_thr: float, rotated: bool) -> Tensor:
    keep = torch.zeros_like(valid)
    # Where classes share boxes the table was made once for all.
    shared = None
    if len(boxes) ** 2 < int((valid.sum(dim=0) ** 2).sum()):
        shared = pairwise_iou(boxes, boxes, rotated, bev=True) > iou_thr
    for label in range(valid.shape[1]):
        rows = valid[:, label].nonzero().squeeze(1)
        rows = rows[torch.sort(scores[rows, label], descending=True, stable=True).indices]
        if shared is None:
            overlap = pairwise_iou(boxes[rows], boxes[rows], rotated, bev=True) > iou_thr
        else:
            overlap = shared[rows][:, rows]
        overlap = overlap.triu(diagonal=1)
        rivals = overlap.sum(dim=0)
        undecided = torch.ones_like(rivals, dtype=torch.bool)
        while undecided.any():
            stays = undecided & (rivals == 0)
            goes = undecided & overlap[stays].any(dim=0)
            decided = stays | goes
            rivals = rivals - overlap[decided].sum(dim=0)
            keep[rows[stays], label] = True
            undecided &= ~decided
    return keep


def numpy(boxes: Tensor, scores: Tensor, valid: Tensor, iou_thr: float, rotated: bool) -> Tensor:
    keep = torch.zeros_like(valid)
    for label in range(valid.shape[1]):
        rows = valid[:, label].nonzero().squeeze(1)
        rows = rows[torch.sort(scores[rows, label], descending=True, stable=True).indices]
        x, y, dx, dy = boxes[rows][:, [0, 1, 3, 4]].numpy().T.copy()
        left, area = np.arange(len(rows)), dx * dy
        while len(left):
            best, left = left[0], left[1:]
            keep[rows[best], label] = True
            shared: Any = 1
            for center, size in ((x, dx), (y, dy)):
                reach = (size[best] + size[left]) / 2 - np.abs(center[best] - center[left])
                reach = np.minimum(reach, np.minimum(size[best], size[left]))
                shared = shared * np.maximum(reach, 0)
            union = area[best] + area[left] - shared
            left = left[shared / union <= np.float32(iou_thr)]
    return keep


def cases() -> list[tuple[dict[str, Any], Tensor, Tensor, Tensor]]:
    """Facts, boxes, scores, and the candidates."""
    result = []
    for layout in (scattered, clustered):
        generator = torch.Generator().manual_seed(0)
        for count in (300, 1000, 5000, 20_000):
            boxes = layout(count, generator)
            scores = torch.rand(count, CLASSES, generator=generator)
            label = torch.randint(0, CLASSES, (count, 1), generator=generator)
            valid = torch.zeros(count, CLASSES, dtype=torch.bool).scatter_(1, label, True)
            result.append((_facts(layout.__name__, valid), boxes, scores, valid))
        # As of a detector after a short training: 1,000 boxes, most of them in many classes.
        boxes, scores = layout(1000, generator), torch.rand(1000, CLASSES, generator=generator)
        valid = scores > 0.3
        result.append((_facts(layout.__name__, valid), boxes, scores, valid))
    return result


def _facts(layout: str, valid: Tensor) -> dict[str, Any]:
    return {"layout": layout, "boxes": len(valid), "offered": int(valid.sum())}


def _clock(device: str) -> float:
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iou-thr", type=float, default=0.25)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)

    measured = []
    for facts, boxes, scores, valid in cases():
        for rotated in (False, True):
            contenders: dict[str, Contender] = {"one_call": one_call, "loop": loop}
            if not rotated and args.device == "cpu":
                contenders["numpy"] = numpy
            if len(boxes) <= 1000:
                contenders["rounds"] = rounds
            tensors = (part.to(args.device) for part in (boxes, scores, valid))
            case = *tensors, args.iou_thr, rotated
            kept = {name: way(*case) for name, way in contenders.items()}  # the warm-up too
            assert all(torch.equal(keep, kept["loop"]) for keep in kept.values())
            seconds: dict[str, list[float]] = {name: [] for name in contenders}
            for _ in range(args.rounds):
                for name, way in contenders.items():
                    started = _clock(args.device)
                    way(*case)
                    seconds[name].append(round(_clock(args.device) - started, 6))
            median = {name: statistics.median(values) for name, values in seconds.items()}
            ratio = {name: round(median[name] / median["one_call"], 1) for name in median}
            result = {**facts, "rotated": rotated, "kept": int(kept["loop"].sum())}
            measured.append(result | {"seconds": seconds, "median": median, "ratio": ratio})
            print(result, {name: f"{1000 * value:.2f} ms" for name, value in median.items()})

    write_json(
        args.out,
        {
            "benchmark": "nms",
            "what": "NMS of 18 classes; CPU seconds, one thread (on a GPU wall seconds)",
            "device": args.device,
            "iou_thr": args.iou_thr,
            "rounds": args.rounds,
            "cases": measured,
            "machine": machine_facts(),
            "versions": versions(),
            "code": code_version(),
            "command": f"benchmarks.nms --iou-thr {args.iou_thr} --rounds {args.rounds}",
        },
    )


if __name__ == "__main__":
    main()
