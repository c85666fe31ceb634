"""The fused network against the trained one, on sites of free and of static shapes."""

import pytest
import torch

from sr3d.deploy.fused_network import FusedNetwork
from sr3d.detectors.outputs import anchors_of
from sr3d.detectors.tr3d.detector import TR3D
from sr3d.sparse import SparseTensor
from sr3d.sparse.sites import recorded
from sr3d.sparse.static import Grid, StaticSites
from tests.detectors.thin import clouds, thin_fcaf3d, thin_model


def eager(model: TR3D, x: SparseTensor) -> tuple[torch.Tensor, torch.Tensor]:
    _, reg, cls = zip(*model.levels(x), strict=True)
    return torch.cat(reg), torch.cat(cls)


def close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd"])
@pytest.mark.parametrize(("stem_pool", "stem_norm"), [(True, "batch"), (False, "instance")])
@torch.no_grad()
def test_free_shapes_of_a_batch(dataset: str, stem_pool: bool, stem_norm: str) -> None:
    model = thin_model(dataset, stem_pool=stem_pool, stem_norm=stem_norm)
    points = clouds(900, 1400)
    x = model.voxels(points, [p.abs() / 5 for p in points])
    wanted = eager(model, x)
    found = FusedNetwork(model)(x.features, x.sites)
    assert close(found.reg, wanted[0])
    assert close(found.scores, wanted[1].sigmoid())
    assert wanted[1].std() > 0.1  # the outputs differ from place to place, so that equality counts


@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd"])
@pytest.mark.parametrize("most", [100, 100_000])
@torch.no_grad()
def test_fcaf3d_of_a_batch(dataset: str, most: int) -> None:
    model = thin_fcaf3d(dataset, pts_prune=most)
    points = clouds(900, 300, 1400)
    x = model.voxels(points, [p.abs() / 5 for p in points])
    wanted = model(x)
    found = FusedNetwork(model)(x.features, x.sites)
    anchors, levels, _, scenes, _ = anchors_of(found.levels, model.config.voxel_size)
    assert torch.equal(anchors, wanted.anchors.positions)
    assert torch.equal(levels, wanted.anchors.levels)
    assert torch.equal(scenes, wanted.anchors.scenes)
    assert close(model.decode(anchors, found.reg), wanted.boxes)
    assert close(found.scores, wanted.scores)
    kept = scenes[levels == 0].bincount()
    assert kept.max() <= most
    assert (kept == most).any() == (most == 100)
    assert wanted.scores.std() > 0.2 * wanted.scores.mean()  # so that equality counts


@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd"])
@pytest.mark.parametrize("stem_norm", ["batch", "instance"])
@torch.no_grad()
def test_static_shapes_of_one_scene(dataset: str, stem_norm: str) -> None:
    model = thin_model(dataset, stem_norm=stem_norm)
    (points,) = clouds(1200)
    x = model.voxels([points], [points.abs() / 5])
    network = FusedNetwork(model)
    with recorded() as requests:
        levels = network(x.features, x.sites).levels
    wanted = eager(model, x)

    coords = x.sites.coords[:, 1:]
    extent = coords.amax(dim=0) - coords.amin(dim=0) + 1
    grid = Grid.holding(tuple(extent.tolist()), max(sites.stride for sites in requests))
    valid = torch.ones(len(coords), dtype=torch.bool)
    corner = grid.corner(coords, valid)
    capacities = [len(coords) + 100, *(len(sites) + 10 * i for i, sites in enumerate(requests))]
    voxels, first = StaticSites.padded(coords - corner, valid, grid, iter(capacities))
    colors = torch.cat([x.features, x.features.new_zeros(1, 3)])[first]
    found = network(colors, voxels)

    real = []
    for level, theirs in zip(found.levels, levels, strict=True):
        assert isinstance(level, StaticSites)
        assert not level.overflow
        assert torch.equal(level.places[: int(level.count)] + corner, theirs.coords[:, 1:])
        real.append(level.valid)
    rows = torch.cat(real)
    assert close(found.reg[rows], wanted[0])
    assert close(found.scores[rows], wanted[1].sigmoid())
