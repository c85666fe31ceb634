"""The package on a Python without the modules that Windows lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import sr3d
from sr3d.cli.doctor import SUPPORT
from sr3d.errors import InputError, Kind
from sr3d.runs.folder import check_device
from tests.refusals import refused

ROOT = Path(__file__).parents[1]
WITHOUT_POSIX = """
import builtins, sys
found = builtins.__import__


def without_posix(name, scope=None, *rest, **named):
    # Other packages have branches for Windows, which they do not take here.
    importer = ((scope or {}).get("__name__") or "").partition(".")[0]
    if importer in ("sr3d", "workflow") and name in ("fcntl", "resource", "grp", "pwd", "termios"):
        raise ModuleNotFoundError(name)
    return found(name, scope, *rest, **named)


builtins.__import__ = without_posix
"""
EVERY_MODULE = """
import importlib, pkgutil, sr3d
optional = ("MinkowskiEngine", "mmdet3d", "mmengine", "mmcv", "onnx", "onnxscript", "onnxruntime",
    "triton")
for module in pkgutil.walk_packages(sr3d.__path__, "sr3d."):
    if module.name == "sr3d.__main__" or ".configs." in module.name:
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in optional:
            raise
import workflow.lock
"""
VERB = "from sr3d.cli import main; sys.exit(main(sys.argv[1:]))"


def run(program: str, *words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_POSIX + program, *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def test_every_module_imports() -> None:
    done = run(EVERY_MODULE)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [["--help"], ["doctor"], ["detect", "--demo"]])
def test_a_verb_works(words: list[str], tmp_path: Path) -> None:
    done = run(VERB, *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["files", "gpu_lease", "machine"])
def test_the_block_reaches_the_package(name: str) -> None:
    program = f"import sr3d.runs.{name} as m; exec('import fcntl', vars(m))"
    assert "ModuleNotFoundError: fcntl" in run(program).stderr


def test_the_page_states_what_the_doctor_prints() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert all(f"| {state} |" in page for state in SUPPORT.values())


def test_loading_onto_an_apple_gpu_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        sr3d.load("sr3d_rooms", device="mps")
    assert (caught.value.field, caught.value.kind) == ("device", Kind.VALUE)


def test_training_on_an_apple_gpu_is_refused(rooms: Path, tmp_path: Path) -> None:
    words = ["--dataset", "synthetic", "--data", str(rooms), "--out", str(tmp_path / "run")]
    error = refused(["train", *words, "--device", "mps"])
    assert (error.field, error.kind) == ("--device", Kind.VALUE)
    assert "cpu" in str(error)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("device", ["mps", "mps:0"])
def test_an_apple_gpu_is_refused_by_name(device: str) -> None:
    with pytest.raises(InputError) as caught:
        check_device(device)
    assert (caught.value.field, caught.value.kind) == ("device", Kind.VALUE)
    assert "cpu" in str(caught.value.remedy)
