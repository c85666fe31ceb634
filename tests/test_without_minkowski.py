"""What MinkowskiEngine trained is used where it is not installed."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import sr3d
from sr3d.cli import main
from sr3d.data.rooms.generate import generate_room, prepare_rooms
from sr3d.detectors.configuration import config_from_dict
from sr3d.detectors.weights import read_checkpoint, write_model
from sr3d.errors import Kind
from sr3d.runs.files import sha256
from sr3d.runs.pretrained import PRETRAINED
from sr3d.runs.record import MODEL_FILE, RUN_FILE, read_run, write_run
from sr3d.sparse import minkowski
from tests.refusals import refused

ROOMS = PRETRAINED / "sr3d_rooms"
NATIVE = ("--set", "model.engine=native")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training that says that MinkowskiEngine computed it."""
    monkeypatch.setattr(minkowski, "find_spec", lambda name: None)
    minkowski._library.cache_clear()
    record = read_run(ROOMS)
    record.config["model"]["engine"] = "minkowski"
    folder = tmp_path / "run"
    weights = folder / MODEL_FILE
    write_model(weights, sr3d.load("sr3d_rooms"), config_from_dict(record.config), {})
    files = {MODEL_FILE: sha256(weights)}
    write_run(folder, replace(record, engine="minkowski", files=files))
    config = read_checkpoint(folder / MODEL_FILE).config
    assert config is not None
    assert config.model.engine == read_run(folder).engine == "minkowski"
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    prepare_rooms(tmp_path / "rooms", train=1, val=1, seed=0, points=3000)
    return tmp_path / "rooms"


@pytest.mark.parametrize("file", ["", MODEL_FILE])
def test_loading_and_detecting_take_the_native_engine(run: Path, file: str, tmp_path: Path) -> None:
    room = generate_room(7, points=3000)
    expected = sr3d.load("sr3d_rooms").detect(room.points, room.colors)
    found = sr3d.load(run / file).detect(room.points, room.colors)
    assert len(found.boxes) > 5
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    out = tmp_path / "found"
    assert main(["detect", "--demo", "--model", str(run / file), "--out", str(out)]) == 0
    assert [*out.glob("*.json")]


def test_a_test_is_told_what_to_say_and_then_runs(run: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "test0"
    command = ["test", "--run", str(run), "--data", str(data), "--out", str(out)]
    error = refused(command)
    assert (error.field, error.kind) == ("model.engine=minkowski", Kind.MISSING)
    assert "--set model.engine=native" in str(error.remedy)
    assert not (out / RUN_FILE).exists()
    assert main([*command, *NATIVE]) == 0
    assert read_run(out).engine == "native"


@pytest.mark.skipif(
    find_spec("MinkowskiEngine") is not None,
    reason="it is installed, and what measures is a fresh process, from which nothing hides it",
)
def test_a_benchmark_is_told_what_to_say_and_then_runs(run: Path, data: Path) -> None:
    command = ["benchmark", "--run", str(run), "--data", str(data), "--scenes", "1"]
    error = refused([*command, "--repeats", "1"])
    assert (error.field, error.kind) == ("model.engine=minkowski", Kind.MISSING)
    assert "--set model.engine=native" in str(error.remedy)
    assert main([*command, "--repeats", "1", *NATIVE]) == 0
