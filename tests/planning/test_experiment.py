"""The experiment file is read completely, or refused with the name of the field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sr3d.errors import Kind
from sr3d.study.planning.experiment import read_experiment
from tests.planning.making import SMALL, content, experiment, job, only_tests, write
from tests.refusals import refuses


def test_a_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    found = experiment(
        tmp_path, job(done_trainings=1, done_tests=[3, 1]), only_tests(), slots=3, workers=4
    )
    assert (found.device, found.slots, found.threads, found.workers) == ("cpu", 3, 1, 4)
    data = found.data["synthetic"]
    assert (data.split, data.test_split, data.scenes) == ("train", "val", {"train": 10, "val": 4})
    trained, tested = found.jobs
    assert (trained.trainings_left, trained.tests_left) == (1, 2)
    assert [trained.tests_left_of(i) for i in range(2)] == [0, 2]
    assert (tested.tests_of, tested.trainings_left, tested.tests_left) == ("sr3d", 0, 6)
    assert found.trained_by(tested) is trained


def test_a_setting_that_only_tests_runs_on_the_network_of_the_other(tmp_path: Path) -> None:
    found = experiment(tmp_path, job(), only_tests())
    trained, tested = (found.config(each) for each in found.jobs)
    assert tested.model == trained.model
    assert (trained.test.nms, tested.test.nms) == ("bev", "3d")


def without(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key != name}


@pytest.mark.parametrize(
    ("value", "kind", "field", "mentions"),
    [
        (content(device="tpu"), Kind.UNKNOWN, "device", ["'tpu'", "'cpu'"]),
        (content(slots=0), Kind.VALUE, "slots", ["1", "'0'"]),
        (content(slot=2), Kind.UNKNOWN, "slot", ["'slots'"]),
        (without(content(), "results"), Kind.MISSING, "results", []),
        (content(data={"scanet": {}}), Kind.UNKNOWN, "data.scanet", ["'scannet'"]),
        (content(job(dataset="scannet")), Kind.UNKNOWN, "jobs[0].dataset", ["'scannet'"]),
        (content(job(trainings="five")), Kind.VALUE, "jobs[0].trainings", ["'five'"]),
        (content(job(done_trainings=3)), Kind.CONFLICT, "jobs[0].done_trainings", ["2", "'3'"]),
        (
            content(job(done_tests=[3, 4])),
            Kind.CONFLICT,
            "jobs[0].done_tests",
            ["3", "2", "[3, 4]"],
        ),
        (content(job(done_tests=[-1])), Kind.VALUE, "jobs[0].done_tests[0]", ["'-1'"]),
        (content(job(), job()), Kind.CONFLICT, "jobs[1].setting", ["synthetic", "'sr3d'"]),
        (content(only_tests()), Kind.CONFLICT, "jobs[0].tests_of", ["synthetic", "'sr3d'"]),
        (
            content(job(), only_tests(trainings=3)),
            Kind.CONFLICT,
            "jobs[1].trainings",
            ["2", "sr3d", "'3'"],
        ),
        (
            content(job(overrides=[*SMALL, "asigner.k=4"])),
            Kind.UNKNOWN,
            "jobs[0].overrides",
            ["'asigner.k'", "'assigner.k'"],
        ),
        ([], Kind.VALUE, None, ["'[]'"]),
    ],
)
def test_a_mistake_is_named(
    tmp_path: Path, value: Any, kind: Kind, field: str | None, mentions: list[str]
) -> None:
    path = write(tmp_path, value)
    with refuses(kind, file=path, mentions=mentions) as caught:
        read_experiment(path)
    assert caught.value.field == field


def test_a_split_must_have_a_size(tmp_path: Path) -> None:
    value = content()
    value["data"]["synthetic"]["test_split"] = "test"
    with refuses(mentions=["data.synthetic", "test_split"]):
        read_experiment(write(tmp_path, value))


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with refuses(mentions=["none.json"]):
        read_experiment(tmp_path / "none.json")
