"""The source of each duration: finished runs, a measurement on this machine, or an assumption."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sr3d.data.datasets import SYNTHETIC
from sr3d.detectors import build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.errors import InputError, Kind
from sr3d.runs.files import read_json
from sr3d.runs.folder import as_jobs_run
from sr3d.settings import read_settings
from sr3d.study.planning import measuring, prices
from sr3d.study.planning.budget import Budget
from sr3d.study.planning.experiment import DataPlan, Experiment, read_experiment
from sr3d.study.planning.measuring import sample_scenes, split_sizes, time_test, time_training
from sr3d.study.planning.plan_text import WIDTH, describe, hours
from sr3d.study.planning.prices import Assumptions, parse_assumed, plan
from tests.make_runs import edit, make_tree
from tests.planning.making import SMALL, content, experiment, job, only_tests, run, write
from tests.refusals import refuses


def source(plan: Budget, what: str, setting: str = "sr3d") -> Any:
    (found,) = (s for s in plan.sources if s.what == what and setting in s.settings)
    return found


def numbers(text: str) -> list[int]:
    """The whole numbers in a sentence, in order."""
    return [int(found.replace(",", "")) for found in re.findall(r"\d[\d,]*", text)]


def on(data: Path, **changes: Any) -> dict[str, Any]:
    """The data of `content`, prepared in a folder."""
    return {"synthetic": content()["data"]["synthetic"] | {"folder": str(data)} | changes}


def no_measuring(*_: object) -> None:
    raise AssertionError("measured")


def test_measured_seconds_are_those_of_the_totals(tmp_path: Path, rooms: Path) -> None:
    found = plan(experiment(tmp_path, job(), only_tests(), data=on(rooms)), 0.01)
    iteration, scene = source(found, "iteration"), source(found, "scene")
    assert iteration.value > 0
    assert scene.value > 0
    # A step with a batch of one, times 4 for batches of 4, on all scenes of each split.
    assert numbers(iteration.source) == [1, 1, 4, 4, 6, 6]
    assert numbers(scene.source)[-2:] == [3, 3]
    start, line = found.start_seconds, found.lines[0]
    assert start > 0
    training = start + line.iterations * iteration.value
    assert line.hours_a_training * 3600 == pytest.approx(training)
    assert line.hours * 3600 == pytest.approx(2 * training + 2 * (start + 3 * 3 * scene.value))
    other = source(found, "scene", "nms_3d")  # another NMS, measured separately
    assert found.lines[1].hours * 3600 == pytest.approx(2 * (start + 3 * 3 * other.value))


def test_the_prepared_folder_knows_its_scenes_better_than_the_plan(rooms: Path) -> None:
    planned = DataPlan(Path("/nowhere"), "train", "val", {"train": 1201, "val": 312})
    assert split_sizes(planned) == (1201, 312)
    assert split_sizes(dataclasses.replace(planned, folder=rooms)) == (6, 3)
    with refuses(mentions=[str(rooms), "'test'"]):
        split_sizes(dataclasses.replace(planned, folder=rooms, test_split="test"))


def test_rooms_stand_in_for_scenes_that_are_not_prepared(tmp_path: Path) -> None:
    data = experiment(tmp_path).data["synthetic"]
    sample = sample_scenes(SYNTHETIC, data, "train")
    assert {len(scene) for scene in sample.scenes} == {2000}
    assert numbers(sample.what) == [len(sample.scenes), 2000]
    found = plan(experiment(tmp_path), 0.01)
    assert sample.what in source(found, "iteration").source


def test_settings_that_cost_the_same_are_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def count(config: Any, *_: object) -> measuring.Timing:
        measured.append(config.assigner.name)
        return measuring.Timing(len(measured), 1)

    monkeypatch.setattr(prices, "time_training", count)
    monkeypatch.setattr(prices, "time_test", lambda *_: measuring.Timing(1.0, 1))
    three = [job(), job("k4", overrides=[*SMALL, "assigner.k=4"])]
    three.append(job("baseline", overrides=[*SMALL, "assigner.name=tr3d"]))
    found = plan(experiment(tmp_path, *three), 1.0)
    assert measured == ["spota", "tr3d"]
    assert source(found, "iteration", "k4").settings == ("sr3d", "k4")


def test_a_batch_of_one_is_scaled_to_the_full_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_clock", lambda run, device: (run(), 1.0))
    config = with_overrides(default_config("synthetic"), SMALL)
    scenes = sample_scenes(SYNTHETIC, experiment(tmp_path).data["synthetic"], "train").scenes
    alone = time_training(config, scenes, 0.0, "cpu", workers=0)
    assert (alone.seconds, alone.runs, alone.batch) == (4 * (1.0 + 1.0), 1, 1)
    # Two threads load four scenes of a second each ahead. The slower of loading and step counts.
    assert time_training(config, scenes, 0.0, "cpu", workers=2).seconds == 4.0


def test_with_time_the_full_batch_itself_is_measured(tmp_path: Path) -> None:
    config = with_overrides(default_config("synthetic"), SMALL)
    scenes = sample_scenes(SYNTHETIC, experiment(tmp_path).data["synthetic"], "train").scenes
    timed = time_training(config, scenes, 60.0, "cpu", workers=0)
    assert timed.batch == 4
    assert timed.runs == 20
    assert 0 < timed.seconds < 60
    assert time_test(config, scenes, 60.0, "cpu").runs == 20


def test_measuring_leaves_pytorch_as_it_was() -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with as_jobs_run(before[0] + 1):
        assert torch.get_num_threads() == before[0] + 1
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """Two training runs of `sr3d` and four evaluations exist, of 64 and 32 scenes."""
    results = tmp_path / "results"
    make_tree(results, settings={"sr3d": []})
    monkeypatch.setattr(prices, "time_training", no_measuring)
    monkeypatch.setattr(prices, "time_test", no_measuring)
    baseline = job("baseline", overrides=["assigner.name=tr3d", "loss.cls=focal"])
    return experiment(tmp_path, job(overrides=[]), baseline, results=str(results))


def test_finished_runs_are_preferred_to_measuring(finished: Experiment) -> None:
    found = plan(finished, 1.0)
    # These training runs last 600 s: 5 epochs of 64 rooms in batches of 2. Evaluations last 20 s.
    iteration, scene = source(found, "iteration"), source(found, "scene")
    assert iteration.value == pytest.approx(600 / (5 * 32))
    assert numbers(iteration.source) == [2]
    assert scene.value == pytest.approx(20 / 32)
    assert numbers(scene.source) == [4]
    files = list(finished.results.rglob("detections.npz"))
    assert source(found, "detections").value == pytest.approx(
        sum(path.stat().st_size for path in files) / len(files) / 32
    )
    other = source(found, "iteration", "baseline")
    assert other.value == iteration.value
    assert numbers(other.source) == [2]
    assert other.source != iteration.source  # it says that assigner and loss are others


def test_an_epoch_without_start_and_end_is_the_better_record(finished: Experiment) -> None:
    for train in range(2):
        edit(
            finished.results,
            f"synthetic/sr3d/train{train}",
            timings={"seconds_per_epoch": 64.0 + 32 * train},
        )
    assert source(plan(finished, 1.0), "iteration").value == pytest.approx((2.0 + 3.0) / 2)


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"config": {"model": {"planes": [1]}}}])
def test_runs_of_another_kind_are_no_measure(finished: Experiment, change: dict[str, Any]) -> None:
    for train in range(2):
        edit(finished.results, f"synthetic/sr3d/train{train}", **change)
    with pytest.raises(AssertionError, match="measured"):
        plan(finished, 1.0)


def test_another_network_is_no_measure(finished: Experiment) -> None:
    thick = dataclasses.replace(finished.jobs[0], overrides=("model.neck_channels=32",))
    with pytest.raises(AssertionError, match="measured"):
        plan(dataclasses.replace(finished, jobs=(thick,)), 1.0)


def test_a_finished_experiment_is_planned_without_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "time_training", no_measuring)
    monkeypatch.setattr(prices, "time_test", no_measuring)
    found = plan(experiment(tmp_path, job(done_trainings=2, done_tests=[3, 3])), 1.0)
    assert found.compute_hours == 0


def test_assumed_seconds_are_taken_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "time_training", no_measuring)
    found = plan(experiment(tmp_path, device="cuda"), 1.0, parse_assumed("iteration=2, scene=0.5"))
    assert found.lines[0].hours * 3600 == pytest.approx(2 * 14 * 2 + 6 * 4 * 0.5)
    assert {s.source for s in found.sources if s.what != "detections"} == {"assumed"}


def test_the_model_file_has_the_size_of_a_real_one(tmp_path: Path) -> None:
    save_file(build_detector(default_config("synthetic")).state_dict(), tmp_path / "model")
    disk = plan(experiment(tmp_path, job(overrides=[])), 1.0, Assumptions(1, 1)).disk
    assert disk.models / 2 == pytest.approx((tmp_path / "model").stat().st_size, rel=0.02)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("iteration=fast,scene=1", Kind.VALUE),
        ("iteration=1", Kind.MISSING),
        ("iteration=1,scene=1,stop=1", Kind.UNKNOWN),
        ("iteration=-1,scene=1", Kind.VALUE),
        ("iteration=nan,scene=1", Kind.VALUE),
        ("gpus=0", Kind.VALUE),
        ("gpus=1.5", Kind.VALUE),
    ],
)
def test_assumptions_that_make_no_sense(text: str, kind: Kind) -> None:
    with pytest.raises(InputError) as caught:
        parse_assumed(text)
    assert (caught.value.kind, caught.value.field) == (kind, f"--assume {text}")


def test_assumed_gpus_share_the_work_and_a_price_makes_money(tmp_path: Path) -> None:
    alone = plan(experiment(tmp_path, slots=7), 1.0, parse_assumed("iteration=9,scene=1,gpus=1"))
    both = plan(
        experiment(tmp_path, slots=7), 1.0, parse_assumed("iteration=9,scene=1,gpus=2,price=3")
    )
    assert (alone.slots, alone.unit, alone.cost) == (1, "GPU", None)
    assert alone.wall_hours == pytest.approx(alone.compute_hours)
    assert both.wall_hours == pytest.approx(alone.wall_hours / 2, rel=0.05)
    assert both.cost == pytest.approx(3 * both.compute_hours)
    assert plan(experiment(tmp_path), 1.0, parse_assumed("iteration=9,scene=1")).unit == "CPU"


def test_the_page_of_the_largest_experiment_fits(tmp_path: Path) -> None:
    """Every trained setting, each at its own cost."""
    names = [name for name, one in read_settings().items() if one.tests_of is None]
    names = [n for n in names if "synthetic" in read_settings()[n].datasets]
    # A preset of a schedule fixes its batch size.
    fixed = {n for n in names if any(o.startswith("train=") for o in read_settings()[n].overrides)}
    jobs = [
        job(
            name,
            overrides=[] if name in fixed else [f"train.batch_size={2 + i}"],
            tests=1 + i % 9,
        )
        for i, name in enumerate(names)
    ]
    path = write(tmp_path, content(*jobs, slots=2))
    found = plan(read_experiment(path), 1.0, parse_assumed("iteration=300,scene=7,price=1"))
    page = describe(found, path.relative_to(tmp_path), Path("plan.json")).splitlines()
    assert len(names) > 20
    assert len(page) <= 45
    assert [line for line in page if len(line) > WIDTH] == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure on")
def test_without_the_gpu_to_measure_on_the_error_names_the_way_out(tmp_path: Path) -> None:
    path = write(tmp_path, content(device="cuda"))
    with refuses(field="device cuda", remedy=["--assume", "iteration="]):
        run(path)


def test_the_file_has_the_whole_plan_and_the_page_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, content(job(done_trainings=1, done_tests=[3]), only_tests(), slots=2))
    words = (path, "--assume", "iteration=300,scene=7,start=2,price=0.5")
    run(*words)
    page = capsys.readouterr().out
    whole = read_json(tmp_path / "plan.json")
    run(*words, "--json")
    assert json.loads(capsys.readouterr().out) == whole
    assert str(tmp_path / "plan.json") in page
    assert {line["setting"] for line in whole["lines"]} == {"sr3d", "nms_3d"}
    for number in (whole["compute_hours"], whole["wall_hours"]):
        assert hours(number) in page
    assert f"{whole['cost']:.2f} at 0.5" in page
    parts = whole["disk"]
    assert parts["total"] == sum(value for name, value in parts.items() if name != "total")


def test_seconds_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        run(write(tmp_path, content()), "--seconds", "0")
    assert refused.value.field == "--seconds"


def test_hours_keep_three_digits() -> None:
    values = (0.00123, 0.99, 0.9994, 5.5, 9.96, 55.5, 1234.5)
    assert [hours(v) for v in values] == [
        "0.001", "0.990", "1.00", "5.50", "10.0", "55.5", "1,234",
    ]  # fmt: skip
