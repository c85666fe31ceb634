"""A configuration of one's own data: from the prepared folder into every verb that follows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sr3d
from sr3d.cli import main
from sr3d.config import Config, OwnData
from sr3d.data.datasets import DATASETS, dataset_of, get_dataset
from sr3d.data.own.preparation import LabelOptions, prepare_folder
from sr3d.detectors.configuration import config_from_dict, default_config, with_overrides
from sr3d.detectors.starting_config import own_data, starting_config
from sr3d.errors import InputError, Kind
from sr3d.runs.record import read_run
from sr3d.study.planning.experiment import read_experiment
from tests.data.own.making import write_folder
from tests.refusals import refused, refuses

OWN = OwnData(("chair", "table"), (0, 1), scenes=8)
SMALL = ("model=small", "train=small", "augment=small")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    prepare_folder(
        write_folder(folder / "raw"), folder / "data", label_options=LabelOptions(val=0.5)
    )
    return folder / "data"


# ---------------------------------------------------------------- the configuration


def test_the_configuration_says_what_the_data_set_is(data: Path) -> None:
    config = starting_config("own", data, "train")
    assert config.own == own_data(data, "train")
    assert (config.own.classes, config.own.levels) == (("chair", "table"), (0, 1))
    assert 0 < config.own.scenes < 4
    found = dataset_of(config_from_dict(json.loads(json.dumps(config.to_dict()))))
    assert (found.name, found.classes, found.levels) == ("own", ("chair", "table"), (0, 1))
    assert starting_config("scannet", Path("nowhere"), "train") == default_config("scannet")


def test_without_the_group_it_is_what_it_was(data: Path) -> None:
    value = default_config("synthetic").to_dict()
    del value["own"]  # as earlier versions wrote it
    assert config_from_dict(value) == default_config("synthetic")
    for dataset in DATASETS.values():
        assert dataset_of(default_config(dataset.name)) is dataset
    for find in (lambda: dataset_of(default_config("own")), lambda: get_dataset("own")):
        with pytest.raises(InputError) as error:
            find()
        assert error.value.kind in (Kind.EMPTY, Kind.MISSING)
        assert "own" in str(error.value)


def test_an_unknown_data_set_is_named_with_the_nearest() -> None:
    with refuses(Kind.UNKNOWN, field="dataset", mentions=["'scanet'", "'scannet'"]):
        get_dataset("scanet")
    with refuses(Kind.MISSING, field="dataset", mentions=["'own'"]):
        get_dataset("own")


@pytest.mark.parametrize(
    ("overrides", "kind", "field"),
    [
        (["own.classes=[a, a]", "own.levels=[0, 0]"], Kind.VALUE, "own.classes"),
        (["own.levels=[0]"], Kind.VALUE, "own.levels"),
        (["own.levels=[0, 2]"], Kind.VALUE, "own.levels[1]"),
        (["dataset=scannet"], Kind.CONFLICT, "dataset=scannet"),
    ],
)
def test_a_group_that_makes_no_sense_is_refused(
    overrides: list[str], kind: Kind, field: str
) -> None:
    with refuses(kind, field=field):
        with_overrides(default_config("own", OWN), overrides)


def test_the_classes_of_ones_own_data_belong_to_no_other_data_set() -> None:
    value = default_config("own", OWN).to_dict() | {"dataset": "scannet"}
    with refuses(mentions=["dataset=own"]):
        config_from_dict(value)


def test_few_scenes_are_gone_through_more_often(data: Path) -> None:
    papers = default_config("scannet")
    for scenes, repeat in ((0, 15), (1, 1500), (8, 188), (100, 15), (5000, 15)):
        config = default_config("own", OwnData(scenes=scenes))
        assert config.train.repeat == repeat
        assert with_overrides(config, ["train=tr3d"]).train.repeat == repeat
        assert config.model == papers.model
        assert config.augment == papers.augment
    for scenes, repeat in ((8, 20), (160, 1), (161, 1), (3, 54)):
        config = with_overrides(default_config("own", OwnData(scenes=scenes)), SMALL)
        assert config.train.repeat == repeat
        steps = config.train.epochs * scenes * repeat / config.train.batch_size
        assert steps >= 400


@pytest.mark.parametrize("dataset", DATASETS)
def test_small_is_what_procedural_rooms_use(dataset: str) -> None:
    found = with_overrides(default_config(dataset), SMALL)
    views = dataset in ("sunrgbd", "synthetic_rotated")
    rooms = default_config("synthetic_rotated" if views else "synthetic")
    assert (found.model, found.train, found.augment) == (rooms.model, rooms.train, rooms.augment)
    assert found.test == default_config(dataset).test
    rotated = with_overrides(default_config("own", OwnData(rotated=True)), SMALL)
    assert rotated.train == default_config("synthetic_rotated").train
    assert rotated.augment.flip_y == 0.5  # a whole room may be flipped


# ---------------------------------------------------------------- the verbs


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    folder = data.parent / "run"
    few = ["train.epochs=1", "train.repeat=1", "train.milestones=[]"]
    command = ["train", "--dataset", "own", "--data", str(data), "--out", str(folder)]
    assert main([*command, "--set", *SMALL, *few]) == 0
    return folder


def test_a_run_needs_nothing_but_itself(data: Path, run: Path, tmp_path: Path) -> None:
    record = read_run(run)
    assert record.dataset == "own"
    assert record.config["own"]["classes"] == ["chair", "table"]
    assert sr3d.load(str(run)).dataset.classes == ("chair", "table")
    test = tmp_path / "test0"
    assert main(["test", "--run", str(run), "--data", str(data), "--out", str(test)]) == 0
    assert set(read_run(test).metrics["per_class"]) == {"chair", "table"}
    scan = data.parent / "raw" / "scan0.ply"
    found = tmp_path / "found"
    options = ["--model", str(run), "--out", str(found), "--score-thr", "0"]
    assert main(["detect", str(scan), *options]) == 0
    content = json.loads((found / "scan0.ply.json").read_text())
    assert content["model"]["dataset"] == "own"
    assert {box["class"] for box in content["detections"]} <= {"chair", "table"}


def test_files_of_boxes_are_scored_with_a_folders_classes(
    data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = tmp_path / "test0"
    assert main(["test", "--run", str(run), "--data", str(data), "--out", str(test)]) == 0
    files = ["--ground-truth", str(data / "val.npz"), "--detections", str(test / "detections.npz")]
    assert main(["evaluate", *files, "--dataset", str(data), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["AP25"] == pytest.approx(read_run(test).metrics["AP25"])
    assert main(["evaluate", *files, "--dataset", "own"]) == 2
    assert "'own'" in capsys.readouterr().err


def test_data_of_another_kind_are_refused(data: Path, tmp_path: Path) -> None:
    rooms, out = tmp_path / "rooms", str(tmp_path / "run")
    sizes = ["--train", "1", "--val", "1", "--points", "1000"]
    assert main(["prepare", "synthetic", "--out", str(rooms), *sizes]) == 0
    error = refused(["train", "--dataset", "own", "--data", str(rooms), "--out", out])
    assert (error.kind, error.file) == (Kind.CONFLICT, rooms)
    assert "'synthetic'" in error.problem
    assert "--dataset synthetic" in str(error.remedy)
    error = refused(["train", "--dataset", "scannet", "--data", str(data), "--out", out])
    assert (error.kind, error.field, error.file) == (Kind.CONFLICT, "--data", data)
    assert all(name in error.problem for name in ("'own'", "'scannet'"))


def test_a_plan_takes_the_classes_from_the_prepared_folder(data: Path, tmp_path: Path) -> None:
    job = {"dataset": "own", "setting": "sr3d", "overrides": [*SMALL], "trainings": 1, "tests": 1}
    plan = {"folder": str(data), "split": "train", "test_split": "val"}
    content = {
        "device": "cpu", "slots": 1, "results": str(tmp_path),
        "data": {"own": {**plan, "scenes": {"train": 8, "val": 2}}}, "jobs": [job],
    }  # fmt: skip
    (tmp_path / "plan.json").write_text(json.dumps(content))
    experiment = read_experiment(tmp_path / "plan.json")
    config: Config = experiment.config(experiment.jobs[0])
    assert config.own.classes == ("chair", "table")
