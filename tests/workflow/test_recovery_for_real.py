"""Snakemake is killed while the real `sr3d` trains, and the same command is given again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sr3d.runs.record import read_run
from tests.workflow.test_same_bits import run, small

TARGET = "results/synthetic/sr3d/train0/test0/done.json"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("undisturbed"), 1, ("sr3d",)) / "sr3d" / "train0"


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
    training = checkout.folder / "results/synthetic/sr3d/train0"
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
            wait_for(log, process, f"process {job} ")
            os.kill(job, signal.SIGCONT)
        told, _ = process.communicate(timeout=600)
    assert process.returncode == 0, told
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (training / name).read_bytes() == (undisturbed / name).read_bytes()
    evaluations = (read_run(folder / "test0").metrics for folder in (training, undisturbed))
    assert next(evaluations) == next(evaluations)
    assert not list(training.parent.glob("replaced/*"))


def wait_for(path: Path, process: subprocess.Popen[str] | None = None, text: str = "") -> None:
    """Until the file is there, with the text in it. process: must not end before."""
    end = time.monotonic() + 600
    while not path.exists() or text not in path.read_text(errors="replace"):
        assert process is None or process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
