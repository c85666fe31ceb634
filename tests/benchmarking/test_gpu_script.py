"""The GPU measurements without a GPU: a dry run of stage 1, and steps that fail, crash or hang."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Any

import psutil
import pytest
from packaging.requirements import Requirement

from benchmarks.gpu import correctness, details, speed
from benchmarks.gpu.plan import DRY, Plan, networks
from benchmarks.gpu.runner import Row, StageFiles, Step, run_stage
from sr3d.cli import build_parser
from sr3d.detectors import FAMILIES
from sr3d.detectors.configuration import default_config
from sr3d.run_setting import configure
from sr3d.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_dry_run_of_the_first_stage(tmp_path: Path) -> None:
    script = ["bash", str(ROOT / "benchmarks/gpu.sh"), "1", "--dry-run", "--minutes", "30"]
    where = {"OUT": str(tmp_path), "WHEELS": str(tmp_path / "none"), "PYTHON": sys.executable}
    done = subprocess.run(script, env=os.environ | where, capture_output=True, text=True)
    head, *rows = lines(tmp_path / "stage1.jsonl")
    outcomes = {row["step"]: row["outcome"] for row in rows if "outcome" in row}
    assert outcomes == {step.name: "done" for step in correctness.STEPS}, done.stdout
    assert done.returncode == 0
    assert (head["stage"], head["dry_run"]) == (1, True)
    results = [(row["step"], row["result"]) for row in rows if "result" in row]
    differences = next(r["differences"] for _, r in results if "differences" in r)
    assert 0 < differences["gradient"] < 1e-5  # Triton's interpreter, not the torch engine
    losses = {r["precision"]: r["loss"] for name, r in results if name == "training"}
    assert {*losses} == {"fp32", "bf16"}
    assert all(len(values) == 10 for values in losses.values())
    assert losses["bf16"] != losses["fp32"]
    assert [r["same"] for name, r in results if name == "graph"] == [1.0, 1.0]
    assert next(r for name, r in results if name == "kernels")["passed"] > 5


def fails(plan: Plan) -> Iterator[Row]:
    yield {"value": 1}
    raise ValueError("wrong by 7")


def crashes(plan: Plan) -> Iterator[Row]:
    yield {"value": 2}
    os.kill(os.getpid(), signal.SIGKILL)  # as a system without memory left does


def hangs(plan: Plan) -> Iterator[Row]:
    started = subprocess.Popen(["sleep", "60"])
    yield {"value": 3, "started": started.pid}
    time.sleep(60)


def works(plan: Plan) -> Iterator[Row]:
    yield {"value": 4}


def test_a_step_that_fails_crashes_or_hangs_costs_only_itself(tmp_path: Path) -> None:
    steps = [
        Step("fails", fails, limit=30),
        Step("crashes", crashes, limit=30),
        Step("hangs", hangs, limit=0.7),
        Step("works", works, limit=30),
    ]
    files = StageFiles.inside(tmp_path, 1)
    assert run_stage(steps, DRY, files, time.monotonic() + 60) == ["fails", "crashes", "hangs"]
    rows = lines(files.results)
    assert [row["result"]["value"] for row in rows if "result" in row] == [1, 2, 3, 4]
    ended = {row["step"]: row for row in rows if "outcome" in row}
    assert [row["outcome"] for row in ended.values()] == ["failed", "failed", "stopped", "done"]
    assert "wrong by 7" in ended["fails"]["error"]
    assert "0.7" in ended["hangs"]["error"]
    assert 0.7 <= ended["hangs"]["seconds"] < 30
    pid = next(row["result"]["started"] for row in rows if row.get("result", {}).get("started"))
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_stage_stops_at_its_time_limit_and_later_runs_append(tmp_path: Path) -> None:
    files = StageFiles.inside(tmp_path, 2)
    steps = [Step("hangs", hangs, limit=30), Step("works", works, limit=30)]
    assert run_stage(steps, DRY, files, time.monotonic() + 3.5) == ["hangs", "works"]
    outcomes = [row["outcome"] for row in lines(files.results) if "outcome" in row]
    assert outcomes == ["stopped", "left out"]
    before = files.results.read_text()
    run_stage(steps[1:], DRY, files, time.monotonic() + 30)
    assert files.results.read_text().startswith(before)


def every_step() -> list[Step]:
    return [*correctness.STEPS, *speed.steps(Plan()), *details.STEPS]


def test_names_differ_and_commands_and_tests_exist() -> None:
    names = [step.name for step in every_step()]
    assert len({*names}) == len(names)
    commands = [step.run for step in every_step() if isinstance(step.run, details.Command)]
    assert len(commands) > 4
    for command in commands:
        for plan in (Plan(), Plan(data=Path("data/scannet")), DRY):
            build_parser().parse_args(command.arguments(plan))
    suites = [step.run for step in every_step() if isinstance(step.run, correctness.Tests)]
    words = [word for suite in suites for word in (*suite.words, *suite.dry)]
    assert all((ROOT / word).exists() for word in words if word.startswith("tests/"))


def test_every_family_is_timed_once_for_each_of_its_networks() -> None:
    start, settings = default_config("scannet"), read_settings()
    found = [configure(settings, name, start).config.model for name in networks("scannet")]
    assert {model.name for model in found} == {*FAMILIES}
    assert len({*found}) == len(found)


def requirements(name: str) -> set[str]:
    """A distribution and all that it requires, without extras."""
    found, queue = set[str](), [name]
    while queue:
        here = queue.pop().lower().replace("_", "-")
        if here in found:
            continue
        found.add(here)
        try:
            required = [Requirement(one) for one in distribution(here).requires or []]
        except PackageNotFoundError:  # PyTorch's build for CPUs needs less than another
            continue
        queue += [r.name for r in required if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


_LOADS = """
import sys
from functools import partial
from benchmarks.gpu import correctness, details, speed
from benchmarks.gpu.plan import DRY, Plan
[*speed.latency(partial(Plan.detector, setting="votenet"), DRY)]
import sr3d.matching.hungarian, pytest, xdist, hypothesis
print(*sys.modules)
"""


def test_the_list_of_wheels_has_all_that_the_stages_load() -> None:
    listed = {
        re.split(r"[<>=#\s]", line)[0]
        for line in (ROOT / "benchmarks/gpu/wheels.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    done = subprocess.run(
        [sys.executable, "-c", _LOADS], capture_output=True, text=True, check=True, cwd=ROOT
    )
    tops = {name.split(".")[0] for name in done.stdout.split()} - {*sys.stdlib_module_names}
    owners = packages_distributions()
    loaded = {owner.lower().replace("_", "-") for top in tops for owner in owners.get(top, ())}
    carried = listed | requirements("torch") | {"triton", "sr3d"}
    carried.add("charset-normalizer")  # numpy.f2py imports it only if it is installed
    assert loaded - carried == set()
    needed = {name for one in listed & loaded for name in requirements(one)}
    assert needed - carried == set()


def test_a_scan_takes_the_place_of_rooms(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    file = tmp_path / "scan.npz"
    numpy.savez(file, points=numpy.arange(12.0).reshape(2, 6))
    assert Plan(scan=file).points().shape == (2, 6)
