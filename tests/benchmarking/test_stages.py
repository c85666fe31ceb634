"""Time goes to the innermost stage, all of it, and measuring leaves no trace."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path

import pytest
import torch

from sr3d.data.loader import generator_for
from sr3d.data.prepared import PreparedDataset
from sr3d.evaluate.loop import detect_scene
from sr3d.points import cpu_engine
from sr3d.sparse import Sites
from sr3d.study.benchmarking import stages
from sr3d.study.benchmarking.stages import StageClock, detection_staged
from tests.benchmarking.making import ON_VOXELS, fcaf3d, on_points, subject
from tests.family_configs import ON_POINTS

CPU = torch.device("cpu")


def test_time_counts_for_the_innermost_stage_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(stages.time, "perf_counter", lambda: now)
    clock = StageClock(CPU)
    now = 5.0  # before any stage
    with clock.stage("outer"):
        now = 6.0
        with clock.stage("inner"):
            now = 16.0
            with clock.stage("outer"):
                now = 116.0
        now = 118.0
    now = 1000.0  # after it
    with clock.stage("inner"):
        now = 2000.0
    assert clock.seconds == {"outer": 1 + 100 + 2, "inner": 10 + 1000}


def test_a_stage_ends_where_its_code_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(stages.time, "perf_counter", lambda: float(next(ticks)))
    clock = StageClock(CPU)

    def fail() -> None:
        raise ValueError("no")

    with clock.stage("outer"):
        with pytest.raises(ValueError, match="no"):
            clock.timed("inner", fail)()
        assert clock.seconds == {"outer": 1.0, "inner": 1.0}
    assert clock.seconds == {"outer": 2.0, "inner": 1.0}


ABOUTS = {
    "tr3d": (subject(), ON_VOXELS),
    "fcaf3d": (fcaf3d(), ON_VOXELS),
    **{
        name: (on_points(name), ("sample", "points", "backbone", "neck", "head", "selection"))
        for name in ON_POINTS
    },
}


@pytest.mark.parametrize("name", ABOUTS)
def test_stages_add_up_and_change_nothing(
    name: str, rooms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages.time, "perf_counter", time.process_time)  # other work counts nothing
    about, stages_of_it = ABOUTS[name]
    model, scene = about.build(), PreparedDataset(rooms, "val")[0]
    with torch.inference_mode():
        plain, _ = detect_scene(model, scene, generator_for(0))
    modules = {name: dict(vars(module)) for name, module in model.named_modules()}
    methods, engine = dict(vars(Sites)), dict(vars(cpu_engine))

    clock = StageClock(CPU)
    started = time.perf_counter()
    with torch.inference_mode(), detection_staged(model, clock):
        staged = [detect_scene(model, scene, generator_for(0))[0] for _ in range(5)]
    whole = time.perf_counter() - started
    assert set(clock.seconds) == set(stages_of_it)
    assert min(clock.seconds.values()) > 0
    assert 0.8 * whole < sum(clock.seconds.values()) <= whole
    for found in staged:
        assert all(torch.equal(a, b) for a, b in zip(found, plain, strict=True))
    assert {name: dict(vars(module)) for name, module in model.named_modules()} == modules
    assert (dict(vars(Sites)), dict(vars(cpu_engine))) == (methods, engine)


def test_kernel_maps_are_a_stage_wherever_they_are_built(
    rooms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = 0  # the only clock there is
    build = Sites._build_map

    def counted(self: Sites, out: Sites, kernel: int, dilation: int) -> object:
        nonlocal built
        built += 1
        return build(self, out, kernel, dilation)

    monkeypatch.setattr(Sites, "_build_map", counted)
    monkeypatch.setattr(stages.time, "perf_counter", lambda: float(built))
    model, scene = subject().build(), PreparedDataset(rooms, "val")[0]
    clock = StageClock(CPU)
    with torch.inference_mode(), detection_staged(model, clock):
        detect_scene(model, scene, generator_for(0))
    assert built > 10  # in the backbone and in the neck
    assert clock.seconds.pop("maps") == built
    assert set(clock.seconds.values()) == {0.0}
