"""The line that tells how far the work is and how long it will still take."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from workflow.progress import (
    ProgressLog,
    RunningJob,
    Tally,
    duration,
    steps_done,
    tail,
    worth_reading,
)

NAME = "train a/b, training 1"  # of a job


def write_curve(path: Path, step: int, steps: int) -> Path:
    lines = [json.dumps({"step": i + 1, "steps": steps, "loss": 1.0}) for i in range(step)]
    path.write_text("\n".join([*lines, '{"step": 9']))  # the last line is still being written
    return path


def job(rule: str, started: float = 0.0, curve: Path | None = None) -> RunningJob:
    return RunningJob(rule, f"{rule} something", (rule, "synthetic"), started, curve)


def tally(**planned: int) -> Tally:
    value = Tally()
    value.planned.update(planned)
    return value


def parts(work: Tally, now: float) -> list[str]:
    """The counts, shares and durations in each part of the line."""
    figure = r"\d+/\d+|\d+%|\d+ (?:s|min|h)\b|\d+"
    return [" ".join(re.findall(figure, part)) for part in work.line(now, now).split(" · ")]


def test_before_anything_is_known_no_time_is_told() -> None:
    work = tally(prepare_synthetic=1, train=4, test=8)
    work.start(1, job("prepare_synthetic"))
    assert parts(work, 20) == ["0/4", "0/8", "", "20 s"]
    assert "prepare_synthetic something" in work.line(20, 20)


def test_a_running_training_is_extrapolated(tmp_path: Path) -> None:
    # A quarter in 30 s: 120 s each, four of them, two at once: 240 s, of which 30 s are over.
    work = tally(train=4, test=8)
    for number in (1, 2):
        path = write_curve(tmp_path / str(number), 25, 100)
        work.start(number, job("train", 0, path))
    seconds, whole = work.seconds_left(30)
    assert seconds == pytest.approx(210)
    assert not whole
    assert parts(work, 30) == ["0/4 25% 25%", "0/8", "30 s", "4 min"]


def test_finished_jobs_give_the_means() -> None:
    # Trainings take 100 s, tests 10 s, two at once. Owed: half of a training, one whole training
    # and three tests, of which one runs since 4 s: (50 + 100 + 20 + 6) / 2.
    work = tally(train=3, test=4)
    work.start(1, job("train", 0))
    work.finish(1, 100)
    work.start(2, job("test", 100))
    work.start(3, job("train", 60))
    work.finish(2, 110)
    work.start(4, job("test", 106))
    seconds, whole = work.seconds_left(110)
    assert seconds == pytest.approx(88)
    assert whole
    assert parts(work, 110)[1:] == ["1/4", "2 min", "88 s"]


def test_evaluations_count_as_soon_as_they_are_marked(tmp_path: Path) -> None:
    # Two jobs of three evaluation runs. The first has finished, the second has marked one run.
    markers = tuple(tmp_path / f"test{i}" for i in range(3))
    work = Tally(tests=3)
    work.planned.update(train=2, test=2)
    for number, started in ((1, 0), (2, 30)):
        one = RunningJob("test", "test something", ("test", "synthetic"), started, None, markers)
        work.start(number, one)
        if number == 1:
            work.finish(1, 30)
    markers[0].touch()
    assert parts(work, 36)[:2] == ["0/2", "4/6"]
    seconds, _ = work.seconds_left(36)  # of the jobs that run, as the job before
    assert seconds == pytest.approx(24)


def test_the_estimate_follows_the_load(tmp_path: Path) -> None:
    # Earlier trainings took 100 s. This one has run for 300 s and is half done: 300 s to go.
    work = tally(train=2, test=1)
    work.start(1, job("train", 0))
    work.finish(1, 100)
    curve = write_curve(tmp_path / "curve", 50, 100)
    work.start(2, job("train", 100, curve))
    seconds, _ = work.seconds_left(400)
    assert seconds == pytest.approx(300)
    # An evaluation that takes longer than those before never has nothing left.
    work = tally(test=2)
    work.start(1, job("test", 0))
    work.finish(1, 10)
    work.start(2, job("test", 10))
    left = [work.seconds_left(now)[0] for now in (12, 40, 100, 400)]
    assert left[0] == pytest.approx(8)
    assert left[1:] == sorted(left[1:])
    assert min(left) > 0


def test_many_running_trainings_are_told_by_their_mean(tmp_path: Path) -> None:
    work = tally(train=9)
    for number in range(6):
        work.start(number, job("train", 0, write_curve(tmp_path / str(number), 1 + number, 10)))
    assert parts(work, 60)[:2] == ["0/9 6 35%", "60 s"]


def test_a_training_that_has_told_nothing_yet_is_at_its_start(tmp_path: Path) -> None:
    assert steps_done(tmp_path / "absent") == 0
    (tmp_path / "empty").touch()
    assert steps_done(tmp_path / "empty") == 0
    (tmp_path / "other").write_text('{"loss": 1}\n')
    assert steps_done(tmp_path / "other") == 0


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (5300, "88 min"), (12_000, "3 h 20 min")],
)
def test_durations_read_as_people_say_them(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def record(event: str | None, message: str = "", **fields: Any) -> logging.LogRecord:
    value = logging.LogRecord("snakemake.logging", logging.INFO, "", 0, message, None, None)
    vars(value).update(event=event, **fields)
    return value


def test_it_follows_the_events_of_snakemake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_curve(tmp_path / "metrics.partial.jsonl", 5, 10)
    log = tmp_path / "train1.log"
    log.write_text("".join(f"line {i}\n" for i in range(99)) + "no such file\n")
    progress = ProgressLog()
    progress.emit(record("run_info", stats={"train": 2, "test": 0, "total": 2}))
    for number in (0, 1):
        fields: dict[str, Any] = {
            "jobid": number,
            "rule_name": "train",
            "rule_msg": f"{NAME[:-1]}{number}",
            "output": [os.fspath(tmp_path / "run.json"), os.fspath(tmp_path / "metrics.jsonl")],
            "wildcards": {"dataset": "a"},
        }
        progress.emit(record("job_info", **fields))
    assert parts(progress.tally, 1)[0] == "0/2 50% 50%"
    progress.emit(record("job_finished", job_id=0))
    progress.emit(record("job_error", jobid=1, rule_name="train", log=[os.fspath(log)]))
    assert progress.tally.running == {}
    assert progress.tally.done["train"] == 1
    told = capsys.readouterr().err
    assert all(name in told.splitlines()[0] for name in (NAME, str(log)))
    assert "no such file" in told
    assert "line 80" in told
    assert "line 79" not in told
    progress.fail()
    told = capsys.readouterr().err
    assert all(name in told for name in (NAME, str(log)))


def test_the_end_of_a_log_says_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    log.write_text("")  # the job could not even write why it failed
    assert tail(log) == ["(empty)"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 0))
    assert "full" in " ".join(tail(log))
    assert tail(tmp_path / "absent") == ["(No such file or directory)"]


def test_chatter_around_every_job_is_dropped() -> None:
    assert not worth_reading(record(None, "Select jobs to execute..."))
    assert not worth_reading(record("job_started", "Execute 2 jobs..."))
    assert not worth_reading(record("progress", "1 of 2 steps (50%) done"))
    assert worth_reading(record(None, "Nothing to be done"))
