"""MinkowskiEngine in trainings and tests; what is refused, and what is freed."""

from __future__ import annotations

import gc
import weakref
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sr3d.cli.doctor import examine
from sr3d.config import Config
from sr3d.detectors import build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.tr3d.detector import TR3D
from sr3d.errors import InputError, Kind
from sr3d.runs.pretrained import PRETRAINED
from sr3d.runs.record import RunRecord, read_metrics
from sr3d.sparse import Sites, SparseTensor, minkowski
from sr3d.sparse.minkowski import MinkowskiSites
from sr3d.train.loop import TrainingJob
from sr3d.train.training import train
from tests.evaluating import evaluate
from tests.refusals import refuses
from tests.sparse.brute_force import random_coords
from tests.sparse.conformance.engines import needs_minkowski

ON_MINKOWSKI = "model.engine=minkowski"
TINY = [
    "model.voxel_size=0.1",
    "model.stem_channels=8",
    "model.planes=[8,8,8,8]",
    "model.neck_channels=8",
    "train.epochs=1",
    "train.milestones=[]",
    "train.batch_size=2",
    "train.repeat=2",
    "train.warmup_start_lr=1e-3",
    "test.voxel_pick=first",
    "test.sample_count=3000",
]


def tiny(*overrides: str) -> Config:
    return with_overrides(default_config("synthetic"), [*TINY, *overrides])


@pytest.fixture(scope="module")
def trained(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trainings alike, but for the engine."""
    needs_minkowski()
    out = tmp_path_factory.mktemp("trained")
    for name in ("native", "minkowski"):
        config = tiny(f"model.engine={name}")
        train(TrainingJob(config, [*TINY, f"model.engine={name}"], rooms, out / name, "sr3d", 0))
    return out


def test_a_training_has_the_same_curve(trained: Path) -> None:
    curves = (read_metrics(trained / name / "metrics.jsonl") for name in ("native", "minkowski"))
    native, other = curves
    assert len(native) == len(other) == 6
    for one, two in zip(native, other, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-3)
        assert one["positives"] == two["positives"]


def both_engines(run: Path, rooms: Path, out: Path) -> tuple[RunRecord, RunRecord]:
    """One test under either engine."""
    found = []
    for name in ("native", "minkowski"):
        own = ["test.voxel_pick=first", f"model.engine={name}"]
        found.append(evaluate(run, rooms, out / name, 0, setting=name, overrides=own))
        assert found[-1].engine == found[-1].config["model"]["engine"] == name
    return found[0], found[1]


@pytest.mark.parametrize("trained_with", ["native", "minkowski"])
def test_a_training_is_tested_with_either_engine(
    trained: Path, rooms: Path, tmp_path: Path, trained_with: str
) -> None:
    one, two = both_engines(trained / trained_with, rooms, tmp_path)
    assert one.metrics["detections"] == two.metrics["detections"] > 0
    assert one.metrics["PCE"] == pytest.approx(two.metrics["PCE"], abs=1e-6)


def test_a_model_that_has_learnt_finds_the_same(rooms: Path, tmp_path: Path) -> None:
    needs_minkowski()
    one, two = both_engines(PRETRAINED / "sr3d_rooms", rooms, tmp_path)
    assert one.metrics["AP25"] > 20
    for metric in ("AP25", "AP50"):
        assert one.metrics[metric] == pytest.approx(two.metrics[metric], abs=0.1)


def test_the_same_seed_gives_the_same_bits(rooms: Path, trained: Path, tmp_path: Path) -> None:
    train(TrainingJob(tiny(ON_MINKOWSKI), [*TINY, ON_MINKOWSKI], rooms, tmp_path, "sr3d", 0))
    one, two = (load_file(f / "model.safetensors") for f in (trained / "minkowski", tmp_path))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_all_that_a_batch_made_is_freed_with_it() -> None:
    needs_minkowski()
    model = build_detector(tiny(ON_MINKOWSKI, "model=fcaf3d", "model.engine=minkowski"))
    points = torch.rand(300, 6)
    gc.disable()  # nothing may wait for it
    try:
        x = model.voxels([points[:, :3]], [points[:, 3:]])  # type: ignore[operator]
        assert isinstance(x.sites, MinkowskiSites)
        manager = weakref.ref(x.sites.manager)
        levels = model.levels(x)  # type: ignore[operator]
        sum(level[1].sum() for level in levels).backward()
        del x, levels
        assert manager() is None
    finally:
        gc.enable()


def test_a_map_tells_its_pairs() -> None:
    needs_minkowski()
    coords = random_coords(80, 2, -4, 5, seed=1)
    ours, theirs = (kind.from_coords(coords) for kind in (Sites, MinkowskiSites))

    def pairs(sites: Sites, transpose: bool) -> tuple[tuple[int, ...], set[tuple[object, ...]]]:
        out = sites.strided(2)
        found, ends = sites.kernel_map(out, 3), [sites.coords, out.coords]
        if transpose:
            found, ends = found.transposed(), ends[::-1]
        rows = zip(found.in_rows, found.out_rows, strict=True)
        return found.sizes, {(*ends[0][i].tolist(), *ends[1][o].tolist()) for i, o in rows}

    for transpose in (False, True):
        assert pairs(ours, transpose) == pairs(theirs, transpose)


def test_scenes_are_told_apart_in_any_order() -> None:
    needs_minkowski()
    coords = random_coords(90, 3, -4, 5, seed=2)
    features = coords[:, :1].float() * 1000 + torch.arange(len(coords))[:, None]
    sites, order = MinkowskiSites.unique(coords, batch_size=4)
    scenes = SparseTensor(features[order], sites).scenes()
    assert [len(s) for s in scenes] == sites.counts
    assert [int(s[0, 0]) // 1000 for s in scenes[:3]] == [0, 1, 2]
    native, order = Sites.unique(coords, batch_size=4)
    for one, two in zip(SparseTensor(features[order], native).scenes(), scenes, strict=True):
        assert torch.equal(one, two)


def test_no_cell_at_all_is_refused() -> None:
    needs_minkowski()
    with refuses(Kind.EMPTY, field="model.engine", mentions=["model.engine=native"]):
        MinkowskiSites.unique(torch.zeros(0, 4, dtype=torch.int32), batch_size=2)


def test_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minkowski, "find_spec", lambda name: None)
    minkowski._library.cache_clear()
    remedies = ["--set model.engine=native", "envs/openmmlab.sh"]
    with refuses(Kind.MISSING, field="model.engine=minkowski", mentions=remedies):
        build_detector(tiny(ON_MINKOWSKI)).detect(torch.rand(50, 6))
    minkowski._library.cache_clear()


def test_what_the_engine_cannot_do() -> None:
    with refuses(Kind.VALUE, field="train.precision", mentions=["fp32", "model.engine"]):
        tiny(ON_MINKOWSKI, "train.precision=bf16")
    model = build_detector(tiny(ON_MINKOWSKI))
    assert isinstance(model, TR3D)
    with pytest.raises(InputError) as caught:
        model.compile()
    assert (caught.value.field, caught.value.kind) == ("model.engine", Kind.CONFLICT)


def test_doctor_tells_whether_it_is_there() -> None:
    found = examine({})
    if find_spec("MinkowskiEngine") is None:
        assert "envs/openmmlab.sh" in found["MinkowskiEngine"]
    else:
        assert found["MinkowskiEngine works"].startswith("yes")
