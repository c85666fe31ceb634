"""Assigners and classification losses of a batch, against an earlier commit in the same process.

    python -m benchmarks.assignment --out FILE.json

Sixteen rooms of ScanNet's and of SUN RGB-D's kind, about 45,000 anchors and 15 boxes each, with
predictions as of a trained network, and as of a new one ("start"). Seconds are processor time of
one thread, so other programs hardly count. "operations" are what PyTorch is asked to do, which on a
GPU are about as many launches; "waits" those of them whose result the processor must know before it
goes on. Both are counted with the matrices in one part, as on a GPU. Memory is the growth of the
peak of a process that assigns one scene of 100,000 anchors and 60 boxes.
"""

from __future__ import annotations

import argparse
import importlib
import io
import math
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from sr3d.data.datasets import SCANNET, SUNRGBD, Dataset
from sr3d.detectors.tr3d.config import AssignerConfig, LossConfig
from sr3d.geometry.iou import paired_iou, pairs_at_a_time
from sr3d.matching import batching as scenes
from sr3d.matching import matches
from sr3d.matching.spota import spota_cost
from sr3d.runs.files import write_json
from sr3d.runs.machine import code_version, machine_facts, versions
from tests.matching.waits import Waits

BEFORE = "51a41ea"  # the last commit that assigned scene by scene
SCENES, BOXES = 16, 15
ASSIGNERS: dict[str, dict[str, Any]] = {
    "spota": {},
    "spota, start": {},
    "spota, levels by class": {"levels": "by_class"},
    "tr3d": {},
    "tr3d of samsung": {"tr3d_variant": "samsung"},
    "simota": {},
    "align_ota": {},
    "fcaf3d": {},
}
LOSSES = ("ras", "focal", "qfl", "vfl")
LARGE = (13.5, 10.0, 2.6)  # metres: a room of about 100,000 anchors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", default=BEFORE, help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        code = {"before": earlier_package(args.before, Path(folder)), "now": "sr3d"}
        if args.memory_of:
            name, case, what = args.memory_of
            print(peak_memory(name, case, what, code))
            return
        if args.out is None:
            parser.error("--out is needed")
        sets = {d.name: compare(d, code, args.rounds) for d in (SCANNET, SUNRGBD)}
    write_json(
        args.out,
        {
            "benchmark": "assignment",
            "command": "python -m " + " ".join(["benchmarks.assignment", *sys.argv[1:]]),
            "before": args.before,
            "seconds": "processor time of one thread, median",
            **sets,
            "peak_memory_mib_of_100k_anchors_and_60_boxes": memory(args.before),
            "machine": machine_facts(),
            "versions": versions(),
            "code": code_version(),
        },
    )


def earlier_package(commit: str, folder: Path) -> str:
    """The package as of a commit, importable beside today's under another name."""
    name = "sr3d_before"
    archive = subprocess.run(["git", "archive", commit, "sr3d"], check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    (folder / "sr3d").rename(folder / name)
    for path in (folder / name).rglob("*.py"):
        text = re.sub(r"\b(from|import) sr3d\b", rf"\1 {name}", path.read_text())
        path.write_text(text)
    sys.path.append(str(folder))
    return name


def room(
    generator: torch.Generator, size: Tensor, boxes: int, dataset: Dataset, trained: bool
) -> tuple[tuple[Tensor, ...], tuple[Tensor, Tensor]]:
    """A room full of anchors 0.16 and 0.32 m apart: (anchors, levels, strides, boxes, logits) and
    (boxes, labels) of the ground truth.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    turned = float(dataset.rotated)
    classes = len(dataset.classes)
    yaw = (uniform(boxes, 1) - 0.5) * 2 * math.pi * turned
    gt = torch.cat([uniform(boxes, 3) * size, uniform(boxes, 3) * 1.6 + 0.2, yaw], dim=1)
    labels = torch.randint(classes, (boxes,), generator=generator)
    grids = [
        torch.cartesian_prod(*(torch.arange(0, edge, stride) for edge in size.tolist()))
        for stride in (0.16, 0.32)
    ]
    levels = torch.arange(2).repeat_interleave(torch.tensor([len(grid) for grid in grids]))
    anchors, n = torch.cat(grids), len(levels)

    sizes, yaw = (normal(n, 3) * 0.1).exp(), normal(n, 1) * 0.3 * turned
    pred = torch.cat([anchors + normal(n, 3) * 0.05, sizes, yaw], dim=1)
    logits = normal(n, classes) * 0.5 - 4.6
    if trained:
        distance, nearest = torch.cdist(anchors, gt[:, :3]).min(dim=1)
        near = distance < 1
        noise = normal(int(near.sum()), 7) * 0.08
        noise[:, 6] *= turned
        pred[near] = gt[nearest[near]] + noise
        pred[:, 3:6].clamp_(min=0.05)
        logits[near, labels[nearest[near]]] += 4 * torch.exp(-distance[near])
    return (anchors, levels, torch.tensor([0.16, 0.32])[levels], pred, logits), (gt, labels)


@cache
def batch(dataset: Dataset, trained: bool) -> tuple[list[Tensor], list[Tensor]]:
    """The fields of `Predictions`, level after level, and of `GroundTruth`."""
    g = torch.Generator().manual_seed(0)
    rooms = []
    for _ in range(SCENES):
        stretch = torch.cat([torch.rand(2, generator=g) * 0.3 + 0.85, torch.ones(1)])
        rooms.append(room(g, stretch * torch.tensor([9.0, 7.0, 2.6]), BOXES, dataset, trained))
    fields = [torch.cat(x) for x in zip(*(anchors for anchors, _ in rooms), strict=True)]
    counts = torch.tensor([len(anchors[0]) for anchors, _ in rooms])
    fields.insert(3, torch.arange(SCENES).repeat_interleave(counts))
    order = fields[1].argsort(stable=True)
    truth = [torch.cat(x) for x in zip(*(truth for _, truth in rooms), strict=True)]
    return [x[order] for x in fields], [*truth, torch.arange(SCENES).repeat_interleave(BOXES)]


def counts_of(fields: list[Tensor]) -> list[list[int]]:
    """`Predictions.counts`, which the cells of a network tell."""
    _, levels, _, scenes, *_ = fields
    return torch.stack([scenes[levels == i].bincount(minlength=SCENES) for i in range(2)]).tolist()


def parts_of(package: str) -> tuple[ModuleType, ModuleType]:
    """A package's criterion and outputs."""
    criterion, outputs = (f"{package}.models.{name}" for name in ("criterion", "outputs"))
    return importlib.import_module(criterion), importlib.import_module(outputs)


def compare(dataset: Dataset, code: dict[str, str], rounds: int) -> dict[str, Any]:
    results: dict[str, Any] = {"scenes": SCENES, "boxes": SCENES * BOXES}
    for name, options in ASSIGNERS.items():
        fields, truth = batch(dataset, trained="start" not in name)
        results["anchors"] = len(fields[0])
        config = AssignerConfig(name=re.split(r"[ ,]", name)[0], **options)  # type: ignore[arg-type]
        row: dict[str, Any] = {}
        found = {}
        for when, package in code.items():
            criterion, outputs = parts_of(package)
            known = {} if when == "before" else {"counts": counts_of(fields)}
            given = outputs.Predictions(*fields, **known), outputs.GroundTruth(*truth)
            assign = partial(criterion.assign, *given, dataset, config)
            found[when] = assign()
            row[when] = {"seconds": seconds(assign, rounds), **asked(assign)}
        row["ratio"] = round(row["before"]["seconds"] / row["now"]["seconds"], 2)
        row["positives"] = int((found["now"] >= 0).sum())
        row["other_matches"] = int((found["now"] != found["before"]).sum())
        results[name] = row
        print(dataset.name, name, row, flush=True)

    fields, truth = batch(dataset, trained=True)
    for name in LOSSES:
        results[name] = compare_losses(name, dataset, fields, truth, code, rounds)
        print(dataset.name, name, results[name], flush=True)
    return results


def compare_losses(
    name: str,
    dataset: Dataset,
    fields: list[Tensor],
    truth: list[Tensor],
    code: dict[str, str],
    rounds: int,
) -> dict[str, Any]:
    """Forward and backward of the classification loss of SPOTA's positives."""
    row: dict[str, Any] = {}
    config = LossConfig(cls=name)  # type: ignore[arg-type]
    logits = fields[-1].clone().requires_grad_()
    values, gradients = [], []
    for when, package in code.items():
        criterion, outputs = parts_of(package)
        gt = outputs.GroundTruth(*truth)
        assigned = criterion.assign(outputs.Predictions(*fields), gt, dataset, AssignerConfig())
        positive = (assigned >= 0).nonzero().squeeze(1)
        ious = paired_iou(fields[4][positive], truth[0][assigned[positive]], dataset.rotated)
        inputs = logits, assigned, gt, ious.clamp(0, 1), config

        def loss(criterion: ModuleType = criterion, inputs: Any = inputs) -> Tensor:
            value: Tensor = criterion.classification_loss(*inputs)
            logits.grad = None
            value.backward()
            return value

        values.append(float(loss().detach()))
        assert logits.grad is not None
        gradients.append(logits.grad.clone())
        row[when] = {"seconds": seconds(loss, rounds), **asked(loss)}
    row["ratio"] = round(row["before"]["seconds"] / row["now"]["seconds"], 2)
    row["relative_difference"] = abs(values[1] / values[0] - 1)
    row["largest_difference_of_gradients"] = float((gradients[1] - gradients[0]).abs().max())
    return row


def seconds(work: Callable[[], Any], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return round(statistics.median(taken), 4)


def asked(work: Callable[[], Any]) -> dict[str, int]:
    gpu = torch.device("cuda")
    parts = patch.object(scenes, "_PART_CPU", scenes._PART_GPU)
    pairs = patch.object(
        matches, "pairs_at_a_time", lambda _, rotated: pairs_at_a_time(gpu, rotated)
    )
    with parts, pairs, Waits() as waits:
        work()
    return {"operations": waits.operations, "waits": waits.count}


def memory(before: str) -> dict[str, dict[str, float]]:
    """MiB by data set and case; each in a process of its own."""
    table: dict[str, dict[str, float]] = {}
    for dataset in (SCANNET, SUNRGBD):
        for case in ("trained", "start", "one volume"):
            for what in ("before", "now", "full matrix"):
                command = [sys.executable, "-m", "benchmarks.assignment", "--before", before]
                command += ["--memory-of", dataset.name, case, what]
                answer = subprocess.run(command, check=True, capture_output=True, text=True)
                table.setdefault(f"{dataset.name}, {case}", {})[what] = float(answer.stdout)
        print({name: row for name, row in table.items() if dataset.name in name}, flush=True)
    return table


def peak_memory(name: str, case: str, what: str, code: dict[str, str]) -> float:
    """MiB by which SPOTA's assignment of one large room raises this process's peak (Linux)."""
    dataset = {d.name: d for d in (SCANNET, SUNRGBD)}[name]
    g = torch.Generator().manual_seed(0)
    found, (gt, labels) = room(g, torch.tensor(LARGE), 60, dataset, case == "trained")
    anchors, levels, strides, pred, logits = found
    if case == "one volume":  # the bounds by volume rule out nothing
        gt[:, 3:6] = pred[:, 3:6] = 1.0
    zeros = torch.zeros(len(anchors), dtype=torch.int64)
    few = torch.arange(0, len(anchors), 100)

    def work(rows: Tensor) -> None:
        if what == "full matrix":
            spota_cost(anchors[rows], pred[rows], gt, rotated=dataset.rotated)
            return
        criterion, outputs = parts_of(code[what])
        fields = anchors, levels, strides, zeros, pred, logits
        given = (
            outputs.Predictions(*(x[rows] for x in fields)),
            outputs.GroundTruth(gt, labels, zeros[: len(gt)]),
        )
        criterion.assign(*given, dataset, AssignerConfig())

    work(few)  # what is loaded once
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    start = _status("VmRSS")
    work(torch.arange(len(anchors)))
    return round((_status("VmHWM") - start) / 1024, 1)


def _status(field: str) -> int:
    """KiB."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if field in x)
    return int(line.split()[1])


if __name__ == "__main__":
    main()
