"""Scenes per second from disk through the whole training transform, against common practice.

    python -m benchmarks.loading --out FILE.json [--scenes 48] [--points 100000] [--workers 0 1 2 4]

Ours: prepared scenes and `sr3d.data.transforms`. Common practice: the same steps as frameworks of
indoor detection usually write them. They read the whole file, make a NumPy copy in float64 in every
transform, align and scale colours at every load, and convert to PyTorch tensors at the end. They
use PyTorch's DataLoader with processes, ours uses our loader with threads. 16 scenes per batch, in
turn, on the same clouds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from sr3d.data.datasets import SCANNET
from sr3d.data.loader import TrainingScenes, epoch_batches, load_batches
from sr3d.data.prepared import PreparedDataset, PreparedWriter
from sr3d.data.scene import Scene
from sr3d.detectors.configuration import default_config
from sr3d.geometry.boxes import Boxes
from sr3d.runs.files import write_json
from sr3d.runs.machine import machine_facts, versions

BATCH = 16
CONFIG = default_config("scannet").augment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=48)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--epochs", type=int, default=4, help="timed passes over the scenes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_scenes(Path(folder), args.scenes, args.points)
        results = {str(n): compare(Path(folder), n, args) for n in args.workers}
    write_json(
        args.out,
        {
            "benchmark": "loading",
            "points": args.points,
            "unit": "scenes a second, median",
            "workers": results,
            "machine": machine_facts(),
            "versions": versions(),
        },
    )


def compare(folder: Path, workers: int, args: argparse.Namespace) -> dict[str, float]:
    rates: dict[str, list[float]] = {"ours": [], "common": []}
    for _ in range(args.rounds):
        rates["ours"].append(rate(ours(folder, workers, args.epochs)))
        rates["common"].append(rate(common(folder, workers, args.epochs)))
    row = {name: statistics.median(values) for name, values in rates.items()}
    pairs = zip(rates["ours"], rates["common"], strict=True)
    row["ratio"] = statistics.median(a / b for a, b in pairs)
    print(f"{workers} workers:", {name: round(value, 1) for name, value in row.items()}, flush=True)
    return row


def rate(batches: Iterator[Any]) -> float:
    """Scenes per second from the first batch on, which excludes the start of processes."""
    next(batches)
    started = time.perf_counter()
    count = sum(len(batch) for batch in batches)
    return count / (time.perf_counter() - started)


def ours(folder: Path, workers: int, epochs: int) -> Iterator[list[Scene]]:
    scenes = TrainingScenes(PreparedDataset(folder / "prepared", "train"), CONFIG, seed=0)
    return load_batches(scenes, epoch_batches(len(scenes.scenes), epochs, BATCH, 0, 0), workers)


def common(folder: Path, workers: int, epochs: int) -> Iterator[list[Any]]:
    scenes = CommonScenes(folder / "bins")
    batches = epoch_batches(len(scenes.paths), epochs, BATCH, 0, 0)
    loader: DataLoader[Any] = DataLoader(
        scenes,
        batch_sampler=[[index for _, _, index in batch] for batch in batches],
        collate_fn=list,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
    )
    return iter(loader)


@dataclass
class CommonScenes(TorchDataset[Any]):
    """The transforms of a ScanNet training, one NumPy function after the other."""

    folder: Path

    def __post_init__(self) -> None:
        self.paths = sorted(self.folder.glob("*.bin"))
        self.boxes = np.load(self.folder / "boxes.npy")
        self.matrix = np.eye(4)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = np.fromfile(self.paths[index], dtype=np.float32).reshape(-1, 6)
        boxes = self.boxes[index].copy()
        # global alignment
        points = rows.copy().astype(np.float64)
        points[:, :3] = points[:, :3] @ self.matrix[:3, :3].T + self.matrix[:3, 3]
        # sampling
        low, high = CONFIG.sample_fraction
        keep = int(len(points) * np.random.uniform(low, high))
        points = points[np.random.choice(len(points), keep, replace=False)]
        # flips
        for axis, chance in ((0, CONFIG.flip_x), (1, CONFIG.flip_y)):
            if np.random.rand() < chance:
                points = points.copy()
                points[:, axis] = -points[:, axis]
                boxes[:, axis] = -boxes[:, axis]
        # rotation: axis-aligned boxes become the boxes around their rotated corners
        angle = np.deg2rad(np.random.uniform(-CONFIG.rotation, CONFIG.rotation))
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        points = points.copy()
        points[:, :3] = points[:, :3] @ turn.T
        signs = np.stack(np.meshgrid(*[[-0.5, 0.5]] * 3), axis=-1).reshape(-1, 3)
        corners = (boxes[:, None, :3] + signs * boxes[:, None, 3:6]) @ turn.T
        spread = corners.max(1) - corners.min(1)
        boxes[:, :3], boxes[:, 3:6] = (corners.max(1) + corners.min(1)) / 2, spread
        # scale and translation
        factor = np.random.uniform(*CONFIG.scale)
        points = points.copy()
        points[:, :3] *= factor
        boxes[:, :6] *= factor
        offset = np.random.normal(scale=CONFIG.translation, size=3)
        points = points.copy()
        points[:, :3] += offset
        boxes[:, :3] += offset
        # colours
        points = points.copy()
        points[:, 3:] /= 255
        return torch.from_numpy(points.astype(np.float32)), torch.from_numpy(boxes)


def write_scenes(folder: Path, scenes: int, points: int) -> None:
    """Write the same clouds twice: prepared, and as .bin files with colours up to 255."""
    rng = np.random.default_rng(0)
    writer = PreparedWriter(folder / "prepared", "scannet", SCANNET.classes, False, "benchmark")
    (folder / "bins").mkdir()
    boxes = np.zeros((scenes, 13, 7), dtype=np.float32)
    for i in range(scenes):
        xyz = rng.uniform(0, (6, 5, 2.6), (points, 3)).astype(np.float32)
        rgb = rng.integers(0, 256, (points, 3)).astype(np.float32)
        boxes[i, :, :6] = rng.uniform(0.3, 2, (13, 6))
        writer.add(
            "train",
            Scene(
                f"scene{i:04d}_00",
                torch.from_numpy(xyz),
                torch.from_numpy(rgb / np.float32(255)),
                Boxes.from_array(boxes[i]),
                torch.zeros(13, dtype=torch.int64),
            ),
        )
        np.concatenate([xyz, rgb], axis=1).tofile(folder / "bins" / f"scene{i:04d}_00.bin")
    np.save(folder / "bins" / "boxes.npy", boxes)
    writer.finish()


if __name__ == "__main__":
    main()
