"""The compiled detector, and the pass that a CUDA graph records, against the eager one."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sr3d.deploy.compiled import _RecordedPass
from sr3d.deploy.static_pass import Capacity, StaticDetections
from sr3d.detectors.common.sparse_config import SparseModelConfig
from sr3d.detectors.common.sparse_detector import SparseDetector
from sr3d.detectors.outputs import Detections
from sr3d.errors import InputError
from sr3d.sparse.static import Grid
from tests.detectors.thin import clouds, thin_fcaf3d, thin_model

DATASETS = ["scannet", "sunrgbd"]
MODELS = pytest.mark.parametrize("make", [thin_model, thin_fcaf3d])
Make = Callable[[str], SparseDetector[Any]]


def scan(n: int = 1200) -> torch.Tensor:
    (points,) = clouds(n)
    return torch.cat([points, points.abs() / 5], dim=1)


def capacity_for(model: SparseDetector[Any], points: torch.Tensor) -> Capacity:
    return model.compile().capacity_like(points[:, :3], points[:, 3:])


def run_static(
    model: SparseDetector[Any], capacity: Capacity, points: torch.Tensor
) -> StaticDetections:
    """The static pass on a padded scan; the padding must not matter."""
    padded = torch.full((capacity.points, 6), 77.0)
    padded[: len(points)] = points
    static = model.compile().static_pass(capacity)
    return static(padded[:, :3], padded[:, 3:], torch.tensor(len(points)))


def assert_same(ours: Detections, theirs: Detections) -> None:
    assert len(theirs.labels) > 20
    assert torch.equal(ours.labels, theirs.labels)
    assert torch.allclose(ours.scores, theirs.scores, rtol=1e-4, atol=1e-4)
    assert torch.allclose(ours.boxes, theirs.boxes, rtol=1e-4, atol=1e-4)


@MODELS
@pytest.mark.parametrize("dataset", DATASETS)
def test_compiled_finds_what_eager_finds(dataset: str, make: Make) -> None:
    model, points = make(dataset), scan()
    assert_same(model.compile().detect(points), model.detect(points))


@MODELS
@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("nms_pre", [50, 400])
def test_the_static_pass_finds_what_eager_finds(dataset: str, nms_pre: int, make: Make) -> None:
    model, points = make(dataset), scan()
    model.inference = replace(model.inference, nms_pre=nms_pre)
    found = run_static(model, capacity_for(model, points), points)
    assert not found.overflow
    assert_same(found.detections(), model.detect(points, floor=0))


@MODELS
def test_one_capacity_serves_scans_of_other_sizes_and_places(make: Make) -> None:
    model, points = make("scannet"), scan()
    capacity = capacity_for(model, points)
    for other in (points[:900], points[300:] + torch.tensor([13.0, -7.0, 2.0, 0, 0, 0])):
        found = run_static(model, capacity, other)
        assert not found.overflow
        assert_same(found.detections(), model.detect(other, floor=0))


@MODELS
def test_a_scan_that_does_not_fit_says_so_at_every_level(make: Make) -> None:
    model, points = make("scannet"), scan()
    capacity = capacity_for(model, points)
    unnoticed = []
    for level in range(len(capacity.rows)):
        rows = list(capacity.rows)
        rows[level] = 5
        if not run_static(model, replace(capacity, rows=tuple(rows)), points).overflow:
            unnoticed.append(level)
    # Each stage's shortcut asks for the cells of its convolution once more.
    assert isinstance(model.config, SparseModelConfig)
    assert len(unnoticed) == len(model.config.planes)
    assert run_static(model, replace(capacity, boxes=5), points).overflow
    small = Grid.holding((20, 20, 20), capacity.grid.coarsest)
    assert run_static(model, replace(capacity, grid=small), points).overflow


def test_capacities_join() -> None:
    grid = Grid((64, 128, 64), 64)
    a, b = Capacity(100, (1, 20), 5, grid), Capacity(50, (3, 10), 7, Grid((128, 64, 64), 64))
    assert a.joined(b) == Capacity(100, (3, 20), 7, Grid((128, 128, 64), 64))


@MODELS
def test_half_precision_keeps_boxes_in_single(make: Make) -> None:
    model, points = make("scannet"), scan()
    found = model.compile(torch.bfloat16).detect(points)
    assert found.boxes.dtype == found.scores.dtype == torch.float32
    eager = model.detect(points)
    assert found.scores.max() == pytest.approx(float(eager.scores.max()), abs=0.05)


def test_bad_scans_are_refused() -> None:
    with pytest.raises(InputError, match="empty"):
        thin_model("scannet").compile().detect(torch.zeros(0, 6))


class NoGraph:
    """In place of a CUDA graph: records nothing, replays nothing."""

    def replay(self) -> None: ...


def test_a_graph_recorded_in_inference_mode_is_replayed_outside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(*_: object) -> nullcontext[None]:
        return nullcontext()

    stream = SimpleNamespace(wait_stream=nothing)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: stream)
    monkeypatch.setattr(torch.cuda, "stream", nothing)
    monkeypatch.setattr(torch.cuda, "graph", nothing)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", NoGraph)

    class Fixed:
        capacity = Capacity(8, (8,), 8, Grid((64, 64, 64), 64))

        def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return inputs

    with torch.inference_mode():
        recorded: Any = _RecordedPass(Fixed(), torch.device("cpu"))  # type: ignore[arg-type]
    cloud = torch.rand(2, 5, 3)
    points, colors, count = recorded(*cloud)
    assert torch.equal(torch.stack([points[:5], colors[:5]]), cloud)
    assert int(count) == 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@MODELS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_recorded_graph_finds_what_eager_finds(dtype: torch.dtype, make: Make) -> None:
    model = make("scannet").cuda()
    compiled = model.compile(dtype)
    sizes = [1200, 900, 1200, 4000, 3000]  # the fourth does not fit and makes room
    for n in sizes:
        points = scan(n).cuda()
        found, eager = compiled.detect(points), model.detect(points)
        if dtype is torch.float32:
            assert_same(found, eager)
        else:
            assert found.scores.max() == pytest.approx(float(eager.scores.max()), abs=0.02)
