"""Whole networks on MinkowskiEngine against the same on ours: outputs, losses, every gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sr3d.config import Config
from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors import build_detector
from sr3d.detectors.base import Detector
from sr3d.detectors.configuration import default_config, with_overrides
from tests.detectors.golden.comparing import Golden
from tests.detectors.golden.tr3d import golden_model
from tests.detectors.thin import clouds
from tests.shared_data import shared
from tests.sparse.conformance.engines import assert_close, by_cell, needs_minkowski

THIN = [
    "model.voxel_size=0.1",
    "model.stem_channels=8",
    "model.neck_channels=16",
]
TR3D = [*THIN, "model.planes=[8,8,16,16]", "model.blocks=[2,1,2,1]"]
FCAF3D = [*THIN, "model.planes=[8,8,16]", "model.blocks=[1,2,1]", "model.pts_prune=150"]
TOLERANCE, EXACT = 1e-4, 1e-6  # of single and of double precision; some targets stay single
NETWORKS = {
    "SR3D": TR3D,
    "SR3D with a larger stem": [*TR3D, "model.stem_stride=2", "model.stem_pool=true"],
    "TR3D": ["model=tr3d", "assigner.name=tr3d", "loss.cls=focal", *TR3D],
    "FCAF3D": ["model=fcaf3d", *FCAF3D, "assigner.fcaf3d_limit=2"],
}


@pytest.fixture(autouse=True)
def _minkowski() -> None:
    needs_minkowski()


def pair(config: Config) -> tuple[Detector[Any, Any], Detector[Any, Any]]:
    """The same network, with the same weights, on our engine and on MinkowskiEngine."""
    torch.manual_seed(0)
    native = build_detector(config)
    for module in native.modules():
        if isinstance(module, torch.nn.BatchNorm1d):  # as after training: no statistic is trivial
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.3, 2)
    other = build_detector(with_overrides(config, ["model.engine=minkowski"]))
    other.load_state_dict(native.state_dict())
    return native, other


def points() -> tuple[list[Tensor], list[Tensor]]:
    """Four scenes on both sides of the origin: one is a single point, one is empty."""
    xyz = clouds(700, 1, 0, 400)
    generator = torch.Generator().manual_seed(2)
    return xyz, [torch.rand(p.shape, generator=generator) for p in xyz]


def truth(rotated: bool) -> GroundTruth:
    generator = torch.Generator().manual_seed(5)
    boxes = torch.rand(12, 7, generator=generator) * torch.tensor([4.0, 3, 1.5, 1, 1, 1, 3])
    boxes += torch.tensor([-2.0, -2, -2, 0.5, 0.5, 0.5, 0])
    boxes[:, 6] *= rotated
    labels = torch.randint(4, (12,), generator=generator)
    parts = [slice(0, 6), slice(6, 7), slice(7, 7), slice(7, 12)]
    return GroundTruth.collate([boxes[p] for p in parts], [labels[p] for p in parts])


def outputs(model: Detector[Any, Any]) -> list[tuple[Tensor, ...]]:
    """Of every level: coordinates and raw outputs, by cell."""
    levels = model.levels(model.voxels(*points()))  # type: ignore[operator]
    return [by_cell(level.sites.coords, *raw) for level, *raw in levels]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dataset", ["synthetic", "synthetic_rotated"])
@pytest.mark.parametrize("network", NETWORKS)
def test_outputs(network: str, dataset: str, training: bool) -> None:
    native, other = pair(with_overrides(default_config(dataset), NETWORKS[network]))
    with torch.no_grad():
        one, two = outputs(native.train(training)), outputs(other.train(training))
    assert len(one) == len(two)
    for expected, found in zip(one, two, strict=True):
        assert torch.equal(expected[0], found[0])
        for a, b in zip(expected[1:], found[1:], strict=True):
            assert_close(b, a, TOLERANCE)


@pytest.mark.parametrize("dataset", ["synthetic", "synthetic_rotated"])
@pytest.mark.parametrize("network", NETWORKS)
def test_losses_and_gradients_of_every_parameter(network: str, dataset: str) -> None:
    # In double precision: rounding that moves one number across ReLU's kink would be seen.
    xyz, colors = points()
    pictures = []
    for model in pair(with_overrides(default_config(dataset), NETWORKS[network])):
        model.double().train()
        x = model.voxels(xyz, [c.double() for c in colors])  # type: ignore[operator]
        terms = model.loss(model(x), truth(model.dataset.rotated))
        terms.total.backward()
        pictures.append((terms, dict(model.named_parameters())))
    (expected, weights), (found, others) = pictures
    assert expected.curves["positives"] == found.curves["positives"] > 0
    for name, term in expected.terms.items():
        assert_close(found.terms[name], term, EXACT, name)
    for name, weight in weights.items():
        assert weight.grad is not None
        other = others[name].grad
        assert other is not None
        assert_close(other, weight.grad, EXACT, name)


def test_the_full_network_on_a_real_scan_equals_the_golden() -> None:
    reference = Golden(shared("golden/tr3d_minkowski_scene0000_00.npz"))
    model = build_detector(with_overrides(default_config("scannet"), ["model.engine=minkowski"]))
    model.load_state_dict(golden_model().state_dict())
    for i, level in enumerate(model.raw_outputs(reference["points"])):
        coords, reg, cls = by_cell(level.coords, level.reg, level.cls)
        assert torch.equal(coords, torch.from_numpy(reference[f"coords{i}"]))
        assert_close(reg, torch.from_numpy(reference[f"reg{i}"]), 1e-5)
        assert_close(cls, torch.from_numpy(reference[f"cls{i}"]), 1e-5)
