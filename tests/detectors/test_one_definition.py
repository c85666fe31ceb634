"""A detector whose neck has further layers: nothing but the neck is written, and all else follows.

The layers are of kinds, and in an order, that TR3D's own neck does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene
from sr3d.deploy import compiled
from sr3d.detectors.outputs import Detections
from sr3d.detectors.tr3d.detector import TR3D
from sr3d.detectors.tr3d.network import TR3DNeck
from sr3d.errors import InputError, Kind
from sr3d.interop.exporting import PortableDetector, capacity_like, export_detector
from sr3d.sparse import SparseTensor
from sr3d.sparse.nn import (
    SparseBatchNorm,
    SparseConv,
    SparseConvTranspose,
    SparseELU,
    SparseInstanceNorm,
    SparsePool,
    SparseReLU,
)
from sr3d.train.step import batch_losses
from tests.family_configs import tr3d_config


class Deeper(nn.Module):
    """One more convolution, with an activation before the norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            SparseConv(channels, channels, bias=True), SparseELU(), SparseBatchNorm(channels)
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        more: SparseTensor = self.layers(x)
        return x + more


class Context(nn.Module):
    """Pooled features and a 1³ convolution, back on the cells and beyond by a transposed one."""

    def __init__(self, channels: int, pool: str) -> None:
        super().__init__()
        self.pool = SparsePool(pool, kernel=2, stride=2)  # type: ignore[arg-type]
        self.mix = nn.Sequential(
            SparseConv(channels, channels, kernel=1), SparseBatchNorm(channels), SparseELU()
        )
        self.up = SparseConvTranspose(channels, channels, kernel=2, stride=2)
        self.norm, self.relu = SparseInstanceNorm(channels), SparseReLU()

    def forward(self, x: SparseTensor) -> SparseTensor:
        mixed: SparseTensor = self.mix(self.pool(x))
        up: SparseTensor = self.up(mixed, x.sites)
        normed: SparseTensor = self.norm(up)
        activated: SparseTensor = self.relu(normed + x)
        return activated


class Twice(nn.Module):
    """One convolution, applied twice, whose output is used with its norm and without."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = SparseConv(channels, channels), SparseBatchNorm(channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        once: SparseTensor = self.conv(x)
        normed: SparseTensor = self.norm(once)
        again: SparseTensor = self.conv(normed)
        return (normed + once) + again


class ToyNeck(TR3DNeck):
    def forward(self, stages: list[SparseTensor]) -> list[SparseTensor]:
        fine, coarse = super().forward(stages)
        return [self.get_submodule("extra")(fine), coarse]


LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "deeper": Deeper,
    "max": lambda channels: Context(channels, "max"),
    "average": lambda channels: Context(channels, "average"),
    "twice": Twice,
}
EACH = pytest.mark.parametrize("kind", LAYERS)


def toy(kind: str) -> TR3D:
    config = tr3d_config("synthetic")
    thin = replace(config.model, stem_channels=8, planes=(8, 8, 8, 8), blocks=(1, 1, 1, 1),
                   neck_channels=8)  # fmt: skip
    torch.manual_seed(0)
    model = TR3D(replace(config, model=thin))
    model.neck = ToyNeck(thin)
    model.neck.add_module("extra", LAYERS[kind](8))
    for name, deviation in (("conv_reg", 0.1), ("conv_cls", 0.5)):
        model.bbox_head.get_parameter(f"{name}.kernel").data.normal_(std=deviation)
    return model


def trained(kind: str) -> TR3D:
    model = toy(kind).train()
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    before = {name: value.clone() for name, value in model.neck.named_parameters()}
    batch_losses(model, [generate_room(seed, points=1500) for seed in (1, 2)]).total.backward()
    optimizer.step()
    assert all(not value.equal(before[name]) for name, value in model.neck.named_parameters())
    return model.eval()


def room() -> Scene:
    return generate_room(3, points=1500)


def assert_alike(ours: Detections, theirs: Detections) -> None:
    assert len(theirs.labels) > 3
    assert len(ours.labels) == len(theirs.labels)
    tables = [
        torch.cat([d.labels[:, None], d.scores[:, None], d.boxes], dim=1) for d in (ours, theirs)
    ]
    distance, partner = torch.cdist(*tables).min(dim=1)  # type: ignore[arg-type]
    assert distance.max() < 1e-2
    assert torch.equal(partner.sort().values, torch.arange(len(theirs.labels)))


@EACH
def test_it_trains_compiles_and_runs_in_static_shapes(kind: str) -> None:
    model, scene = trained(kind), room()
    wanted = model.detect(scene.points, scene.colors, floor=0)
    assert_alike(model.compile().detect(scene.points, scene.colors, floor=0), wanted)
    room_for = capacity_like(model, scene.points, scene.colors)
    padding = torch.zeros(room_for.points - len(scene.points), 3)
    inputs = (
        torch.cat([scene.points, padding]),
        torch.cat([scene.colors, padding]),
        torch.tensor(len(scene.points)),
    )
    static = model.compile().static_pass(room_for)(*inputs)
    assert not static.overflow
    assert_alike(static.detections(), wanted)
    boxes, scores, keep, overflow = PortableDetector(model, room_for)(*inputs)
    assert not overflow
    assert torch.equal(keep, static.keep)
    torch.testing.assert_close(scores, static.scores, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(boxes, static.boxes, rtol=1e-3, atol=1e-3)


class Mean(nn.Module):
    """Adds the mean over all cells of a scene to each cell."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), 0.5))

    def forward(self, x: SparseTensor) -> SparseTensor:
        return x.computed(lambda features: features + self.scale * features.mean(dim=0))


def test_a_layer_that_mixes_rows_is_kept_from_static_shapes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(LAYERS, "mean", Mean)
    model, scene = toy("mean").eval(), room()
    wanted = model.detect(scene.points, scene.colors, floor=0)
    runner = model.compile()
    assert_alike(runner.detect(scene.points, scene.colors, floor=0), wanted)
    room_for = capacity_like(model, scene.points, scene.colors)
    for make in (lambda: runner.static_pass(room_for), lambda: export_detector(model, room_for)):
        with pytest.raises(InputError) as error:
            make()
        assert error.value.kind == Kind.CONFLICT
    runner.device = SimpleNamespace(type="cuda")  # type: ignore[assignment]
    monkeypatch.setattr(compiled, "engine_on", lambda device: "triton")
    for _ in range(2):  # without a graph, with one warning
        assert_alike(runner.detect_points(scene.points, scene.colors), wanted)
    assert len(caplog.records) == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["max", "average"])
def test_it_exports(kind: str, tmp_path: Path) -> None:
    model, scene = trained(kind), room()
    room_for = capacity_like(model, scene.points, scene.colors)
    torch.export.save(export_detector(model, room_for), tmp_path / "detector.pt2")
    padding = torch.zeros(room_for.points - len(scene.points), 3)
    inputs = (
        torch.cat([scene.points, padding]),
        torch.cat([scene.colors, padding]),
        torch.tensor(len(scene.points)),
    )
    found = torch.export.load(tmp_path / "detector.pt2").module()(*inputs)
    wanted = PortableDetector(model, room_for)(*inputs)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
