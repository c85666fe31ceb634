"""The real workflow, small: neither two jobs at a time nor a kill changes one bit of any result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from sr3d.runs.record import read_run
from tests.test_training import TINY
from tests.workflow.checkout import Checkout

SETTINGS = ("baseline", "sr3d")
TARGET = "results/synthetic/sr3d/train0/test0/done.json"


def small(folder: Path, settings: tuple[str, ...]) -> Checkout:
    """The workflow with the real command, one tiny training of each setting and one test."""
    checkout = Checkout.make(folder, settings)
    checkout.sr3d.unlink()  # no stand-in: the command itself
    tiers = checkout.read("workflow/tiers.yaml")
    tiers["demo"] |= {
        "trainings": 1,
        "tests": 1,
        "overrides": TINY,
        "synthetic": {"train": 4, "val": 2, "points": 4000, "seed": 0},
    }
    checkout.edit("workflow/tiers.yaml", tiers)
    return checkout


def run(folder: Path, cores: int) -> Path:
    checkout = small(folder, SETTINGS)
    targets = [f"results/synthetic/{name}/train0/test0/done.json" for name in SETTINGS]
    done = checkout.snakemake("--cores", str(cores), *targets)
    assert done.returncode == 0, done.stdout
    return folder / "results" / "synthetic"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results on one core."""
    return run(tmp_path_factory.mktemp("undisturbed") / "checkout", cores=1)


def test_one_core_or_two_give_the_same_bits(undisturbed: Path, tmp_path: Path) -> None:
    one, two = undisturbed, run(tmp_path / "two", cores=2)
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


@pytest.mark.parametrize(
    "orphan",
    [
        "is still training",
        pytest.param("ends first", marks=pytest.mark.slow),
        pytest.param("is killed too", marks=pytest.mark.slow),
    ],
)
def test_one_plain_rerun_gives_the_same_bits(
    tmp_path: Path, undisturbed: Path, orphan: str
) -> None:
    checkout = small(tmp_path / "checkout", ("sr3d",))
    training, expected = (checkout.folder / TARGET).parents[1], undisturbed / "sr3d" / "train0"
    first = checkout.command("--cores", "1", TARGET)
    with subprocess.Popen(**first, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        wait_for(training / "metrics.partial.jsonl", killed)
        os.kill(killed.pid, signal.SIGKILL)
        job = int((training / ".run.json.lock").read_text().split()[1])  # process 4711 on host
        os.kill(job, signal.SIGKILL if orphan == "is killed too" else signal.SIGSTOP)
    if orphan == "ends first":
        os.kill(job, signal.SIGCONT)
        wait_for(training / "done.json")
    again = checkout.command("--cores", "1", TARGET)
    with subprocess.Popen(**again, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        if orphan == "is still training":
            log = checkout.folder / "results/logs/synthetic/sr3d/train0.log"
            try:
                wait_for(log, process, f"process {job} ")
            finally:  # a process that stays stopped is waited for without end
                os.kill(job, signal.SIGCONT)
        told, _ = process.communicate(timeout=600)
    assert process.returncode == 0, told
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (training / name).read_bytes() == (expected / name).read_bytes()
    evaluations = (read_run(folder / "test0").metrics for folder in (training, expected))
    assert next(evaluations) == next(evaluations)
    assert not list(training.parent.glob("replaced/*"))


def wait_for(path: Path, process: subprocess.Popen[str] | None = None, text: str = "") -> None:
    """Until the file is there, with the text in it. process: must not end before."""
    end = time.monotonic() + 600
    while not _holds(path, text):
        assert process is None or process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)


def _holds(path: Path, text: str) -> bool:
    """Whether the file is there, with the text. Snakemake removes a log when its job starts."""
    try:
        return text in path.read_text(errors="replace")
    except FileNotFoundError:
        return False
