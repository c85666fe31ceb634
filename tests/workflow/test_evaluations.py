"""The evaluation runs of a training run are one job, and yet are made and lost one by one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.workflow.checkout import Checkout

TWO = ("--config", "trainings=1", "tests=2")
THREE = ("--config", "trainings=1", "tests=3")
TRAINING = "results/synthetic/sr3d/train0"
LOG = "results/logs/synthetic/sr3d/train0_test.log"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """One training run, evaluated twice."""
    checkout = Checkout.make(tmp_path_factory.mktemp("evaluations") / "checkout", ("sr3d",))
    checkout.complete(*TWO)
    return checkout


def times(checkout: Checkout) -> dict[str, int]:
    """When each evaluation run was made."""
    records = (checkout.folder / TRAINING).glob("test*/run.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in records}


def changed(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {name for name, made in after.items() if before.get(name) != made}


def missing(plan: str) -> set[str]:
    """The evaluation runs that a dry run gives as the reason of its job."""
    [reason] = re.findall(r"^Job \d+: evaluate .*\nReason: (.*)$", plan, re.MULTILINE)
    return set(re.findall(r"(test\d+)/done\.json", reason))


def test_a_further_run_leaves_the_others(finished: Checkout, tmp_path: Path) -> None:
    checkout = finished.copy(tmp_path / "checkout")
    before = times(checkout)
    assert missing(checkout.complete("-n", *THREE)) == {"test2"}
    told = checkout.complete(*THREE)
    assert re.search(r"^\[sr3d\] .*: 0[^\d\n]+3[^\d\n]*$", told, re.MULTILINE)
    assert changed(before, times(checkout)) == {"test2"}
    assert checkout.planned(*THREE) == {}


def test_a_deleted_run_is_made_again_alone(finished: Checkout, tmp_path: Path) -> None:
    checkout = finished.copy(tmp_path / "checkout")
    before = times(checkout)
    shutil.rmtree(checkout.folder / TRAINING / "test1")
    assert checkout.planned(*TWO) == {}  # nothing needs it
    assert missing(checkout.complete("-n", "--forcerun", "summarise", *TWO)) == {"test1"}
    checkout.complete("--forcerun", "summarise", *TWO)
    assert changed(before, times(checkout)) == {"test1"}


def test_a_failed_run_names_itself_and_the_others_are_kept(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path / "checkout", ("sr3d",))
    done = checkout.snakemake("--retries", "2", *THREE, STUB_FAIL="train0/test1")
    assert done.returncode == 1
    assert f"{TRAINING}/test1" in done.stdout  # the end of the log
    assert LOG in done.stdout
    verbs = [call[0] for call in checkout.calls()]
    assert verbs == ["prepare", "train", "test", "test", "test"]
    before = times(checkout)
    assert before.keys() == {"test0", "test2"}
    checkout.complete(*THREE)
    assert changed(before, times(checkout)) == {"test1"}


def test_a_killed_job_loses_the_run_it_was_in(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path / "checkout", ("sr3d",))
    with checkout.hanging(*THREE, hang="train0/test1", until=f"{TRAINING}/test0/done.json"):
        pass
    before = times(checkout)
    assert before.keys() == {"test0"}
    checkout.complete(*THREE)
    assert changed(before, times(checkout)) == {"test1", "test2"}


@pytest.mark.parametrize(
    ("forced", "again"),
    [
        ("test", {"test0", "test1"}),
        (f"{TRAINING}/test1/done.json", {"test1"}),
    ],
)
def test_forcing_sets_aside_what_it_names(
    finished: Checkout, tmp_path: Path, forced: str, again: set[str]
) -> None:
    checkout = finished.copy(tmp_path / "checkout")
    before = times(checkout)
    checkout.complete("--forcerun", forced, *TWO)
    assert changed(before, times(checkout)) == again
    aside = (checkout.folder / TRAINING / "replaced").iterdir()
    assert {path.name.partition(".")[0] for path in aside} == again
