"""The cost of verifying files, as the ratio of the time with the check to the time without.

    python -m benchmarks.checksums --out FILE.json [--scenes 48] [--points 100000]

scene: the first use of a prepared scene by a training run (open, check, augment), and by an
evaluation that reads all points. Files are in the page cache, where the check weighs most. A
training run checks a scene once, not once per epoch. checkpoint: writing and reading a checkpoint
of the paper's network with AdamW's state. weights: reading its `model.safetensors` from the folder
of a run. run: a complete training and evaluation run on procedural rooms. Both sides of a pair run
in turn. Seconds are CPU time, so other programs hardly matter. hashes: milliseconds of other
digests over one scene's file.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.loading import CONFIG, write_scenes
from sr3d.data.loader import TrainingScenes
from sr3d.data.prepared import PreparedDataset, reading
from sr3d.data.rooms.generate import prepare_rooms
from sr3d.detectors import build_detector, weights
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.weights import read_checkpoint, write_model
from sr3d.evaluate import loop as evaluation
from sr3d.runs import record as records
from sr3d.runs.files import sha256, write_json
from sr3d.runs.folder import as_jobs_run
from sr3d.runs.machine import machine_facts, versions
from sr3d.train import checkpoint
from sr3d.train.checkpoint import TrainingState, read_state, write_state
from sr3d.train.loop import TrainingJob
from sr3d.train.schedule import build_optimizer
from sr3d.train.training import train

NO_HASH = hashlib.sha256(b"")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=48)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, as_jobs_run(threads=1):
        folder = Path(name)
        (folder / "scans").mkdir()
        write_scenes(folder / "scans", args.scenes, args.points)
        prepare_rooms(folder / "rooms", train=8, val=8, seed=0, points=20_000, workers=1)
        found = {
            **scenes(folder / "scans" / "prepared", args.rounds),
            **states(folder / "state", args.rounds),
            **runs(folder, args.rounds),
        }
        found["hashes"] = hashes(next((folder / "scans/prepared/points").iterdir()))
    found |= {"points": args.points, "machine": machine_facts(), "versions": versions()}
    write_json(args.out, {"benchmark": "checksums", **found})


def scenes(folder: Path, rounds: int) -> dict[str, Any]:
    def augmented() -> None:
        data = PreparedDataset(folder, "train")
        loaded = TrainingScenes(data, CONFIG, seed=0)
        for i in range(len(data)):
            loaded[0, i, i]

    def read() -> None:
        for scene in PreparedDataset(folder, "train"):
            scene.points.clone()

    return {
        "scene, augmented": compare(augmented, unchecked, rounds),
        "scene, read": compare(read, unchecked, rounds),
    }


def states(folder: Path, rounds: int) -> dict[str, Any]:
    """The paper's network on ScanNet, with the optimiser's state and the lines of 14,000 steps."""
    folder.mkdir()
    config = default_config("scannet")
    model = build_detector(config)
    optimizer = build_optimizer(model, config.train)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    line = '{"step": 1, "steps": 14638, "epoch": 0, "lr": 0.001, "loss": 1.234567, "aic": 0.5}\n'
    state = TrainingState({}, [], 1, 1.0, line * 14_000, model.state_dict(), optimizer.state_dict())
    write_model(folder / "model.safetensors", model, config, {})
    record = mock.Mock(kind="train", files={"model.safetensors": ""})
    record.files["model.safetensors"] = sha256(folder / "model.safetensors")
    return {
        "checkpoint, written": compare(lambda: write_state(folder, state), unhashed, rounds),
        "checkpoint, read": compare(lambda: read_state(folder), unhashed, rounds),
        "weights, read": compare(
            lambda: read_checkpoint(records.run_file(folder, record, "model.safetensors")),
            unhashed,
            rounds,
        ),
    }


def runs(folder: Path, rounds: int) -> dict[str, Any]:
    count = iter(range(10**6))
    config = with_overrides(default_config("synthetic"), ["train.epochs=1", "train.milestones=[]"])

    def training() -> None:
        out = folder / f"run{next(count)}"
        train(TrainingJob(config, [], folder / "rooms", out, "sr3d", 0))

    def testing() -> None:
        out = folder / f"test{next(count)}"
        evaluation.Evaluator(folder / "run0", folder / "rooms").evaluate(out, 0)

    return {
        "training of rooms": compare(training, unchecked, rounds),
        "evaluation of rooms": compare(testing, unchecked, rounds),
    }


class AnyDigest(str):
    """A string that equals every digest."""

    __slots__ = ()

    def __ne__(self, _: object) -> bool:
        return False


def plain_path(folder: Path, _: Any, name: str) -> Path:
    return folder / name


@contextmanager
def unchecked() -> Iterator[None]:
    """Read prepared files and files of runs without checking their checksums."""
    with (
        mock.patch.object(reading, "verify_file"),
        mock.patch.object(evaluation, "run_file", plain_path),
        unhashed(),
    ):
        yield


@contextmanager
def unhashed() -> Iterator[None]:
    """Write and read checkpoints and weights with a free digest."""
    with (
        mock.patch.object(checkpoint, "hashlib", mock.Mock(**{"sha256.return_value": NO_HASH})),
        mock.patch.object(weights, "_digest", return_value=AnyDigest()),
        mock.patch.object(records, "run_file", plain_path),
    ):
        yield


def compare(work: Callable[[], Any], without: Callable[[], Any], rounds: int) -> dict[str, float]:
    work()
    pairs = []
    for _ in range(rounds):
        with without():
            work()  # writes the files that are read next
            plain = seconds(work)
        work()
        pairs.append((seconds(work), plain))
    row = {
        "with": statistics.median(a for a, _ in pairs),
        "without": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(a / b for a, b in pairs),
    }
    row = {name: round(value, 4) for name, value in row.items()}
    print(row, flush=True)
    return row


def seconds(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def hashes(path: Path) -> dict[str, float]:
    """Milliseconds over one file, the best of twenty."""
    data = path.read_bytes()
    works: dict[str, Callable[[], Any]] = {
        "sha256": lambda: hashlib.sha256(data),
        "blake2b": lambda: hashlib.blake2b(data),
        "sha1": lambda: hashlib.sha1(data),
        "crc32": lambda: zlib.crc32(data),
        "opened and read": path.read_bytes,
    }
    return {
        name: round(1000 * min(seconds(work) for _ in range(20)), 3) for name, work in works.items()
    }


if __name__ == "__main__":
    main()
