"""The real workflow, small: the number of jobs at a time changes not one bit of any result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.test_training import TINY
from tests.workflow.checkout import Checkout

SETTINGS = ("baseline", "sr3d")


def small(folder: Path, settings: tuple[str, ...]) -> Checkout:
    """The workflow with the real command, one tiny training of each setting and one test."""
    checkout = Checkout.make(folder, settings)
    (folder / "bin" / "sr3d").unlink()  # no stand-in: the command itself
    tiers = checkout.read("workflow/tiers.yaml")
    tiers["demo"] |= {
        "trainings": 1,
        "tests": 1,
        "overrides": TINY,
        "synthetic": {"train": 4, "val": 2, "points": 4000, "seed": 0},
    }
    checkout.edit("workflow/tiers.yaml", tiers)
    return checkout


def run(folder: Path, cores: int, settings: tuple[str, ...] = SETTINGS) -> Path:
    checkout = small(folder, settings)
    targets = [f"results/synthetic/{name}/train0/test0/done.json" for name in settings]
    done = checkout.snakemake("--cores", str(cores), *targets)
    assert done.returncode == 0, done.stdout
    return folder / "results" / "synthetic"


def test_one_core_or_two_give_the_same_bits(tmp_path: Path) -> None:
    one, two = run(tmp_path / "one", cores=1), run(tmp_path / "two", cores=2)
    for setting in SETTINGS:
        for name in ("model.safetensors", "metrics.jsonl"):
            left, right = (r / setting / "train0" / name for r in (one, two))
            assert left.read_bytes() == right.read_bytes()
        left, right = (r / setting / "train0" / "test0" for r in (one, two))
        records = [json.loads((r / "run.json").read_text()) for r in (left, right)]
        assert records[0]["metrics"] == records[1]["metrics"]
        assert records[0]["data"]["digest"] == records[1]["data"]["digest"]
        a, b = np.load(left / "detections.npz"), np.load(right / "detections.npz")
        assert all(np.array_equal(a[key], b[key]) for key in a.files)
