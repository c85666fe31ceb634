"""A family on points that has nothing in common with the others, through the verbs of the command.

It has an entry in `FAMILIES` and its own file, `toy_points.py`. Nothing else knows it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import sr3d
from sr3d.cli import main
from sr3d.data.prepared import PreparedDataset
from sr3d.data.rooms.generate import generate_room
from sr3d.detectors import FAMILIES
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.errors import InputError, Kind
from sr3d.runs.record import read_run
from sr3d.study.benchmarking import benchmark, subject
from tests.data.older_formats import as_version_2
from tests.detectors import toy_points
from tests.planning.making import content, job, write
from tests.refusals import refused

TOY = ["model=toy_points", "train.epochs=1", "train.milestones=[]", "train.batch_size=2"]
ROOM = generate_room(0, points=2000)


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, toy_points.NAME, toy_points.FAMILY)
    # A measuring process starts anew and would not know the family.
    monkeypatch.setattr(benchmark, "in_fresh_process", lambda run, *a, **more: run(*a, **more))


def test_it_has_only_its_own_groups_and_the_common_ones() -> None:
    start = default_config("scannet")
    found = with_overrides(start, ["test.score_thr=0.2", "model=toy_points", "terms.offset=2"])
    assert isinstance(found, toy_points.ToyConfig)
    assert found.terms.offset == 2
    assert found.test.score_thr == 0.2  # a value of a common group that was given is kept
    assert not {"assigner", "loss"} & found.to_dict().keys()
    for beside in (["loss.tau=0.2"], ["assigner.k=7"]):  # is not dropped silently
        with pytest.raises(InputError) as error:
            with_overrides(start, [*beside, "model=toy_points"])
        assert (error.value.field, error.value.kind) == ("model=toy_points", Kind.CONFLICT)
    assert with_overrides(found, ["model=tr3d"]) == start


def test_it_is_trained_tested_loaded_and_measured(
    rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, test = tmp_path / "run", tmp_path / "test"
    command = ["train", "--dataset", "synthetic", "--data", str(rooms), "--out", str(run)]
    assert main([*command, "--set", *TOY, "train.repeat=1"]) == 0
    record = read_run(run)
    sizes = [list(size) for size in PreparedDataset(rooms, "train").mean_sizes()]
    assert record.config["mean_sizes"] == sizes
    assert record.data["instances"] is True
    assert list(record.metrics["epochs"]) == ["loss"]  # it logs no AIC
    assert main(["test", "--run", str(run), "--data", str(rooms), "--out", str(test)]) == 0
    assert 0 <= read_run(test).metrics["AP25"] <= 100
    found = sr3d.load(run).detect(ROOM.points, ROOM.colors)
    assert found.boxes.shape == (64, 7)
    assert torch.equal(sr3d.load(run).detect(ROOM.points, ROOM.colors).boxes, found.boxes)
    assert main(["benchmark", "--run", str(run), "--scenes", "1", "--repeats", "1"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("source", ["rooms", "data"])
def test_it_is_benchmarked_before_it_is_trained(
    source: str,
    rooms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(subject, "_POINTS_OF_A_ROOM", 2000)
    data = ["--data", str(rooms)] if source == "data" else ["--dataset", "synthetic"]
    command = ["benchmark", *data, "--scenes", "1", "--repeats", "1", "--train", "--batch", "1"]
    out = tmp_path / "b.json"
    assert main([*command, "--points", "1000", "--json", str(out), "--set", *TOY]) == 0
    capsys.readouterr()
    found = json.loads(out.read_text())
    assert len(found["config"]["mean_sizes"]) == 13
    assert set(found["detection"]["stages"]) == {"inputs", "head", "selection"}
    assert "roofline" not in found["detection"]  # it has no sparse convolutions
    assert found["training"]["step_ms"]["n"] == 1


@pytest.mark.parametrize("prepared", [True, False])
def test_it_is_planned(
    prepared: bool, rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value: Any = content(job("mine", overrides=TOY), results=str(tmp_path))
    if prepared:
        value["data"]["synthetic"]["folder"] = str(rooms)
    experiment = str(write(tmp_path, value))
    assert main(["plan", experiment, "--json", "--seconds", "0.01"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert main(["plan", experiment, "--json", "--assume", "iteration=1,scene=1"]) == 0
    assumed = json.loads(capsys.readouterr().out)
    (line,), (other,) = measured["lines"], assumed["lines"]
    assert line["iterations"] == other["iterations"] == (3 if prepared else 5)
    assert measured["disk"] == assumed["disk"]  # which does not know the mean sizes


def test_a_plan_on_data_without_instances_is_refused_as_training_is(
    rooms: Path, tmp_path: Path
) -> None:
    value: Any = content(job("mine", overrides=TOY), results=str(tmp_path))
    value["data"]["synthetic"]["folder"] = str(as_version_2(rooms, tmp_path / "old"))
    error = refused(["plan", str(write(tmp_path, value)), "--json", "--seconds", "0.01"])
    assert (error.kind, error.field) == (Kind.MISSING, "model.name")
