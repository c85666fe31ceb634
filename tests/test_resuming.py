"""A training that is stopped at any moment resumes to the same result, or says why it cannot."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sr3d.errors import InputError, Kind, OtherRun
from sr3d.runs import machine
from sr3d.runs.record import RunRecord, read_metrics, read_run
from sr3d.study.report.page.provenance import _code
from sr3d.study.report.setting_summary import code_of
from sr3d.train import loop, step, training
from sr3d.train.checkpoint import (
    CHECKPOINT_FILE,
    CHECKPOINT_FILES,
    EARLIER_FILE,
    read_state,
    write_state,
)
from sr3d.train.loop import PARTIAL_METRICS_FILE, TrainingJob
from sr3d.train.training import train
from tests.interruptions import Killed, interrupt
from tests.test_training import job, same_bits, tiny

STEPS = 12  # of the training of `job`


@pytest.fixture(scope="module")
def undisturbed(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    train(job(rooms, out))
    return out


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The epochs of all steps that are taken."""
    epochs: list[int] = []
    learning_rate = loop.learning_rate

    def counted(config: Any, step: int, epoch: int, steps: int) -> float:
        epochs.append(epoch)
        return learning_rate(config, step, epoch, steps)

    monkeypatch.setattr(loop, "learning_rate", counted)
    return epochs


def same_result(one: Path, other: Path) -> bool:
    a, b = read_run(one), read_run(other)
    return same_bits(one, other) and (a.files, a.metrics) == (b.files, b.metrics)


def only_results(folder: Path) -> bool:
    left = {path.name for path in folder.iterdir()} - {".run.json.lock"}
    return left == {"run.json", "metrics.jsonl", "model.safetensors"}


@pytest.mark.parametrize("stop_at", [1, 6, 11])
def test_a_signal_saves_and_the_same_command_resumes(
    undisturbed: Path, rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    learning_rate = loop.learning_rate

    def interrupted(config: Any, step: int, *rest: Any) -> float:
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return learning_rate(config, step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "learning_rate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(job(rooms, tmp_path))
    assert (tmp_path / CHECKPOINT_FILE).exists()
    assert not (tmp_path / "run.json").exists()
    assert len(read_metrics(tmp_path / PARTIAL_METRICS_FILE)) == stop_at + 1
    # A kill may leave more of the curve than the checkpoint knows of.
    with open(tmp_path / PARTIAL_METRICS_FILE, "a") as file:
        file.write('{"step": 99}\n')
    record = train(job(rooms, tmp_path))
    assert record.metrics["step"] == STEPS  # also where nothing was left to do
    assert same_result(undisturbed, tmp_path)


def test_a_training_that_fails_in_the_end_takes_no_step_again(
    undisturbed: Path,
    rooms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    taken: list[int],
) -> None:
    def full(*_: object, **__: object) -> None:
        raise InputError("the disk is full", kind=Kind.UNWRITABLE)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        patch.setattr(training, "finish_run", full)
        with pytest.raises(InputError, match="full"):
            train(job(rooms, tmp_path))
    taken.clear()
    train(job(rooms, tmp_path))
    assert taken == []
    assert same_result(undisturbed, tmp_path)
    assert only_results(tmp_path)


CURVES: dict[str, Callable[[Path], Any]] = {
    "absent": lambda p: p.unlink(),
    "empty": lambda p: p.write_bytes(b""),
    "cut within a line": lambda p: p.write_bytes(p.read_bytes()[:-20]),
    "fewer lines": lambda p: p.write_bytes(b"".join(p.read_bytes().splitlines(True)[:2])),
    "no text": lambda p: p.write_bytes(b"\xff\x00" * 99),
    "another value": lambda p: p.write_text(p.read_text().replace("loss", "lost")),
}


@pytest.mark.parametrize("case", CURVES)
def test_the_curve_that_people_watch_may_be_damaged(
    undisturbed: Path,
    rooms: Path,
    tmp_path: Path,
    taken: list[int],
    case: str,
) -> None:
    interrupt(job(rooms, tmp_path), 10)
    CURVES[case](tmp_path / PARTIAL_METRICS_FILE)
    taken.clear()
    train(job(rooms, tmp_path))
    assert len(taken) == 2
    assert same_result(undisturbed, tmp_path)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "flipped bit": flip,
    "cut": lambda p: p.write_bytes(p.read_bytes()[:-1]),
    "head alone": lambda p: p.write_bytes(p.read_bytes()[:89]),
    "empty": lambda p: p.write_bytes(b""),
    "absent": lambda p: p.unlink(),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_checkpoint_costs_the_work_since_the_one_before(
    undisturbed: Path,
    rooms: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    taken: list[int],
    case: str,
) -> None:
    interrupt(job(rooms, tmp_path), 9)
    DAMAGE[case](tmp_path / CHECKPOINT_FILE)
    interrupt(job(rooms, tmp_path), 9)  # which writes the checkpoints of the last step once more
    DAMAGE[case](tmp_path / CHECKPOINT_FILE)
    taken.clear()
    caplog.clear()
    train(job(rooms, tmp_path))
    assert len(taken) == STEPS - 8
    assert same_result(undisturbed, tmp_path)
    assert only_results(tmp_path)
    named = [record for record in caplog.records if CHECKPOINT_FILE in record.getMessage()]
    assert [record.levelname for record in named] == ([] if case == "absent" else ["WARNING"])


def test_without_a_usable_checkpoint_a_training_starts_anew_and_says_so(
    undisturbed: Path,
    rooms: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    taken: list[int],
) -> None:
    interrupt(job(rooms, tmp_path), 5)
    for name in CHECKPOINT_FILES:
        flip(tmp_path / name)
    taken.clear()
    train(job(rooms, tmp_path))
    assert len(taken) == STEPS
    assert same_result(undisturbed, tmp_path)
    assert all(name in caplog.text for name in CHECKPOINT_FILES)


def test_a_kill_between_the_two_renames_leaves_the_checkpoint_before(
    undisturbed: Path,
    rooms: Path,
    tmp_path: Path,
    taken: list[int],
) -> None:
    interrupt(job(rooms, tmp_path), 7)
    (tmp_path / CHECKPOINT_FILE).replace(tmp_path / EARLIER_FILE)
    taken.clear()
    train(job(rooms, tmp_path))
    assert len(taken) == STEPS - 7
    assert same_result(undisturbed, tmp_path)


def test_a_checkpoint_of_another_training_is_refused_and_kept(
    rooms: Path, rotated_rooms: Path, tmp_path: Path
) -> None:
    interrupt(job(rooms, tmp_path), 3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    others = {
        "loss.tau": job(rooms, tmp_path, tiny("synthetic", "loss.tau=1")),
        "seed": job(rooms, tmp_path, index=1),
        "split": dataclasses.replace(job(rooms, tmp_path), split="val"),
        "data": job(rotated_rooms, tmp_path, tiny("synthetic_rotated")),
    }
    for difference, other in others.items():
        with pytest.raises(OtherRun) as caught:
            train(other)
        error = caught.value
        assert (error.file, error.kind) == (tmp_path / CHECKPOINT_FILE, Kind.CONFLICT)
        assert difference in str(error.field).split(", ")
        assert "--out" in str(error.remedy)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert train(job(rooms, tmp_path)).metrics["step"] == STEPS


@pytest.fixture
def other_code(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let `digest` be the digest of the code from here on."""

    def use(digest: str) -> None:
        monkeypatch.setattr(machine, "code_digest", lambda *_: digest)

    return use


def test_other_code_resumes_only_if_told_to_and_the_record_lists_both(
    undisturbed: Path,
    rooms: Path,
    tmp_path: Path,
    other_code: Callable[[str], None],
) -> None:
    interrupt(job(rooms, tmp_path), 5)
    other_code("new")
    with pytest.raises(InputError) as caught:
        train(job(rooms, tmp_path))
    error = caught.value
    assert (error.file, error.field) == (tmp_path / CHECKPOINT_FILE, "code")
    assert "5 steps" in error.problem
    assert "--resume-anyway" in str(error.remedy)
    anyway = dataclasses.replace(job(rooms, tmp_path), resume_anyway=True)
    interrupt(anyway, 8)
    with pytest.raises(Killed):  # the same code may resume what it has taken over
        interrupt_by_next_step(job(rooms, tmp_path))
    record = train(job(rooms, tmp_path))
    found = [(one["step"], one["digest"]) for one in record.code["resumed"]]
    assert found == [(0, read_run(undisturbed).code["digest"]), (5, "new")]
    assert all(one["torch"] == torch.__version__ for one in record.code["resumed"])
    assert read_run(tmp_path) == record
    assert code_of(record.code) != code_of(read_run(undisturbed).code)
    assert "step 5" in _code(record)


def interrupt_by_next_step(a_job: TrainingJob) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "batch_losses", _die)
        train(a_job)


def _die(*_: object) -> None:
    raise Killed


def test_another_pytorch_is_other_code(
    rooms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interrupt(job(rooms, tmp_path), 2)
    monkeypatch.setattr(torch, "__version__", "99.0")
    with pytest.raises(InputError, match=r"99\.0"):
        train(job(rooms, tmp_path))


def test_a_new_value_of_the_configuration_has_its_default_in_older_checkpoints(
    undisturbed: Path,
    rooms: Path,
    tmp_path: Path,
) -> None:
    interrupt(job(rooms, tmp_path), 4)
    state = read_state(tmp_path)
    assert state is not None
    del state.identity["config"]["loss"]["vfl_gamma"]
    write_state(tmp_path, state)
    train(job(rooms, tmp_path))
    assert same_result(undisturbed, tmp_path)


def test_a_checkpoint_of_an_earlier_version_is_refused_and_kept(
    rooms: Path, tmp_path: Path
) -> None:
    torch.save({"step": 3}, tmp_path / CHECKPOINT_FILE)
    before = (tmp_path / CHECKPOINT_FILE).read_bytes()
    with pytest.raises(OtherRun) as caught:  # which --replace sets aside
        train(job(rooms, tmp_path))
    error = caught.value
    assert (error.file, error.kind) == (tmp_path / CHECKPOINT_FILE, Kind.UNREADABLE)
    assert "--out" in str(error.remedy)
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == before


def test_the_record_has_the_code_of_the_beginning(
    rooms: Path, tmp_path: Path, other_code: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = step.batch_losses

    def edit_meanwhile(*args: Any) -> Any:
        other_code("edited meanwhile")
        return compute(*args)

    other_code("first")
    monkeypatch.setattr(step, "batch_losses", edit_meanwhile)
    assert train(job(rooms, tmp_path)).code["digest"] == "first"


def finished(undisturbed: Path, folder: Path) -> RunRecord:
    for name in ("run.json", "metrics.jsonl", "model.safetensors"):
        (folder / name).write_bytes((undisturbed / name).read_bytes())
    return read_run(folder)


def test_a_finished_training_is_returned_and_another_one_refused(
    undisturbed: Path, rooms: Path, tmp_path: Path, taken: list[int]
) -> None:
    record = finished(undisturbed, tmp_path)
    assert train(job(rooms, tmp_path)) == record
    others = {
        "configuration": job(rooms, tmp_path, tiny("synthetic", "loss.tau=1")),
        "training": job(rooms, tmp_path, index=1),
        "split": dataclasses.replace(job(rooms, tmp_path), split="val"),
        "setting": dataclasses.replace(job(rooms, tmp_path), setting="other"),
    }
    for difference, other in others.items():
        with pytest.raises(OtherRun) as caught:
            train(other)
        error = caught.value
        assert (error.file, error.kind) == (tmp_path, Kind.CONFLICT)
        assert difference in str(error.field).split(", ")
        assert "--out" in str(error.remedy)
    assert taken == []
    assert read_run(tmp_path) == record


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "model.safetensors"])
def test_a_finished_training_with_a_damaged_file_is_repeated_with_a_warning(
    undisturbed: Path,
    rooms: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    taken: list[int],
    name: str,
) -> None:
    finished(undisturbed, tmp_path)
    flip(tmp_path / name)
    train(job(rooms, tmp_path))
    assert len(taken) == STEPS
    assert name in caplog.text
    assert same_result(undisturbed, tmp_path)
