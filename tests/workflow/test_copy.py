"""`sr3d workflow DIR`: somebody who installed the package alone gets a workflow that runs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from sr3d.cli import main
from tests.shared_data import ROOT


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_copy_is_the_workflow_and_snakemake_plans_it(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert main(["workflow", str(folder)]) == 0
    copied = files(folder)
    for name in ("workflow", "profiles", "envs"):
        expected = files(ROOT / name)
        assert {n: copied[f"{name}/{n}"] for n in expected} == expected
    assert yaml.safe_load(copied["config.yaml"])["tier"] == "demo"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine"]  # no temporary folder stays

    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules"],
        cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = files(folder).keys() - copied.keys()
    assert all(name.startswith(".snakemake/") for name in made)  # a dry run prepares nothing


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["workflow", str(tmp_path / "empty")]) == 0
    before = files(tmp_path)
    assert main(["workflow", str(tmp_path / "empty")]) == 2
    (tmp_path / "file").write_text("mine")
    assert main(["workflow", str(tmp_path / "file")]) == 2
    assert files(tmp_path) == {**before, "file": b"mine"}


@pytest.mark.slow
def test_the_wheel_holds_the_workflow(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(tmp_path), "."]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "Snakefile",
        "config.yaml",
        "workflow/tiers.yaml",
        "profiles/default/profile.yaml",
    ):
        assert f"sr3d/_workflow/{name}" in names
