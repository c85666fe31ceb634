"""The arithmetic of a plan, compared with sums by hand and a slow literal schedule."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr3d.config import TrainConfig
from sr3d.data.loader import epoch_batches
from sr3d.study.planning.budget import (
    CURVE_BYTES,
    Budget,
    Chain,
    SourcedNumber,
    budget,
    iterations_per_epoch,
    makespan,
)
from tests.planning.making import PRICE, SMALL, experiment, job, only_tests

SIZES = {"synthetic": (10, 4)}


def seconds(hours: float) -> Any:
    return pytest.approx(hours * 3600)


def plan(folder: Path, *jobs: dict[str, Any], **changes: Any) -> Budget:
    found = experiment(folder, *jobs, **changes)
    return budget(found, SIZES, [PRICE] * len(found.jobs))


def test_a_small_experiment_by_hand(tmp_path: Path) -> None:
    found = plan(tmp_path)
    (line,) = found.lines
    # 10 rooms three times in batches of 4 give 7 full batches. Two epochs.
    assert (line.trainings, line.tests, line.epochs, line.iterations) == (2, 6, 2, 14)
    # A training run waits 1 s and takes 14 steps of 0.5 s. Its evaluation runs wait 1 s together.
    # Each takes 4 scenes of 0.25 s.
    assert seconds(line.hours_a_training) == 8
    assert seconds(line.hours) == 2 * 8 + 2 * 4
    assert found.compute_hours == line.hours
    assert seconds(found.wall_hours) == 24
    assert (found.trainings, found.tests, found.done_trainings, found.done_tests) == (2, 6, 0, 0)


def test_disk_by_hand(tmp_path: Path) -> None:
    disk = plan(tmp_path).disk
    assert disk.models == 2 * 100
    assert disk.detections == 6 * 4 * 10
    assert disk.curves == 2 * 14 * CURVE_BYTES
    assert disk.checkpoints == 2 * 300  # one training at a time; old and new beside each other
    assert disk.total == 200 + 240 + 28 * CURVE_BYTES + 600
    assert plan(tmp_path, slots=2).disk.checkpoints == 2 * 2 * 300
    assert plan(tmp_path, slots=9).disk.checkpoints == 2 * 2 * 300  # there are but two trainings


def test_two_slots_halve_what_can_be_shared(tmp_path: Path) -> None:
    assert seconds(plan(tmp_path, slots=2).wall_hours) == 8 + 4
    # Further slots do not help, because the evaluation runs of a training run share a process.
    assert seconds(plan(tmp_path, slots=100).wall_hours) == 8 + 4
    # They help with the evaluations of a second setting.
    more = (job(), only_tests())
    assert seconds(plan(tmp_path, *more, slots=2).wall_hours) == 8 + 2 * 4
    assert seconds(plan(tmp_path, *more, slots=4).wall_hours) == 8 + 4


def test_what_is_done_is_not_counted(tmp_path: Path) -> None:
    found = plan(tmp_path, job(done_trainings=1, done_tests=[2]), slots=2)
    (line,) = found.lines
    assert (line.trainings, line.tests) == (1, 4)
    assert seconds(line.hours) == 8 + (1 + 1) + (1 + 3)
    assert (found.done_trainings, found.done_tests) == (1, 2)
    assert found.disk.models == 100
    assert found.disk.detections == 4 * 4 * 10
    # The evaluation of the first training run runs beside the second.
    assert seconds(found.wall_hours) == 8 + 4


def test_nothing_is_left_of_an_experiment_that_is_done(tmp_path: Path) -> None:
    found = experiment(tmp_path, job(done_trainings=2, done_tests=[3, 3]))
    price = dataclasses.replace(PRICE, iteration=None, scene=None)
    done = budget(found, SIZES, [price])
    assert (done.compute_hours, done.wall_hours, done.disk.total) == (0, 0, 0)
    assert (done.done_trainings, done.done_tests) == (2, 6)
    assert done.lines[0].iterations == 0


def test_a_setting_that_only_tests_costs_no_training(tmp_path: Path) -> None:
    found = experiment(tmp_path, only_tests(), job(), slots=100)
    untrained = dataclasses.replace(PRICE, iteration=None, scene=SourcedNumber(1.0, "made up"))
    both = budget(found, SIZES, [untrained, PRICE])
    line = both.lines[0]
    assert (line.trainings, line.tests, line.iterations, line.hours_a_training) == (0, 6, 0, 0)
    assert seconds(line.hours) == 2 * (1 + 3 * 4 * 1.0)
    assert both.trainings == 2
    assert seconds(both.wall_hours) == 8 + 13  # its tests wait for the other's trainings
    assert both.disk.models == 2 * 100


def test_fewer_trainings_can_be_tested_than_there_are(tmp_path: Path) -> None:
    found = plan(tmp_path, job(), only_tests(trainings=1, tests=1))
    assert (found.lines[1].trainings, found.lines[1].tests) == (0, 1)
    assert seconds(found.wall_hours) == 24 + 2


@pytest.mark.parametrize(
    ("change", "factor"),
    [("train.epochs=4", 2.0), ("train.repeat=6", 15 / 7), ("train.batch_size=5", 6 / 7)],
)
def test_iterations_follow_the_schedule(tmp_path: Path, change: str, factor: float) -> None:
    before, after = plan(tmp_path), plan(tmp_path, job(overrides=[*SMALL, change]))
    assert after.lines[0].iterations == pytest.approx(before.lines[0].iterations * factor)


@given(
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(1, 50),
    st.booleans(),
)
def test_an_epoch_has_as_many_iterations_as_the_loader_makes_batches(
    scenes: int, repeat: int, batch: int, keep_last: bool
) -> None:
    config = TrainConfig(repeat=repeat, batch_size=batch, keep_last=keep_last)
    batches = epoch_batches(scenes, repeat, batch, seed=0, epoch=0, keep_last=keep_last)
    assert iterations_per_epoch(scenes, config) == len(batches)


def test_the_published_sizes() -> None:
    assert iterations_per_epoch(1201, TrainConfig(repeat=15)) == 1125
    assert iterations_per_epoch(5285, TrainConfig(repeat=5)) == 1651


CHAINS = st.lists(
    st.tuples(st.integers(0, 5), st.lists(st.integers(1, 4), max_size=4)).filter(
        lambda chain: chain[0] or chain[1]
    ),
    max_size=6,
)


def second_by_second(work: list[tuple[int, list[int]]], slots: int) -> int:
    """Simulated second by second: every free slot takes an evaluation, otherwise a training run."""
    trainings = [chain for chain in work if chain[0]]
    tests = [(0, test) for chain in work if not chain[0] for test in chain[1]]
    running: list[tuple[int, list[int]]] = []  # seconds left, evaluations that follow
    now = 0
    while trainings or tests or running:
        for left, followers in running:
            if left == 0:
                tests += [(now, test) for test in sorted(followers)]
        running = [(left, followers) for left, followers in running if left]
        tests.sort()
        while len(running) < slots and (tests or trainings):
            running.append((tests.pop(0)[1], []) if tests else trainings.pop(0))
        if running:
            running = [(left - 1, followers) for left, followers in running]
            now += 1
    return now


@given(CHAINS, st.integers(1, 5))
def test_the_wall_clock_is_that_of_the_schedule(
    work: list[tuple[int, list[int]]], slots: int
) -> None:
    chains = [Chain(float(training), tuple(map(float, tests))) for training, tests in work]
    assert makespan(chains, slots) == second_by_second(work, slots)


def test_settings_with_the_same_number_share_a_source(tmp_path: Path) -> None:
    found = plan(tmp_path, job("sr3d"), job("k4"), only_tests())
    told = {(source.what, source.settings) for source in found.sources}
    assert ("scene", ("sr3d", "k4", "nms_3d")) in told
    assert {what for what, _ in told} == {"iteration", "scene", "detections"}
    assert all(source.source == "made up" for source in found.sources)
