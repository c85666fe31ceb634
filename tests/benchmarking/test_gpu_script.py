"""benchmarks/gpu.sh on a machine without a GPU: a stand-in for Python notes what would run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sr3d.cli import build_parser

ROOT = Path(__file__).resolve().parents[2]
_STAND_IN = """#!{python}
import json, os, sys, time
with open(os.environ["NOTES"], "a") as notes:
    print(json.dumps(sys.argv[1:]), file=notes)
sys.exit(3 if "doctor" in sys.argv else 0)
"""


def run(folder: Path, *options: str) -> tuple[list[list[str]], dict[str, str], int]:
    """Commands in their order, outcomes by step, and the exit code."""
    stand_in = folder / "bin" / "python"
    stand_in.parent.mkdir()
    stand_in.write_text(_STAND_IN.format(python=sys.executable))
    stand_in.chmod(0o755)
    notes = folder / "notes.jsonl"
    notes.touch()
    environment = os.environ | {
        "PATH": f"{stand_in.parent}:{os.environ['PATH']}",
        "NOTES": str(notes),
    }
    script = ["bash", str(ROOT / "benchmarks" / "gpu.sh"), str(folder / "out"), *options]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    steps = (folder / "out" / "steps.txt").read_text().splitlines()
    outcomes = {
        name: rest.split("s ", 1)[1].strip() for name, rest in (s.split(maxsplit=1) for s in steps)
    }
    return [json.loads(line) for line in notes.read_text().splitlines()], outcomes, done.returncode


@pytest.fixture(scope="module")
def everything(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[list[list[str]], dict[str, str], int]:
    return run(tmp_path_factory.mktemp("gpu"), "--minutes", "60", "--points", "scan.npz")


def test_every_command_of_the_script_exists(
    everything: tuple[list[list[str]], dict[str, str], int],
) -> None:
    commands, _, _ = everything
    assert len(commands) > 15
    for flag, module, *words in commands:
        assert flag == "-m"
        if module == "sr3d":
            build_parser().parse_args(words)
        elif module == "pytest":
            assert all((ROOT / word).exists() for word in words if word.startswith("tests/"))
        else:
            source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
            assert all(f'"{word}"' in source for word in words if word.startswith("--"))


def test_a_failed_step_is_told_and_the_others_go_on(
    everything: tuple[list[list[str]], dict[str, str], int],
) -> None:
    _, outcomes, code = everything
    assert code == 1
    assert outcomes.pop("doctor") == "failed"
    assert set(outcomes.values()) == {"done"}


def test_what_does_not_fit_is_left_out_and_what_is_right_comes_first(tmp_path: Path) -> None:
    commands, outcomes, _ = run(tmp_path, "--minutes", "2")
    names = list(outcomes)
    assert names[:5] == ["doctor", "kernels", "point_kernels", "graph", "bits"]
    assert outcomes["eager"] == "done"
    ran = [name for name, text in outcomes.items() if text in ("done", "failed")]
    assert "tune" not in ran
    assert "600" in outcomes["tune"]  # seconds that it may take, more than are left
    assert len(commands) == len(ran)
