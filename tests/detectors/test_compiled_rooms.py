"""The inference runner on procedural rooms and odd scans, and how it goes on from scan to scan."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import point_table
from sr3d.deploy import compiled, static_pass
from sr3d.deploy.static_pass import StaticDetections, StaticPass
from sr3d.detectors.outputs import Detections
from tests.detectors.test_compiled import MODELS, Make, assert_same, capacity_for, run_static, scan
from tests.detectors.thin import thin_fcaf3d, thin_model


def room(seed: int, rotated: bool = False) -> torch.Tensor:
    return point_table(generate_room(seed, rotated=rotated, points=2500))


@MODELS
@pytest.mark.parametrize(("dataset", "rotated"), [("synthetic", False), ("sunrgbd", True)])
def test_rooms(dataset: str, rotated: bool, make: Make) -> None:
    model, points = make(dataset), room(3, rotated)
    wanted = model.detect(points)
    assert_same(model.compile().detect(points), wanted)
    capacity = capacity_for(model, points)
    for other in (points, room(4, rotated)[:2000]):
        found = run_static(model, capacity, other)
        assert not found.overflow
        assert_same(found.detections(), model.detect(other))


@pytest.mark.parametrize("most", [1, 60, 400, 100_000])
def test_pruning_to_so_many_cells(most: int) -> None:
    model, points = thin_fcaf3d("scannet", pts_prune=most), room(3)
    model.inference = replace(model.inference, nms_pre=100)
    x = model.voxels([points[:, :3]], [points[:, 3:]])
    sizes = [len(level.sites) for level, *_ in model.levels(x)]
    assert sizes[-1] > 1  # the coarsest is never pruned
    if most < 100_000:
        assert sizes[0] == most
    else:
        assert max(sizes) < most
    wanted = model.detect(points)
    found = run_static(model, capacity_for(model, points), points)
    assert not found.overflow
    for ours in (found.detections(), model.compile().detect(points)):
        assert_alike(ours, wanted)


@MODELS
@pytest.mark.parametrize("count", [1, 2, 5])
def test_next_to_nothing(count: int, make: Make) -> None:
    model, points = make("scannet"), scan()
    capacity = capacity_for(model, points)
    wanted = model.detect(points[:count], floor=0)
    found = run_static(model, capacity, points[:count])
    assert not found.overflow
    for ours in (found.detections(), model.compile().detect(points[:count], floor=0)):
        assert_alike(ours, wanted)


def assert_alike(ours: Detections, theirs: Detections) -> None:
    """As `assert_same`, of few boxes too, and of many, among which two scores may be as good as
    equal and come in either order.
    """
    assert len(theirs.labels) > 0
    a, b = (
        torch.cat([d.boxes, d.scores[:, None], d.labels[:, None]], dim=1) for d in (ours, theirs)
    )
    distance, partner = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
    assert torch.equal(partner.sort().values, torch.arange(len(theirs.labels)))
    assert distance.max() < 1e-3
    torch.testing.assert_close(ours.scores, theirs.scores, rtol=1e-4, atol=1e-4)


class Replayed:
    """In place of a CUDA graph: the pass itself, in buffers that keep what earlier scans left."""

    made: ClassVar[list["Replayed"]] = []

    def __init__(self, static: StaticPass, device: Any) -> None:
        self.capacity, self.static, self.calls = static.capacity, static, 0
        self.points, self.colors = torch.full((2, self.capacity.points, 3), 1e6)
        self.made.append(self)

    def __call__(self, points: torch.Tensor, colors: torch.Tensor) -> StaticDetections:
        self.calls += 1
        self.points[: len(points)], self.colors[: len(points)] = points, colors
        return self.static(self.points, self.colors, torch.tensor(len(points)))


@MODELS
def test_a_larger_scan_makes_room_for_those_to_come(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_RecordedPass", Replayed)
    monkeypatch.setattr(Replayed, "made", [])
    model = make("scannet")
    model.inference = replace(model.inference, nms_pre=100)
    runner = model.compile()
    runner.device = SimpleNamespace(type="cuda")  # type: ignore[assignment]
    far = scan(300)
    far[0, 0] += 40  # few cells, but out of the grid
    # scan, and (graphs recorded, replays of the last one) after it
    steps = [
        (scan(1200), (1, 0)),
        (scan(900), (1, 1)),
        (scan(4000), (2, 0)),  # too many points: not even tried
        (scan(3000), (2, 1)),
        (far, (3, 0)),
        (scan(1200), (3, 1)),
        (scan(4000), (3, 2)),
        (far, (3, 3)),
    ]
    for points, after in steps:
        found = runner.detect_points(points[:, :3], points[:, 3:])
        assert (len(Replayed.made), Replayed.made[-1].calls) == after
        assert_same(found, model.detect(points, floor=0))
    assert Replayed.made[1].calls == 2  # the far scan was tried there, and did not fit


def test_a_scan_whose_nms_is_not_settled_records_nothing_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiled, "_RecordedPass", Replayed)
    monkeypatch.setattr(Replayed, "made", [])
    monkeypatch.setattr(static_pass, "_NMS_ROUNDS", 1)
    model, points = thin_model("scannet"), scan()
    runner = model.compile()
    runner.device = SimpleNamespace(type="cuda")  # type: ignore[assignment]
    for _ in range(3):
        assert_same(
            runner.detect_points(points[:, :3], points[:, 3:]), model.detect(points, floor=0)
        )
    (only,) = Replayed.made
    assert only.calls == 2
