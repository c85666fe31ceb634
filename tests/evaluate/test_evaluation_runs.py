"""`sr3d test --tests N`: evaluation runs that share a process, and nothing that a seed decides."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from sr3d.cli import main
from sr3d.data.prepared import PreparedDataset, reading
from sr3d.detectors import FAMILIES, build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.needs import with_needs
from sr3d.errors import InputError, Kind
from sr3d.evaluate import loop
from sr3d.runs.files import exclusive
from sr3d.runs.machine import reset_peak_memory
from sr3d.runs.markers import marker_holds
from sr3d.runs.pretrained import PRETRAINED
from sr3d.runs.record import read_run
from tests.evaluating import evaluate
from tests.refusals import refused

TRAINED = PRETRAINED / "sr3d_rooms"
RUNS = ("test0", "test1", "test2")


def command(rooms: Path, out: Path, tests: int = 3, run: Path = TRAINED) -> list[str]:
    """As the workflow calls it."""
    markers = [str(out / f"test{j}" / "done.json") for j in range(tests)]
    words = ["test", "--run", str(run), "--data", str(rooms), "--tests", str(tests)]
    return [*words, "--out", str(out), "--done", *markers]


def times(out: Path) -> dict[str, int]:
    """When each run was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("test*/run.json")}


def at_run(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], Any]) -> None:
    """Act when the run of that name begins to detect."""
    detect = loop.detect_scenes

    def acting(model: Any, scenes: Any, seed: int, label: str) -> Any:
        if label.endswith(name):
            act()
        return detect(model, scenes, seed, label)

    monkeypatch.setattr(loop, "detect_scenes", acting)


@pytest.fixture(scope="module")
def alone(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each run by a call of its own."""
    out = tmp_path_factory.mktemp("alone")
    for index, name in enumerate(RUNS):
        evaluate(TRAINED, rooms, out / name, index)
    return out


@pytest.fixture(scope="module")
def shared(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same runs by one call."""
    out = tmp_path_factory.mktemp("shared")
    assert main(command(rooms, out)) == 0
    return out


def test_shared_runs_equal_single_ones_bitwise(alone: Path, shared: Path) -> None:
    varying = {"started", "finished", "wall_seconds", "peak_memory_mb", "timings"}
    for name in RUNS:
        left, right = (read_run(folder / name) for folder in (alone, shared))
        for field in left.__dataclass_fields__.keys() - varying:
            assert getattr(left, field) == getattr(right, field), field
        assert left.started <= left.finished
        assert right.timings.keys() == left.timings.keys()
        assert right.timings["latency_ms"] > 0
        detections = [(folder / name / "detections.npz").read_bytes() for folder in (alone, shared)]
        assert detections[0] == detections[1]
    assert len({read_run(shared / name).files["detections.npz"] for name in RUNS}) == len(RUNS)
    assert all(marker_holds(shared / name / "done.json") for name in RUNS)


def test_weights_and_data_are_read_once(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = mock.Mock(wraps=loop.build_detector)
    verify = mock.Mock(wraps=reading.verify_file)
    monkeypatch.setattr(loop, "build_detector", build)
    monkeypatch.setattr(reading, "verify_file", verify)
    assert main(command(rooms, tmp_path)) == 0
    assert build.call_count == 1
    assert verify.call_count == 1 + len(PreparedDataset(rooms, "val"))  # boxes, then each scene


def test_only_missing_runs_are_made(shared: Path, rooms: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(shared, out)
    before = times(out)
    assert main(command(rooms, out, tests=4)) == 0  # another run
    after = times(out)
    assert after.keys() - before.keys() == {"test3"}
    assert before.items() <= after.items()
    shutil.rmtree(out / "test1")  # a deleted run
    (out / "test2" / "done.json").unlink()  # a run that has only lost its marker
    assert main(command(rooms, out, tests=4)) == 0
    assert {name for name, time in times(out).items() if time != after[name]} == {"test1"}
    assert marker_holds(out / "test2" / "done.json")
    assert read_run(out / "test1").metrics == read_run(shared / "test1").metrics


def test_a_killed_process_loses_only_the_run_it_was_in(
    alone: Path, rooms: Path, tmp_path: Path
) -> None:
    program = (
        "import os, signal, sys\n"
        "from sr3d.cli import main\n"
        "from sr3d.evaluate import loop\n"
        "detect = loop.detect_scenes\n"
        "def until_test1(model, scenes, seed, label):\n"
        "    if label.endswith('test1'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return detect(model, scenes, seed, label)\n"
        "loop.detect_scenes = until_test1\n"
        "main(sys.argv[1:])\n"
    )
    words = command(rooms, tmp_path)
    done = subprocess.run([sys.executable, "-c", program, *words], check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL
    before = times(tmp_path)
    assert before.keys() == {"test0"}
    assert marker_holds(tmp_path / "test0" / "done.json")
    assert main(words) == 0
    assert times(tmp_path)["test0"] == before["test0"]
    for name in RUNS:
        assert read_run(tmp_path / name).files == read_run(alone / name).files


def test_a_bug_in_a_run_has_its_traceback_and_the_others_survive(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise RuntimeError("an error of the code")

    with monkeypatch.context() as patch:
        at_run(patch, "test1", fail)
        with pytest.raises(RuntimeError) as caught:  # exit code 1, as with --test
            main(command(rooms, tmp_path))
    assert not isinstance(caught.value, InputError)
    assert all(name in str(caught.value) for name in ("1 of 3", "test1"))
    log = capsys.readouterr().err
    assert "RuntimeError: an error of the code" in log
    assert "in fail" in log
    assert f"{tmp_path / 'test1'} failed" in log
    made = times(tmp_path)
    assert made.keys() == {"test0", "test2"}
    assert not (tmp_path / "test1" / "done.json").exists()
    assert main(command(rooms, tmp_path)) == 0
    assert made.items() <= times(tmp_path).items()


def test_an_error_of_the_disk_has_a_traceback_only_with_debug(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "a broken disk", "some_file")

    at_run(monkeypatch, "test1", fail)
    assert main(command(rooms, tmp_path)) == 2
    log = capsys.readouterr().err
    assert "some_file: a broken disk" in log
    assert "Traceback" not in log
    assert all(name in log.splitlines()[-1] for name in ("1 of 3", "test1"))
    assert times(tmp_path).keys() == {"test0", "test2"}
    error = refused(command(rooms, tmp_path))  # with --debug
    assert (error.file, error.kind) == (tmp_path, Kind.MISSING)
    assert "in fail" in capsys.readouterr().err


def test_a_failed_run_frees_its_memory_before_the_next(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Activations:
        """In the place of tensors on a GPU."""

    kept: list[weakref.ref[Activations]] = []
    alive: list[bool] = []

    def fail() -> None:
        activations = Activations()
        kept.append(weakref.ref(activations))
        raise MemoryError

    def look() -> None:
        alive.extend(reference() is not None for reference in kept)

    at_run(monkeypatch, "test0", fail)
    at_run(monkeypatch, "test1", look)
    with pytest.raises(RuntimeError):
        main(command(rooms, tmp_path))
    assert alive == [False]


def test_another_run_in_a_folder_fails_alone_or_is_replaced(
    shared: Path, rooms: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(shared / "test0", out / "test1")  # of another index
    error = refused(command(rooms, out))
    assert (error.file, error.kind) == (out, Kind.MISSING)
    assert "test1" in error.problem
    assert read_run(out / "test1").test == 0
    assert [read_run(out / name).test for name in ("test0", "test2")] == [0, 2]
    assert main([*command(rooms, out), "--replace"]) == 0
    assert [read_run(out / name).test for name in RUNS] == [0, 1, 2]
    [aside] = (out / "replaced").iterdir()
    assert read_run(aside).test == 0


def test_the_peak_gpu_memory_of_each_run_is_its_own(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = [9]  # MiB, while the weights were loaded
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: max(used) * 2**20)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda *_: used.clear())
    reset_peak_memory(torch.device("cpu"))
    assert used == [9]  # without a call that would initialise CUDA
    gpu = torch.device("cuda")
    monkeypatch.setattr(loop, "reset_peak_memory", lambda _: reset_peak_memory(gpu))
    for name, mib in zip(RUNS, (5, 7, 3), strict=True):
        at_run(monkeypatch, name, partial(used.append, mib))
    assert main(command(rooms, tmp_path)) == 0
    assert [read_run(tmp_path / name).peak_memory_mb["gpu"] for name in RUNS] == [5, 7, 3]


def test_damaged_weights_are_refused_once(
    rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(TRAINED, run)
    (run / "model.safetensors").write_bytes(b"cut")
    (run / "done.json").write_text("{}")
    assert main(command(rooms, tmp_path / "out", run=run)) == 2
    assert capsys.readouterr().err.count("model.safetensors") == 1
    assert not (run / "done.json").exists()  # so a workflow trains again
    assert not times(tmp_path / "out")


def test_a_process_owns_all_its_runs(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second process waits for the end of the first, and never computes beside it."""
    last = tmp_path / "test2" / "run.json"
    held: list[Kind] = []

    def try_to_take_the_last() -> None:
        try:
            with exclusive(last):
                pass
        except InputError as error:
            held.append(error.kind)

    with exclusive(last):
        error = refused(command(rooms, tmp_path))
    assert (error.file, error.kind) == (last, Kind.CONFLICT)
    assert not times(tmp_path)  # not even the runs whose folders are free
    at_run(monkeypatch, "test0", try_to_take_the_last)
    assert main(command(rooms, tmp_path)) == 0
    assert held == [Kind.CONFLICT]


@pytest.mark.parametrize(
    ("words", "kind", "field"),
    [
        (["--tests", "3", "--done", "a", "b"], Kind.CONFLICT, "--done"),
        (["--test", "1", "--done", "a", "b"], Kind.CONFLICT, "--done"),
        (["--tests", "0"], Kind.VALUE, "--tests"),
        (["--tests", "2", "--test", "1"], Kind.VALUE, "--test"),
    ],
)
def test_contradicting_arguments_are_refused(
    words: list[str], kind: Kind, field: str, rooms: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    error = refused(
        ["test", "--run", str(TRAINED), "--data", str(rooms), "--out", str(out), *words]
    )
    assert (error.kind, error.field) == (kind, field)
    assert not out.exists()


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "tr3d"])
def test_no_detector_remembers_an_earlier_run(family: str, rooms: Path) -> None:
    scenes = PreparedDataset(rooms, "val")
    overrides = [f"model={family}", "test.score_thr=0"]
    if family == "cagroup3d":  # so that an untrained network has proposals
        overrides.append("model.proposal_thr=0")
    config = with_overrides(default_config("synthetic"), overrides)
    config = with_needs(config, FAMILIES[family], scenes)
    model = build_detector(config).eval()
    fresh = build_detector(config).eval()
    fresh.load_state_dict(model.state_dict())
    loop.detect_scenes(model, scenes, 1, "first run")
    found, _ = loop.detect_scenes(model, scenes, 2, "second run")
    expected, _ = loop.detect_scenes(fresh, scenes, 2, "second run alone")
    assert len(found) > 0
    assert found.score is not None
    assert expected.score is not None
    assert np.array_equal(found.box, expected.box)
    assert np.array_equal(found.score, expected.score)
