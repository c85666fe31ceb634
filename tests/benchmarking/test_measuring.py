"""Detection and training are measured as they run, and everything becomes JSON and text."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sr3d.data.loader import generator_for
from sr3d.data.prepared import PreparedDataset
from sr3d.data.transforms import sample_points
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.tr3d.detector import TR3D
from sr3d.errors import InputError, Kind
from sr3d.evaluate.loop import detect_scene
from sr3d.study.benchmarking import benchmark
from sr3d.study.benchmarking.benchmark import BenchmarkPlan, run
from sr3d.study.benchmarking.benchmark_text import describe, number
from sr3d.study.benchmarking.measurements import measure_detection, measure_training
from sr3d.study.benchmarking.measures import (
    Benchmark,
    Detection,
    MeasuredScene,
    Memory,
    SizedDetection,
    Times,
)
from sr3d.study.benchmarking.memory import OutOfMemory
from sr3d.study.benchmarking.stages import TRAINING_STAGES
from sr3d.study.benchmarking.subject import Floor, PreparedScenes, ScanFile, SceneSource
from tests.benchmarking.making import ON_VOXELS, fcaf3d, on_points, subject
from tests.family_configs import ON_POINTS


def prepared(rooms: Path, count: int = 2) -> SceneSource:
    return PreparedScenes("synthetic", rooms, "val", count)


def test_times_by_hand() -> None:
    times = Times((4.0, 1.0, 2.0, 3.0, 10.0))
    assert (times.median, times.least) == (3.0, 1.0)
    assert times.p95 == pytest.approx(4 + 0.8 * 6)  # position 0.95 · 4 = 3.8 of the sorted runs
    assert times.to_dict() == {
        "median": 3.0, "p95": 8.8, "min": 1.0, "n": 5, "runs": [4.0, 1.0, 2.0, 3.0, 10.0]
    }  # fmt: skip


def test_a_detection_is_that_of_a_test(rooms: Path) -> None:
    about = subject()
    found = measure_detection(about, prepared(rooms), repeats=3)
    scenes = PreparedDataset(rooms, "val")
    assert [scene.id for scene in found.scenes] == [scenes.ids[0], scenes.ids[1]]
    model = about.build()
    for i, (index, measured) in enumerate(zip((0, 1), found.scenes, strict=True)):
        scene = sample_points(scenes[index], 3000, generator_for(0, i))
        boxes = detect_scene(model, scene, generator_for(0, i))[0]
        voxels = model.voxels([scene.points], [scene.colors])  # type: ignore[operator]
        assert dataclasses.astuple(measured) == (
            scene.id, 3000, len(voxels.sites), len(boxes.labels)
        )  # fmt: skip
    assert len(found.latency.runs) == 6
    assert 0 < found.latency.least <= found.latency.median <= found.latency.p95
    assert found.memory.peak > 0
    assert found.stages is not None
    assert found.network is not None
    assert found.work is not None
    assert list(found.stages) == list(ON_VOXELS)
    assert min(found.stages.values()) > 0
    assert len(found.network.runs) == 6
    assert found.network.least < found.latency.p95
    assert found.network.least <= found.work.milliseconds <= found.network.p95
    assert found.work.span == "network"
    assert found.work.floor < found.work.milliseconds
    assert 0 < found.work.gflop < 1


def test_work_is_the_mean_over_scenes(rooms: Path) -> None:
    def gflop(count: int) -> float:
        work = measure_detection(subject(), prepared(rooms, count), repeats=1).work
        assert work is not None
        return work.gflop

    # Of the split's three scenes, one is its first, two are its first two.
    assert gflop(1) != gflop(2)
    one, three = gflop(1), gflop(3)
    assert one / 3 < three < 3 * one


def test_measuring_leaves_torch_as_it_was(rooms: Path) -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    measure_detection(subject(), prepared(rooms, 1), repeats=1, details=False)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


@pytest.mark.parametrize("about", [subject(), fcaf3d()], ids=["tr3d", "fcaf3d"])
def test_parts_of_a_training_step_add_up(
    about: Any, rooms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "perf_counter", time.process_time)  # other work counts nothing
    found = measure_training(about, prepared(rooms), batch=2, repeats=4)
    assert list(found.stages) == list(TRAINING_STAGES)
    assert min(found.stages.values()) > 0
    assert len(found.step.runs) == 4
    assert found.scenes_per_second == pytest.approx(2000 / found.step.median)
    assert 0.5 < sum(found.stages.values()) / np.mean(found.step.runs) < 2  # of other steps
    assert found.size > 0
    assert found.to_dict()["voxels"] == found.size


@pytest.mark.parametrize("name", ON_POINTS)
def test_a_detector_on_points_is_measured_by_the_same_clock(name: str, rooms: Path) -> None:
    about = on_points(name)
    found = measure_detection(about, prepared(rooms, 1), repeats=1)
    (scene,) = found.to_dict()["scenes"]
    assert {*scene} == {"id", "points", "sampled_points", "boxes"}
    assert (scene["points"], scene["sampled_points"]) == (4000, 1024)
    assert found.stages is not None
    assert list(found.stages)[:2] == ["sample", "points"]
    assert {*found.stages} <= {"sample", "points", "backbone", "neck", "head", "selection"}
    assert found.work is None  # no sparse convolutions
    steps = measure_training(about, prepared(rooms), batch=2, repeats=1)
    assert steps.to_dict()["sampled_points"] == 2 * 1024
    text = describe(Benchmark(FACTS, found, steps))
    assert "voxel" not in text
    assert f"{2 * 1024:,} sampled points" in text


def test_nothing_is_learnt_from_a_scan_without_boxes(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.random.default_rng(0).random((500, 6)))
    with pytest.raises(InputError) as caught:
        measure_training(subject(), ScanFile("synthetic", tmp_path / "scan.npy"), 1, 1)
    assert (caught.value.field, caught.value.kind) == ("--train", Kind.EMPTY)


def test_a_scan_is_detected_in_without_boxes(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.random.default_rng(0).random((500, 6)))
    found = measure_detection(subject(), ScanFile("synthetic", tmp_path / "scan.npy"), 1)
    assert [scene.points for scene in found.scenes] == [3000]  # as a test draws them


def test_a_floor_keeps_all_its_points() -> None:
    floor = Floor("synthetic", 5000)
    found = measure_detection(subject(), floor, repeats=1, sample=False, details=False)
    assert [scene.points for scene in found.scenes] == [5000]
    assert (found.network, found.stages, found.work) == (None, None, None)


def test_an_inference_runner_is_measured_as_one_piece(
    rooms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TR3D, "forward", not_called)
    about = subject(compiled="fp32")
    plain = measure_detection(about, prepared(rooms, 2), repeats=2, details=False)
    monkeypatch.undo()
    found = measure_detection(about, prepared(rooms, 2), repeats=2)
    assert [scene.boxes for scene in found.scenes] == [scene.boxes for scene in plain.scenes]
    assert (found.network, found.stages) == (None, None)
    assert found.work is not None
    assert found.work.span == "points to boxes"
    assert found.latency.least <= found.work.milliseconds <= found.latency.p95
    eager = measure_detection(subject("test.voxel_pick=first"), prepared(rooms, 2), repeats=1)
    assert [scene.boxes for scene in found.scenes] == [scene.boxes for scene in eager.scenes]
    assert eager.work is not None
    assert found.work.gflop == pytest.approx(eager.work.gflop)


def not_called(*_: object) -> None:
    raise AssertionError("the eager network ran")


def test_fcaf3d_has_an_inference_runner_too(rooms: Path) -> None:
    found = measure_detection(fcaf3d(compiled="fp32"), prepared(rooms, 1), 1, details=False)
    config = with_overrides(fcaf3d().config, ["test.voxel_pick=first"])
    eager = dataclasses.replace(fcaf3d(), config=config)
    expected = measure_detection(eager, prepared(rooms, 1), 1, details=False)
    assert found.scenes == expected.scenes


def test_another_engine_has_no_inference_runner() -> None:
    about = subject("model.engine=minkowski", compiled="fp32")
    with pytest.raises(InputError) as caught:
        about.compile(about.build())
    assert (caught.value.field, caught.value.kind) == ("model.engine", Kind.CONFLICT)


def here(function: Any, *args: Any, **kwargs: Any) -> Any:
    """In place of a process of its own."""
    return function(*args, **kwargs)


@pytest.fixture(scope="module")
def found(rooms: Path) -> Benchmark:
    plan = BenchmarkPlan(
        subject(), "sr3d", prepared(rooms), 2, batch=1, points=[500, 900], nms_pre=[5, 40],
        command="sr3d …",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "in_fresh_process", here)
        return run(plan)


def test_json_comes_back_as_it_was(found: Benchmark) -> None:
    value = found.to_dict()
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert value["command"] == "sr3d …"
    assert value["config_digest"] == subject().config.digest()
    assert value["parameters"] == sum(p.numel() for p in subject().build().parameters())
    assert value["machine"]["threads"] == value["threads"] == 1
    assert {"torch", "python"} <= value["versions"].keys()
    assert value["load_average"] >= 0
    stages = value["detection"]["stages"]
    assert sum(stage["share"] for stage in stages.values()) == pytest.approx(1, abs=1e-3)
    assert value["training"]["batch"] == 1
    assert [row["points"] for row in value["scaling"]] == [500, 900]
    assert all("stages" not in row for row in value["scaling"])


def test_rows_of_boxes_keep_so_many_for_nms(found: Benchmark) -> None:
    few, more = found.candidates
    assert (few.size, more.size) == (5, 40)
    assert few.detection is not None
    assert more.detection is not None
    boxes = [[scene.boxes for scene in row.scenes] for row in (few.detection, more.detection)]
    classes = len(subject().build().classes)
    assert max(boxes[0]) <= 5 * classes
    assert sum(boxes[0]) < sum(boxes[1])
    assert few.detection.stages is not None
    rows = found.to_dict()["candidates"]
    assert [row["nms_pre"] for row in rows] == [5, 40]
    assert rows[0]["stages"]["selection"]["ms"] > 0
    text = describe(found)
    (line,) = (line.split() for line in text.splitlines() if line.startswith("40 "))
    assert line[-3] == number(more.detection.latency.median)


def test_text_shows_what_was_measured(found: Benchmark) -> None:
    text = describe(found)
    detection, training = found.detection, found.training
    assert training is not None
    latency, network = detection.latency, detection.network
    assert network is not None
    for name, times in (("points to boxes", latency), ("network alone", network)):
        (row,) = (line.split() for line in text.splitlines() if line.startswith(name))
        values = [number(value) for value in (times.median, times.p95, times.least)]
        assert row[-4:] == [*values, "4"]
    for words in (
        *ON_VOXELS, *TRAINING_STAGES, "sr3d on synthetic",
        f"{training.scenes_per_second:,.3g} scenes", "2 scenes: prepared scenes of",
        "synchronised before and after", "GFLOP/s", "\n500 ",
    ):  # fmt: skip
        assert words in text
    assert max(map(len, text.splitlines())) < 180


def test_a_floor_that_does_not_fit_is_a_row_too(
    rooms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tight(function: Any, subject: Any, source: Any, *args: Any, **kwargs: Any) -> Any:
        large = isinstance(source, Floor) and source.points > 500
        if large or subject.config.test.nms_pre > 5000:
            raise OutOfMemory("out of memory: no room", kind=Kind.TOO_LARGE)
        return function(subject, source, *args, **kwargs)

    monkeypatch.setattr(benchmark, "in_fresh_process", tight)
    found = run(
        BenchmarkPlan(
            subject(), "sr3d", prepared(rooms, 1), 1, points=[400, 10_000], nms_pre=[9000]
        )
    )
    assert [row.error for row in found.scaling] == [None, "out of memory: no room"]
    assert found.to_dict()["scaling"][1] == {"points": 10_000, "error": "out of memory: no room"}
    assert found.to_dict()["candidates"] == [{"nms_pre": 9000, "error": "out of memory: no room"}]
    for size in ("10,000", "9,000"):
        (line,) = (line for line in describe(found).splitlines() if line.startswith(size))
        assert "–" in line.split()  # no measurements


def test_a_busy_machine_is_told(
    rooms: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(benchmark, "in_fresh_process", lambda *_, **__: DETECTION)
    plan = BenchmarkPlan(subject(), "sr3d", prepared(rooms), 1)
    for load, busy in ((0.0, False), (1e4, True)):
        monkeypatch.setattr(benchmark.os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        caplog.clear()
        found = run(plan)
        assert found.facts["busy"] == busy
        assert ("(busy)" in describe(found)) == busy
        warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert [f"{load:.1f}" in record.message for record in warned] == [True] * busy


DETECTION = Detection(
    (MeasuredScene("a", 10, 5, 0),), Times((1.0,)), Memory(1.0, 1.0, "peak"), "voxels"
)
FACTS = {
    "setting": "sr3d", "dataset": "scannet", "parameters": 1, "weights": "random",
    "precision": "fp16", "compiled": True, "device": "cuda", "threads": 1,
    "machine": {"gpus": ["H100"], "cores": 2, "processor": "x"}, "versions": {"torch": "2"},
    "load_average": 0.0, "busy": False, "source": "rooms",
}  # fmt: skip


def test_a_row_without_voxels_or_training_is_text_all_the_same() -> None:
    text = describe(Benchmark(FACTS, DETECTION, None, (SizedDetection(10, DETECTION),)))
    assert "compiled" in text
    assert "cuda: H100" in text
    network = dataclasses.replace(DETECTION, network=Times((1.0,)))
    longer = describe(Benchmark(FACTS, network, None, (SizedDetection(10, DETECTION),)))
    assert len(longer.splitlines()) == len(text.splitlines()) + 1


@pytest.mark.parametrize(
    ("about", "field", "kind"),
    [
        (subject(device="tpu"), "--device", Kind.UNKNOWN),
        (subject("test.oracle=iou"), "test.oracle", Kind.CONFLICT),
    ],
)
def test_what_cannot_be_measured_is_refused(
    about: Any, field: str, kind: Kind, rooms: Path
) -> None:
    with pytest.raises(InputError) as caught:
        run(BenchmarkPlan(about, "sr3d", prepared(rooms), 1))
    assert (caught.value.field, caught.value.kind) == (field, kind)


def test_a_gpu_that_is_not_there_is_told(rooms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError) as caught:
        run(BenchmarkPlan(subject(device="cuda"), "sr3d", prepared(rooms), 1))
    assert (caught.value.field, caught.value.kind) == ("--device", Kind.MISSING)


def test_weights_are_those_of_the_file(tmp_path: Path) -> None:
    config = default_config("synthetic")
    with pytest.raises(InputError, match=r"none\.safetensors"):
        dataclasses.replace(subject(), config=config, weights=tmp_path / "none.safetensors").build()
