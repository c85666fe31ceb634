"""The folded network against the trained one, on maps of free and of fixed shapes."""

import pytest
import torch

from sr3d.models.folded import FoldedTR3D
from sr3d.models.maps import coarsest_stride, fixed_maps, free_maps
from sr3d.models.tr3d import TR3D
from sr3d.sparse import SparseTensor
from sr3d.sparse.static import Grid, StaticSites
from tests.models.thin import clouds, thin_model


def eager(model: TR3D, x: SparseTensor) -> tuple[torch.Tensor, torch.Tensor]:
    _, reg, cls = zip(*model.levels(x), strict=True)
    return torch.cat(reg), torch.cat(cls)


def folded(model: TR3D) -> FoldedTR3D:
    return FoldedTR3D(model.backbone, model.neck, model.bbox_head)


def close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd"])
@pytest.mark.parametrize("stem_pool", [True, False])
@torch.no_grad()
def test_free_maps_of_a_batch(dataset: str, stem_pool: bool) -> None:
    model = thin_model(dataset, stem_pool=stem_pool)
    points = clouds(900, 1400)
    x = model.voxels(points, [p.abs() / 5 for p in points])
    wanted = eager(model, x)
    reg, cls = folded(model)(x.features, free_maps(x.sites, model.config))
    assert close(reg, wanted[0])
    assert close(cls, wanted[1])
    assert wanted[1].std() > 0.1  # the outputs differ from place to place, so that equality counts


@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd"])
@torch.no_grad()
def test_fixed_maps_of_one_scene(dataset: str) -> None:
    model = thin_model(dataset)
    (points,) = clouds(1200)
    x = model.voxels([points], [points.abs() / 5])
    free = free_maps(x.sites, model.config)
    wanted = eager(model, x)

    stride = coarsest_stride(model.config)
    coords = x.sites.coords[:, 1:]
    extent = coords.amax(dim=0) - coords.amin(dim=0) + 1
    grid = Grid.holding(tuple(extent.tolist()), stride)
    valid = torch.ones(len(coords), dtype=torch.bool)
    corner = grid.corner(coords, valid)
    voxels, first = StaticSites.unique(coords - corner, valid, 1, grid, len(coords) + 100)
    capacities = [len(sites) + 10 * i for i, sites in enumerate(free.sites)]
    maps = fixed_maps(voxels, model.config, capacities)
    colors = torch.cat([x.features, x.features.new_zeros(1, 3)])[first]
    reg, cls = folded(model)(colors, maps)

    assert not maps.levels[0].overflow
    sites = [level.coords[: int(level.count)] + corner for level in maps.levels]
    for ours, theirs in zip(sites, free.levels, strict=True):
        assert torch.equal(ours, theirs.coords[:, 1:])
    real = torch.cat([level.valid for level in maps.levels])
    assert close(reg[real], wanted[0])
    assert close(cls[real], wanted[1])


def test_an_instance_norm_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="instance norm"):
        folded(thin_model("scannet", stem_norm="instance"))
