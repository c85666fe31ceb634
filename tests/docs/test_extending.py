"""The pages on extending, done as they say: in a copy of the package, by their own commands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sr3d.data.datasets import SYNTHETIC
from sr3d.data.rooms.generate import generate_room
from sr3d.runs.record import read_metrics
from tests.docs.pages import DOCS, ROOT, Page, read_page

NAMES = ("assigner", "loss", "voxel_detector", "data_set")
PAGES = {name: read_page(DOCS / "extending" / f"{name}.md") for name in NAMES}
WALK = read_page(DOCS / "extending" / "detector.md")  # follows VoteNet's files and adds none
INTRODUCTION = read_page(DOCS / "extending.md")


def run(folder: Path, *command: str, text: str | None = None) -> str:
    """A command's output, where it goes well. The copy of the package hides the installed one."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, input=text, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def apply(page: Page, folder: Path) -> None:
    for name, content in page.files.items():
        assert not (folder / name).exists(), f"{name} is not new"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    for diff in page.diffs:
        run(folder, "git", "apply", text=diff)


def copy_of_the_package(folder: Path) -> Path:
    left_out = shutil.ignore_patterns("__pycache__", "pretrained")
    shutil.copytree(ROOT / "sr3d", folder / "sr3d", ignore=left_out)
    return folder


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with the four pages applied, after the commands of the introduction."""
    folder = copy_of_the_package(tmp_path_factory.mktemp("extended"))
    for page in PAGES.values():
        apply(page, folder)
    follow(INTRODUCTION, folder)
    return folder


def follow(page: Page, folder: Path) -> None:
    """Run its commands but for the tests, which run together, once."""
    python = f'"{sys.executable}"'
    lines = [line for block in page.commands for line in block.splitlines()]
    kept = [line for line in lines if not line.startswith("pytest ")]
    assert kept, "the page has no commands"
    head = f'sr3d() {{ {python} -m sr3d "$@"; }}; python() {{ {python} "$@"; }}; set -e'
    run(folder, "bash", "-c", "\n".join([head, *kept]))


@pytest.mark.parametrize("name", NAMES)
def test_a_page_applies_without_the_others(name: str, tmp_path: Path) -> None:
    apply(PAGES[name], copy_of_the_package(tmp_path))


def test_the_tests_of_the_pages_pass(extended: Path) -> None:
    named = [
        line.removeprefix("pytest ")
        for page in PAGES.values()
        for block in page.commands
        for line in block.splitlines()
        if line.startswith("pytest ")
    ]
    assert len(named) == len(NAMES)
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    assert "passed" in run(extended, sys.executable, "-m", "pytest", *options, *named)


def test_what_the_pages_add_keeps_the_house_style(extended: Path) -> None:
    ruff = [sys.executable, "-m", "ruff"]
    if subprocess.run([*ruff, "--version"], capture_output=True).returncode:
        pytest.skip("ruff is not installed: make lint")
    new = [name for page in PAGES.values() for name in page.files]
    changed = [
        line[6:]
        for page in PAGES.values()
        for diff in page.diffs
        for line in diff.splitlines()
        if line.startswith("+++ b/")
    ]
    config = ("--config", str(ROOT / "pyproject.toml"), "--no-cache")
    run(extended, *ruff, "check", *config, *new, *changed)
    run(extended, *ruff, "format", "--check", *config, *new)


@pytest.mark.parametrize(
    ("page", "group", "field", "value"),
    [
        ("assigner", "assigner", "name", "nearest"),
        ("loss", "loss", "cls", "poly"),
        ("voxel_detector", "model", "name", "one_level"),
    ],
)
def test_a_page_trains_what_it_adds(
    extended: Path, page: str, group: str, field: str, value: str
) -> None:
    follow(PAGES[page], extended)
    folder = extended / "runs" / value
    record = json.loads((folder / "run.json").read_text())
    assert record["config"][group][field] == value
    steps = read_metrics(folder / "metrics.jsonl")
    assert len(steps) == 3  # 6 rooms, two a step
    assert all(row["positives"] > 0 and np.isfinite(row["loss"]) for row in steps)


def test_the_commands_for_a_detector_on_points_work(extended: Path) -> None:
    assert (WALK.files, WALK.diffs) == ({}, [])
    follow(WALK, extended)
    record = json.loads((extended / "runs/votenet/run.json").read_text())
    assert record["config"]["model"]["name"] == "votenet"
    assert len(read_metrics(extended / "runs/votenet/metrics.jsonl")) > 0
    tested = json.loads((extended / "runs/votenet/test0/run.json").read_text())
    assert 0 <= tested["metrics"]["AP25"] <= 100


def test_the_new_data_set_is_read_trained_and_tested(extended: Path) -> None:
    follow(PAGES["data_set"], extended)
    manifest = json.loads((extended / "data/toy/manifest.json").read_text())
    assert (manifest["dataset"], len(manifest["splits"]["train"])) == ("toy", 4)
    rooms = [generate_room(seed, points=4000) for seed in range(4)]
    room = max(rooms, key=lambda room: int((room.labels == SYNTHETIC.classes.index("table")).sum()))
    points = np.load(extended / "data/toy/points" / f"{room.id}.npy")
    assert np.allclose(points[:, :3], room.points.numpy(), atol=1e-4)
    assert np.allclose(points[:, 3:], room.colors.numpy(), atol=1e-4)
    with np.load(extended / "data/toy/train.npz") as truth:
        boxes = truth["box"][truth["scene"] == room.id]
    assert len(boxes) > 0
    assert all(np.abs(room.boxes.tensor.numpy() - box).max(axis=1).min() < 1e-3 for box in boxes)
    trained = json.loads((extended / "runs/toy/run.json").read_text())
    assert (trained["dataset"], trained["data"]["scenes"]) == ("toy", 4)
    tested = json.loads((extended / "runs/toy/test0/run.json").read_text())
    assert 0 <= tested["metrics"]["AP25"] <= 100
