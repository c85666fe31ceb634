"""After any end, one plain rerun completes and nothing finished is lost.

These tests run a stand-in for `sr3d`. `test_same_bits.py` runs the command itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sr3d.runs.record import read_run
from tests.workflow.checkout import Checkout
from tests.workflow.test_run import CONFIG, ONE, TRAINING, hanging

STORE = "results/mlflow.db"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """One setting, trained twice and each training tested twice."""
    checkout = Checkout.make(tmp_path_factory.mktemp("recovery") / "checkout", ("sr3d",))
    complete(checkout, *CONFIG)
    return checkout


def complete(checkout: Checkout, *words: str) -> None:
    checkout.complete("--cores", "2", *words)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of a run's files."""
    names = ("run.json", "metrics.jsonl", "model.safetensors")
    return {n: ((folder / n).read_bytes(), (folder / n).stat().st_mtime_ns) for n in names}


def kill_snakemake_alone(process: subprocess.Popen[str]) -> None:
    """Its job lives on."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=30)


def test_a_training_that_outlives_snakemake_and_ends_first_is_kept(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path / "checkout", ("sr3d",))
    with hanging(checkout) as process:
        kill_snakemake_alone(process)
    (checkout.folder / "go").touch()
    training = checkout.folder / TRAINING
    wait_until((training / "done.json").exists)
    before = state(training)
    complete(checkout, *ONE)
    assert state(training) == before
    assert checkout.planned(*ONE) == {}


def test_a_training_that_outlives_snakemake_is_waited_for(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path / "checkout", ("sr3d",))
    training, log = checkout.folder / TRAINING, "results/logs/synthetic/sr3d/train0.log"
    with hanging(checkout) as process:
        orphan = (training / ".run.json.lock").read_text().strip()
        kill_snakemake_alone(process)
    call = checkout.command(*ONE)
    with subprocess.Popen(**call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as again:
        wait_until(lambda: orphan in _text(checkout.folder / log))
        assert not (training / "run.json").exists()
        (checkout.folder / "go").touch()
        told, _ = again.communicate(timeout=300)
    assert again.returncode == 0, told
    assert read_run(training).metrics == {"resumed_at": 0}  # the orphan's: nothing was repeated


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_run_that_no_longer_fits_is_set_aside_with_its_tests(
    finished: Checkout, tmp_path: Path
) -> None:
    checkout = finished.copy(tmp_path / "checkout")
    training = checkout.folder / TRAINING
    before, old = state(training), read_run(training)
    changed = (*CONFIG, "overrides=[train.epochs=6]")
    complete(checkout, *changed)
    assert read_run(training).config_digest != old.config_digest
    [aside] = (training.parent / "replaced").glob("train0.*")
    assert state(aside) == before
    assert (aside / "test0" / "run.json").exists()
    assert checkout.planned(*changed) == {}


def test_forced_runs_are_made_again_and_the_old_ones_kept(
    finished: Checkout, tmp_path: Path
) -> None:
    checkout = finished.copy(tmp_path / "checkout")
    training = checkout.folder / TRAINING
    before = state(training)
    complete(checkout, "--touch", "--forceall", *CONFIG)
    assert state(training) == before
    complete(checkout, "--forcerun", "train", *CONFIG)
    assert state(training) != before
    [aside] = (training.parent / "replaced").glob("train0.*")
    assert state(aside) == before


def test_a_marker_counts_only_with_its_results(finished: Checkout, tmp_path: Path) -> None:
    checkout = finished.copy(tmp_path / "checkout")
    (checkout.folder / TRAINING / "model.safetensors").write_text("cut")
    more = checkout.planned("--config", "trainings=2", "tests=3")
    assert (more["train"], more["test"]) == (1, 2)


@pytest.mark.parametrize("damage", ["lost", "older"])
def test_a_store_that_is_not_as_tracked_is_tracked_again(
    finished: Checkout, tmp_path: Path, damage: str
) -> None:
    checkout = finished.copy(tmp_path / "checkout")
    store = checkout.folder / STORE
    if damage == "lost":
        store.unlink()
    else:  # restored from a backup, with the date of today
        store.write_text("older")
    assert checkout.planned(*CONFIG) == {"track": 1}


def test_a_failed_track_job_leaves_the_store_and_is_repeated(
    finished: Checkout, tmp_path: Path
) -> None:
    checkout = finished.copy(tmp_path / "checkout")
    stub = checkout.sr3d.read_text()
    checkout.sr3d.write_text(f"#!/bin/sh\n[ $1 = track ] && echo half >> {STORE} && kill -9 $$\n")
    done = checkout.snakemake("--forcerun", "track", *CONFIG)
    assert done.returncode == 1
    assert (checkout.folder / STORE).read_text() == "tracked\nhalf\n"  # as the job left it
    checkout.sr3d.write_text(stub)
    assert checkout.planned(*CONFIG) == {"track": 1}


def test_data_dated_in_the_future_are_refused_before_anything_runs(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path / "checkout", ("sr3d",))
    complete(checkout, "data/synthetic/manifest.json", *ONE)
    manifest = checkout.folder / "data/synthetic/manifest.json"
    tomorrow = time.time() + 86_400
    os.utime(manifest, (tomorrow, tomorrow))
    done = checkout.snakemake(*ONE)
    assert done.returncode == 1
    [error] = [line for line in done.stdout.splitlines() if line.startswith("Error: ")]
    assert "touch data/synthetic/manifest.json" in error
    assert "workflow/clock.py" not in done.stdout  # the sentence alone, without our code
    assert {call[0] for call in checkout.calls()} == {"prepare"}


def test_a_finished_run_survives_a_wrong_clock(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path / "checkout", ("sr3d",))
    clock = checkout.folder / "workflow/clock.py"
    clock.write_text(clock.read_text().replace("TOLERANCE = 60.0", "TOLERANCE = 1e9"))
    complete(checkout, "data/synthetic/manifest.json", *ONE)
    manifest, training = (
        checkout.folder / "data/synthetic/manifest.json",
        checkout.folder / TRAINING,
    )
    tomorrow = time.time() + 86_400
    os.utime(manifest, (tomorrow, tomorrow))
    done = checkout.snakemake(*ONE)
    assert done.returncode == 1
    assert "clock" in done.stdout  # Snakemake's own words
    before = state(training)
    os.utime(manifest)
    complete(checkout, *ONE)
    assert state(training) == before


@pytest.mark.parametrize("profile", [(), ("--workflow-profile", "none")])
@pytest.mark.parametrize("damage", ["no folder", "another environment", "no script"])
def test_environment_files_do_not_rerun_what_is_finished(
    finished: Checkout, tmp_path: Path, damage: str, profile: tuple[str, ...]
) -> None:
    """With the profile of this folder and without any."""
    checkout = finished.copy(tmp_path / "checkout")
    envs = checkout.folder / "envs"
    match damage:
        case "no folder":
            envs.rename(checkout.folder / "elsewhere")
        case "another environment":
            (envs / "gpu.yaml").write_text("dependencies: [python=3.12]\n")
        case "no script":
            (envs / "gpu.post-deploy.sh").unlink()
    assert checkout.planned(*CONFIG, *profile) == {}
