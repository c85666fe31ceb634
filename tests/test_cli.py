"""The command line as a stranger meets it: help, one sentence on bad input, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sr3d.cli import main
from sr3d.data.prepared import read_manifest
from sr3d.errors import DamagedFile, Kind
from sr3d.study.report.tables.cells import NOT_RUN
from tests.refusals import refused
from tests.shared_data import ROOT
from tests.test_training import TINY

VERBS = [
    "plan",
    "download",
    "prepare",
    "inspect",
    "export",
    "train",
    "test",
    "benchmark",
    "detect",
    "evaluate",
    "config",
    "summarise",
    "report",
    "track",
    "doctor",
]


def test_help_of_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        [],
        *([verb] for verb in VERBS),
        *(["download", name] for name in ("scannet", "sunrgbd")),
        *(["prepare", name] for name in ("synthetic", "scannet", "sunrgbd", "s3dis", "mmdet3d")),
        ["inspect", "data"],
        ["export", "mmdet3d"],
    ):
        with pytest.raises(SystemExit) as stop:
            main([*words, "--help"])
        assert stop.value.code == 0
        text = capsys.readouterr().out
        assert text.split()[1] == "sr3d"  # after "usage:"
        assert "==SUPPRESS==" not in text
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS)


def test_a_verb_that_is_unknown_is_told_the_nearest() -> None:
    error = refused(["detekt", "--demo"])
    assert (error.kind, error.field) == (Kind.UNKNOWN, "VERB")
    assert "'detect'" in error.problem


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sr3d", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("sr3d ")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("train --dataset scanet --data x --out y", "'scannet'"),
        ("config --set loss.tua=1", "'loss.tau'"),
        ("train --dataset scannet --data nowhere --out y", "--data"),
        ("test --run nowhere --data x --out y", "--run"),
        ("summarise nowhere --out s.json", "nowhere"),
        ("evaluate --ground-truth a.npz --detections b.npz --dataset scannet", "a.npz"),
        ("prepare scannet --raw nowhere --out o", "--raw"),
        ("prepare mmdet3d --root . --out o", "--infos"),
        ("prepare mmdet3d --root . --out o --infos x.pkl", "SPLIT=FILE"),
        ("prepare s3dis --raw . --out o --workers 0", "--workers"),
        ("download scannet --out scans", "ScanNet_TOS.pdf"),
        ("inspect data nowhere", "nowhere"),
        ("report --results nowhere --tables no.yaml --out o", "no.yaml"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: str,
    part: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("sr3d: ")
    assert error.count("\n") == 1
    assert part in error
    assert list(tmp_path.iterdir()) == []  # nothing half-written


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from sr3d.errors import InputError

    words = ["test", "--run", str(tmp_path), "--data", "x", "--out", "y", "--debug"]
    with pytest.raises(InputError):
        main(words)


def test_unwritable_output_is_told(
    rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    words = ["train", "--dataset", "synthetic", "--data", str(rooms), "--out", str(blocker / "run")]
    assert main([*words, "--set", *TINY]) == 2
    assert "file" in capsys.readouterr().err


def test_the_whole_chain_by_hand(
    rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the workflow calls, verb by verb, as a person would."""
    results = tmp_path / "results"
    setting = results / "synthetic" / "sr3d"
    common = ["--data", str(rooms)]
    for i in range(2):
        run = setting / f"train{i}"
        words = ["train", "--dataset", "synthetic", *common, "--out", str(run), "--train", str(i)]
        assert (
            main([*words, "--set", *TINY, "train.epochs=1", "train.milestones=[]", "--seed", "3"])
            == 0
        )
        for j in range(2):
            out = str(run / f"test{j}")
            assert main(["test", "--run", str(run), *common, "--out", out, "--test", str(j)]) == 0
    summary = setting / "summary.json"
    counts = ["--trainings", "2", "--tests", "2"]
    assert main(["summarise", str(setting), "--out", str(summary), *counts]) == 0
    value = json.loads(summary.read_text())
    assert np.shape(value["metrics"]["AP25"]["values"]) == (2, 2)
    tables = Path(__file__).parents[1] / "workflow" / "tables.yaml"
    report = tmp_path / "report"
    words = ["report", "--results", str(results), "--tables", str(tables), "--out", str(report)]
    assert main([*words, "--table", "table2", "--dataset", "synthetic"]) == 0
    assert NOT_RUN in (report / "table2_synthetic.md").read_text()
    capsys.readouterr()
    detections = setting / "train0" / "test0" / "detections.npz"
    words = ["evaluate", "--ground-truth", str(rooms / "val.npz"), "--detections", str(detections)]
    assert main([*words, "--dataset", "synthetic", "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    recorded = json.loads((detections.parent / "run.json").read_text())["metrics"]
    assert score["AP25"] == pytest.approx(recorded["AP25"])
    assert score["per_class"] == recorded["per_class"]


def test_config_prints_what_set_accepts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--dataset", "sunrgbd", "--set", "assigner.k=7"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "assigner.k=7" in lines
    assert "model.planes=[64, 128, 128, 128]" in lines
    assert main(["config", "--dataset", "sunrgbd", "--set", *lines]) == 0
    assert capsys.readouterr().out.splitlines() == lines
    assert main(["config", "--set", "assigner.k=7", "--set", "loss.tau=1"]) == 0
    assert {"assigner.k=7", "loss.tau=1.0"} <= {*capsys.readouterr().out.splitlines()}


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cpu works"].startswith("yes")
    assert main(["doctor"]) == 0


def line_of(path: Path, printed: str) -> str:
    """What the first line about a file or folder says of it."""
    lines = (line.partition(f"{path}: ") for line in printed.splitlines())
    return next(text for before, place, text in lines if place and not before)


def test_prepare_look_and_export_by_hand(
    rooms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", "data", str(rooms), "--pictures", str(tmp_path / "png"),
                 "--scenes", "room_000000"]) == 0  # fmt: skip
    capsys.readouterr()
    assert (tmp_path / "png" / "room_000000.png").read_bytes().startswith(b"\x89PNG")
    words = ["inspect", "data", str(rooms), "--json", "--split", "val", "--verify"]
    assert main(words) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [split["scenes"] for split in facts["splits"]] == [3]
    assert facts["suspicions"] == []
    assert main(["export", "mmdet3d", "--data", str(rooms), "--out", str(tmp_path / "bins")]) == 0
    words = ["--root", str(tmp_path / "bins"), "--out", str(tmp_path / "back"), "--workers", "1"]
    assert main(["prepare", "mmdet3d", *words]) == 0
    printed = capsys.readouterr().out
    for fact in ("9", "synthetic_infos_train.pkl", "synthetic_infos_val.pkl"):
        assert fact in line_of(tmp_path / "bins", printed)
    for fact in ("train", "6"):
        assert fact in line_of(tmp_path / "back", printed)
    assert read_manifest(tmp_path / "back").digest() == read_manifest(rooms).digest()
    cloud = tmp_path / "back" / "points" / "room_000000.npy"
    data = bytearray(cloud.read_bytes())
    data[-1] ^= 1
    cloud.write_bytes(data)
    error = refused(["inspect", "data", str(tmp_path / "back"), "--verify"])
    assert isinstance(error, DamagedFile)
    assert error.file == cloud


@pytest.mark.parametrize(
    ("words", "field", "kind"),
    [
        (
            "train --dataset synthetic --data {rooms} --out {out} --train -1",
            "--train",
            Kind.VALUE,
        ),
        (
            "report --results {out}/nowhere --tables {tables} --out {out}/r",
            "--results",
            Kind.MISSING,
        ),
    ],
)
def test_senseless_words_are_told(
    words: str, field: str, kind: Kind, rooms: Path, tmp_path: Path
) -> None:
    places = {"rooms": rooms, "out": tmp_path, "tables": ROOT / "workflow/tables.yaml"}
    error = refused(words.format(**places).split())
    assert (error.field, error.kind) == (field, kind)
