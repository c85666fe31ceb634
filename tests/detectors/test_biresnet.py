from typing import Any

import pytest
import torch

from sr3d.detectors.common.biresnet import OUT_STRIDE, BiResNet, BiResNetWidths
from sr3d.sparse import Sites, SparseTensor
from sr3d.sparse.tensor import PlannedTensor, plan
from tests.detectors.golden.weights import shapes_in, shapes_of
from tests.shared_data import shared
from tests.sparse.brute_force import random_coords

THIN = BiResNetWidths(stem=4, high=6, layer3=5, layer4=7, layer5=3, context=4, out=5)


def cells(scenes: int = 2, n: int = 300, seed: int = 0) -> Sites:
    return Sites.from_coords(random_coords(n, scenes, -20, 20, seed), batch_size=scenes)


@pytest.mark.parametrize("blocks", [1, 2])
def test_the_output_lies_on_the_cells_of_stride_2(blocks: int) -> None:
    sites = cells()
    net = BiResNet(THIN, blocks=blocks)
    y = net(SparseTensor(torch.rand(len(sites), 3), sites))
    assert y.sites is sites.strided(OUT_STRIDE)
    assert y.features.shape == (len(y.sites), THIN.out)
    y.features.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_planning_finds_every_set_of_cells_and_computes_nothing() -> None:
    sites, net = cells(), BiResNet(THIN)
    plan(net, sites)
    assert isinstance(net(PlannedTensor(sites)), PlannedTensor)
    y = net(SparseTensor(torch.rand(len(sites), 3), sites))
    assert sum(y.sites.counts) == len(y.sites)


def test_a_scene_does_not_change_another() -> None:
    both, net = cells(), BiResNet(THIN).double().eval()
    x = torch.rand(len(both), 3, dtype=torch.float64)
    whole = net(SparseTensor(x, both)).scenes()
    for scene, expected in enumerate(whole):
        own = both.coords[:, 0] == scene
        alone = Sites.from_coords(both.coords[own] * torch.tensor([0, 1, 1, 1]))
        found = net(SparseTensor(x[own], alone)).features
        assert torch.allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2])
def test_few_cells(n: int) -> None:
    sites = cells(scenes=1, n=n)
    y = BiResNet(THIN).train()(SparseTensor(torch.rand(len(sites), 3), sites))
    assert y.features.isfinite().all()


@pytest.mark.parametrize(
    ("family", "prefix", "widths"),
    [
        ("spgroup3d", "backbone.", {}),
        ("cagroup3d", "backbone_3d.", dict(layer3=256, layer4=512, layer5=512)),
    ],
)
def test_weights_have_the_published_names_and_shapes(
    family: str, prefix: str, widths: dict[str, Any]
) -> None:
    published = shapes_in(shared(f"golden/{family}_keys.txt"))
    own = {
        name.removeprefix(prefix): shape
        for name, shape in published.items()
        if name.startswith(prefix)
    }
    with torch.device("meta"):
        assert shapes_of(BiResNet(BiResNetWidths(**widths)).state_dict()) == own
