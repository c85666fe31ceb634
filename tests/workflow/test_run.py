"""The workflow run for real with a stand-in for `sr3d`: what is called, rerun, kept and told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from sr3d.runs.record import read_run
from tests.workflow.checkout import Checkout

CONFIG = ("--config", "trainings=2", "tests=2")
ONE = ("--config", "trainings=1", "tests=1")
TRAINING = "results/synthetic/sr3d/train0"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Two settings, each trained twice and each training tested twice."""
    folder = tmp_path_factory.mktemp("run") / "checkout"
    checkout = Checkout.make(folder, ("baseline", "sr3d"))
    done = checkout.snakemake("--cores", "2", *CONFIG)
    assert done.returncode == 0, done.stdout
    return checkout


def verbs(calls: list[list[str]]) -> Counter[str]:
    return Counter(call[0] for call in calls)


def test_a_training_run_and_its_evaluations_are_one_call_each(finished: Checkout) -> None:
    calls = [" ".join(call) for call in finished.calls()]
    expected = {"prepare": 1, "train": 4, "test": 4, "summarise": 2, "report": 1, "track": 1}
    assert verbs(finished.calls()) == expected
    train = "train --dataset synthetic --data data/synthetic --split train --setting"
    baseline, sr3d = "results/synthetic/baseline", "results/synthetic/sr3d"
    assert {
        f"{train} baseline --train 1 --seed 0 --out {baseline}/train1 --threads 1 --device cpu"
        " --set assigner.name=tr3d loss.cls=focal"
        f" --replace --wait --done {baseline}/train1/done.json",
        # A setting without overrides sets nothing.
        f"{train} sr3d --train 1 --seed 0 --out {sr3d}/train1 --threads 1 --device cpu"
        f" --replace --wait --done {sr3d}/train1/done.json",
        f"test --run {sr3d}/train1 --data data/synthetic --tests 2 --out {sr3d}/train1"
        " --split val --threads 1 --device cpu --replace --wait"
        f" --done {sr3d}/train1/test0/done.json {sr3d}/train1/test1/done.json",
        f"summarise {sr3d} --out {sr3d}/summary.json --trainings 2 --tests 2",
        "report --results results --tables workflow/tables.yaml --out results/report"
        " --table table2 --dataset synthetic --data synthetic=data/synthetic",
        "track --results results --store sqlite:///results/mlflow.db"
        " --tables workflow/tables.yaml --artifacts results/mlartifacts"
        " --wait --done results/mlflow.done.json",
    } <= set(calls)


def test_a_second_call_does_nothing(finished: Checkout) -> None:
    assert finished.planned(*CONFIG) == {}


def test_downloading_again_or_from_elsewhere_reruns_nothing(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path / "checkout", ("sr3d",))
    config = ("--config", "tier=full", "datasets=[scannet]", "trainings=1", "tests=1")
    done = checkout.snakemake("--cores", "2", *config)
    assert done.returncode == 0, done.stdout
    calls = verbs(checkout.calls())
    assert (calls["download"], calls["prepare"], calls["train"]) == (1, 1, 1)
    assert checkout.planned(*config) == {}

    marker = checkout.folder / "data" / "scannet.raw.json"
    os.utime(marker, (time.time() + 60, time.time() + 60))
    assert checkout.planned(*config) == {}
    moved = checkout.read("config.yaml")
    moved["raw"]["scannet"] = "elsewhere"
    moved["download"]["scannet"] |= {"url": "http://elsewhere", "accept_terms": True}
    checkout.edit("config.yaml", moved)
    assert checkout.planned(*config) == {}
    marker.unlink()
    assert set(checkout.planned(*config)) <= {"download_scannet"}


def test_a_setting_of_ones_own_runs_alone_and_again_when_it_changes(
    finished: Checkout, tmp_path: Path
) -> None:
    checkout = finished.copy(tmp_path / "checkout")
    paper = checkout.read("workflow/tables.yaml")
    paper["tables"]["table2"]["rows"].append({"label": "mine", "setting": "mine"})
    checkout.edit("workflow/tables.yaml", paper)
    settings = {"mine": {"label": "mine", "overrides": ["assigner.k=3"]}}
    checkout.edit("mine.yaml", settings)
    expected = {"train": 2, "test": 2, "summarise": 1, "report": 1, "track": 1}
    config = (*CONFIG, "settings=[baseline, sr3d, mine]", "settings_file=mine.yaml")

    def run(override: str) -> None:
        before = len(checkout.calls())
        done = checkout.snakemake("--cores", "2", *config)
        assert done.returncode == 0, done.stdout
        assert re.search(r"^\[sr3d\] .*: 2[^\d\n]+4[^\d\n]*$", done.stdout, re.MULTILINE)
        calls = checkout.calls()[before:]
        assert verbs(calls) == expected
        for call in calls:
            if call[0] == "train":
                assert call[call.index("--setting") + 1] == "mine"
                assert " --settings mine.yaml --set " + override in " ".join(call)

    run("assigner.k=3")
    settings["mine"]["label"] = "my own"
    settings["other"] = {"label": "trained by no table", "overrides": ["assigner.k=9"]}
    checkout.edit("mine.yaml", settings)
    assert checkout.planned(*config) == {}
    settings["mine"]["overrides"] = ["assigner.k=2"]
    checkout.edit("mine.yaml", settings)
    run("assigner.k=2")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # More trainings of each setting, and the evaluations of each.
        (("trainings=3",), {"train": 2, "test": 2, "summarise": 2}),
        (("trainings=10",), {"train": 16, "test": 16, "summarise": 2}),
        (("tests=3",), {"test": 4, "summarise": 2}),
        (("tests=1",), {"summarise": 2}),
        # Another table that shares sr3d: its own two settings only.
        (
            ("tables=[table2, table5]", "settings=[baseline, sr3d, qfl, vfl]"),
            {"train": 4, "test": 4, "summarise": 2},
        ),
        (("overrides=[train.epochs=6]",), {"train": 4, "test": 4, "summarise": 2}),
        (("test_split=train",), {"test": 4, "summarise": 2}),
        (("device=cuda", "raw={scannet: elsewhere}"), {}),
    ],
)
def test_other_changes_rerun_what_they_touch(
    finished: Checkout, config: tuple[str, ...], expected: dict[str, int]
) -> None:
    always = {"report": 1, "track": 1} if expected else {}
    assert finished.planned(*CONFIG, *config) == expected | always


def test_jobs_run_the_sr3d_of_the_interpreter_of_snakemake(
    finished: Checkout, tmp_path: Path
) -> None:
    checkout = finished.copy(tmp_path / "checkout")
    other = tmp_path / "bin" / "sr3d"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    before, path = len(checkout.calls()), f"{other.parent}{os.pathsep}{os.environ['PATH']}"
    done = checkout.snakemake("--forcerun", "report", *CONFIG, PATH=path)
    assert done.returncode == 0, done.stdout
    assert [call[0] for call in checkout.calls()[before:]] == ["report"]


def test_the_store_is_kept_while_it_is_updated(finished: Checkout, tmp_path: Path) -> None:
    checkout = finished.copy(tmp_path / "checkout")
    # A stand-in that only appends shows whether Snakemake took the old store away.
    checkout.sr3d.write_text(
        "#!/bin/sh\necho more >> results/mlflow.db\ntouch results/mlflow.done.json\n"
    )
    done = checkout.snakemake("--forcerun", "track", *CONFIG)
    assert done.returncode == 0, done.stdout
    assert (checkout.folder / "results" / "mlflow.db").read_text() == "tracked\nmore\n"


def test_a_failed_training_names_its_log_and_resumes(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path / "checkout", ("sr3d",))
    training = checkout.folder / TRAINING
    quiet = ("--quiet", "rules", "host", "reason")
    done = checkout.snakemake(*quiet, *ONE, STUB_FAIL="sr3d/train0")
    assert done.returncode == 1
    told = [line for line in done.stdout.splitlines() if line.startswith("[sr3d] ")]
    assert any("results/logs/synthetic/sr3d/train0.log" in line for line in told)
    assert "the stub fails on purpose" in done.stdout  # the log's last line
    assert (training / "last.ckpt").exists()
    assert (training / "metrics.partial.jsonl").exists()
    assert not (training / "run.json").exists()

    done = checkout.snakemake(*ONE)
    assert done.returncode == 0, done.stdout
    assert read_run(training).metrics == {"resumed_at": 5}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_resumes_by_the_same_command(
    tmp_path: Path, how: signal.Signals
) -> None:
    checkout = Checkout.make(tmp_path / "checkout", ("sr3d",))
    with hanging(checkout) as process:
        again = checkout.snakemake(*ONE)
        assert again.returncode == 1
        assert f"(process {process.pid} on " in again.stdout
        os.killpg(process.pid, how)
        assert process.wait(timeout=120) != 0

    done = checkout.snakemake(*ONE)
    assert done.returncode == 0, done.stdout
    assert read_run(checkout.folder / TRAINING).metrics == {"resumed_at": 5}


def test_a_run_ends_with_where_its_results_are(finished: Checkout, tmp_path: Path) -> None:
    checkout = finished.copy(tmp_path / "checkout")
    done = checkout.snakemake("--forcerun", "report", *CONFIG)
    assert "results/report/index.html" in done.stdout
    assert "mlflow ui --backend-store-uri sqlite:///results/mlflow.db" in done.stdout


def test_the_report_shows_the_table(finished: Checkout, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    done = finished.snakemake("--report", str(report), *CONFIG)
    assert done.returncode == 0, done.stdout
    assert "table2_synthetic.csv" in report.read_text()


def hanging(checkout: Checkout) -> AbstractContextManager[subprocess.Popen[str]]:
    """A call of snakemake whose training stands still."""
    return checkout.hanging(*ONE, hang="sr3d/train0", until=f"{TRAINING}/last.ckpt")
