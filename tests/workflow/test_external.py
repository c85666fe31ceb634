"""Detectors of other frameworks in config.yaml: scored and summarised, never trained."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from tests.workflow.checkout import Checkout

ROW = {"label": "My detector", "dataset": "synthetic", "files": ["a.npz", "b.npz"]}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    made = Checkout.make(tmp_path_factory.mktemp("external") / "checkout", ("baseline", "sr3d"))
    for name in ROW["files"]:
        (made.folder / name).write_text(name)
    return made


def configure(checkout: Checkout, **changes: Any) -> None:
    config = checkout.read("config.yaml")
    checkout.edit("config.yaml", config | {"external": {"my_detector": ROW | changes}})


def test_files_are_scored_and_nothing_more_is_trained(checkout: Checkout) -> None:
    without = checkout.planned()
    configure(checkout)
    added = {"evaluate_external": 1, "summarise_external": 1}
    assert checkout.planned() == without | added


def test_a_row_by_itself_plans_no_training_and_follows_its_files(checkout: Checkout) -> None:
    configure(checkout, tests=2, latency_ms=40)
    summary = "results/synthetic/my_detector/summary.json"
    target = ("--", summary)
    assert checkout.planned(*target) == {
        "prepare_synthetic": 1, "evaluate_external": 1, "summarise_external": 1,
    }  # fmt: skip
    done = checkout.snakemake("--cores", "1", summary)
    assert done.returncode == 0, done.stdout
    calls = {call[0]: call for call in checkout.calls()}
    assert set(calls) == {"prepare", "evaluate", "summarise"}
    evaluate, summarise = " ".join(calls["evaluate"]), " ".join(calls["summarise"])
    assert "--detections a.npz b.npz --as my_detector --label My detector" in evaluate
    assert "--tests 2 --latency-ms 40" in evaluate
    assert "--trainings 1 --tests 2" in summarise
    assert checkout.planned(*target) == {}
    file = checkout.folder / "a.npz"
    file.write_text("other boxes")
    later = time.time() + 1
    os.utime(file, (later, later))
    assert checkout.planned(*target) == {"evaluate_external": 1, "summarise_external": 1}


@pytest.mark.parametrize(
    "changes",
    [{"tests": 3}, {"dataset": "scannet"}, {"files": ["a.npz", "a.npz"]}, {"epochs": 3}],
)
def test_wrong_rows_are_refused(checkout: Checkout, changes: dict[str, Any]) -> None:
    configure(checkout, **changes)
    done = checkout.snakemake("-n")
    assert done.returncode != 0
    assert "config.yaml" in done.stdout
    assert "my_detector" in done.stdout


def test_a_row_has_no_name_of_a_setting(checkout: Checkout) -> None:
    config = checkout.read("config.yaml")
    checkout.edit("config.yaml", config | {"external": {"sr3d": ROW}})
    done = checkout.snakemake("-n")
    assert done.returncode != 0
    assert "sr3d: is a setting" in done.stdout
