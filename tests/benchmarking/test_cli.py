"""`sr3d benchmark` from the words of its command to the file that it writes."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

import pytest

from sr3d.cli import build_parser, main
from sr3d.cli.benchmark import _plan
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.errors import Kind
from sr3d.settings import read_settings
from sr3d.study.benchmarking import benchmark
from sr3d.study.benchmarking.subject import Rooms
from sr3d.train.loop import TrainingJob
from sr3d.train.training import train
from tests.benchmarking.making import THIN
from tests.refusals import refuses


def planned(*words: str) -> benchmark.BenchmarkPlan:
    words = ("benchmark", *words)
    return _plan(build_parser().parse_args(words, argparse.Namespace(words=list(words))))


def test_a_whole_benchmark(rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["benchmark", "--data", str(rooms), "--scenes", "2", "--repeats", "2", "--train"]
    words += ["--batch", "1", "--points", "2e3", "--nms-pre", "50", "--json"]
    words += [str(tmp_path / "b.json"), "--set", *THIN]
    assert main(words) == 0
    text = capsys.readouterr().out
    value = json.loads((tmp_path / "b.json").read_text())
    assert value["schema_version"] == 1
    assert value["command"] == shlex.join(["sr3d", *words])
    assert value["dataset"] == "synthetic"  # the folder knows
    assert value["detection"]["latency_ms"]["n"] == 4
    assert value["training"]["step_ms"]["n"] == 2
    assert [row["points"] for row in value["scaling"]] == [2000]
    assert [row["nms_pre"] for row in value["candidates"]] == [50]
    assert value["detection"]["memory"]["peak_mb"] > 0
    assert f"{value['detection']['memory']['weights_mb']:,.1f} MB" in text
    assert f"{tmp_path / 'b.json'}: written" in text
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]


def test_a_limit_before_nms_is_refused_for_detectors_without_one() -> None:
    with refuses(Kind.CONFLICT, field="--nms-pre", mentions=["test.nms_pre"]):
        planned("--dataset", "synthetic", "--nms-pre", "50", "--set", "model=votenet")


def test_defaults_follow_the_device() -> None:
    plan = planned()
    assert (plan.setting, plan.subject.config) == ("sr3d", default_config("scannet"))
    assert (plan.repeats, plan.batch, list(plan.points)) == (5, None, [])
    assert isinstance(plan.source, Rooms)
    assert planned("--train").batch == 2
    assert planned("--compile", "fp16").subject.compiled == "fp16"
    assert planned("--compile").subject.compiled == "fp32"
    gpu = planned("--train", "--device", "cuda", "--points", "1e4", "20000")
    assert (gpu.repeats, gpu.batch, list(gpu.points)) == (25, 16, [10_000, 20_000])


def test_settings_are_those_of_the_workflow() -> None:
    for name, setting in read_settings().items():
        if "sunrgbd" not in setting.datasets or setting.tests_of:
            continue
        plan = planned("--setting", name, "--dataset", "sunrgbd", "--set", "test.nms=3d")
        expected = with_overrides(default_config("sunrgbd"), [*setting.overrides, "test.nms=3d"])
        assert (plan.setting, plan.subject.config) == (name, expected)


def test_a_run_knows_its_weights_and_configuration(rooms: Path, tmp_path: Path) -> None:
    config = with_overrides(
        default_config("synthetic"), [*THIN, "train.epochs=1", "train.milestones=[]"]
    )
    train(TrainingJob(config, THIN, rooms, tmp_path / "run", setting="mine", index=0))
    plan = planned("--run", str(tmp_path / "run"), "--set", "test.nms=3d")
    assert plan.setting == "mine"
    assert plan.subject.weights == tmp_path / "run/model.safetensors"
    assert plan.subject.config == with_overrides(config, ["test.nms=3d"])
    plan.subject.build()
    assert main(["benchmark", "--run", str(tmp_path / "run"), "--set", "model.voxel_size=1"]) == 2


@pytest.mark.parametrize(
    ("words", "kind", "field", "mentions"),
    [
        ("--device tpu", Kind.VALUE, "--device", ["'tpu'", "'cpu'"]),
        ("--setting spot", Kind.UNKNOWN, "--setting spot", ["'spota'", "--settings"]),
        ("--dataset scanet", Kind.UNKNOWN, "dataset", ["'scannet'"]),
        ("--set loss.tua=1", Kind.UNKNOWN, "loss.tua", ["'loss.tau'"]),
        ("--scenes 0", Kind.VALUE, "--scenes", ["'0'"]),
        ("--threads 0", Kind.VALUE, "--threads", ["'0'"]),
        ("--repeats -1", Kind.VALUE, "--repeats", ["'-1'"]),
        ("--train --batch 0", Kind.VALUE, "--batch", ["'0'"]),
        ("--batch 4", Kind.CONFLICT, "--batch", ["--train"]),
        ("--points many", Kind.VALUE, "--points", ["'many'"]),
        ("--points nan", Kind.VALUE, "--points", ["'nan'"]),
        ("--points 0", Kind.VALUE, "--points", ["'0'"]),
        ("--boxes few", Kind.VALUE, "--boxes", ["'few'"]),
        ("--data a --scan b", Kind.CONFLICT, "--scan", ["--data"]),
        ("--scan b --train", Kind.CONFLICT, "--train", ["--data"]),
        ("--run a --setting sr3d", Kind.CONFLICT, "--run", ["--setting", "--dataset"]),
        ("--run nowhere", Kind.MISSING, "--run", ["nowhere", "sr3d train"]),
        ("--data nowhere", Kind.MISSING, "--data", ["nowhere", "sr3d prepare"]),
        ("--set test.oracle=iou", Kind.CONFLICT, "test.oracle", ["oracle"]),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    words: str,
    kind: Kind,
    field: str,
    mentions: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark.os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    command = ["benchmark", *words.split(), "--json", "out.json"]
    with refuses(kind, mentions=mentions) as caught:
        main([*command, "--debug"])
    assert caught.value.field == field
    capsys.readouterr()
    assert main(command) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1] == f"sr3d: {caught.value}"
    assert "Traceback" not in "\n".join(error)
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_help_says_what_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["benchmark", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.split()[1:3] == ["sr3d", "benchmark"]
    assert "--points" in text
