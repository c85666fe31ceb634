import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sr3d.sparse import Sites, SparseTensor
from tests.sparse.brute_force import cells, random_coords


def brute_force(x: SparseTensor, sites: Sites) -> Tensor:
    """Every corner of every coordinate by itself, in a dictionary of cells."""
    row = {cell: i for i, cell in enumerate(cells(x.sites.coords))}
    stride = x.sites.stride
    result = x.features.new_zeros(len(sites), x.features.shape[1])
    for i, (batch, *position) in enumerate(cells(sites.coords)):
        for step in itertools.product((0, 1), repeat=3):
            corner = [(p // stride + s) * stride for p, s in zip(position, step, strict=True)]
            weight = 1.0
            for p, c in zip(position, corner, strict=True):
                weight *= 1 - abs(p - c) / stride
            at = (batch, corner[0], corner[1], corner[2])
            if at in row:
                result[i] += weight * x.features[row[at]]
    return result


def coarse(seed: int, stride: int, n: int = 60) -> SparseTensor:
    coords = random_coords(n, 2, -4, 5, seed, stride=stride)
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(len(coords), 3, generator=g, dtype=torch.float64)
    sites = Sites.from_coords(coords, stride=stride, batch_size=2)
    return SparseTensor(features, sites)


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 200),
    stride=st.sampled_from([2, 4, 16]),
    finer=st.sampled_from([1, 2, 4]),
)
@settings(deadline=None, max_examples=60)
def test_equals_brute_force(seed: int, n: int, stride: int, finer: int) -> None:
    x = coarse(seed, stride, n)
    fine = max(1, stride // finer)
    reach = 6 * stride // fine  # some coordinates lie outside all cells
    queries = Sites.from_coords(random_coords(50, 2, -reach, reach, seed + 1, stride=fine))
    assert torch.allclose(x.at(queries), brute_force(x, queries), atol=1e-12)


def test_by_hand() -> None:
    # Two cells of stride 2 side by side along x, worth 8 and 4.
    x = SparseTensor(
        torch.tensor([[8.0], [4.0]]),
        Sites.from_coords(torch.tensor([[0, 0, 0, 0], [0, 2, 0, 0]]), 2),
    )
    at = torch.tensor(
        [
            [0, 0, 0, 0],  # on the first
            [0, 1, 0, 0],  # halfway
            [0, 1, 1, 0],  # halfway, and half away from both along y: the missing ones count zero
            [0, 3, 0, 0],  # half of the second, nothing beyond
            [0, -1, 0, 0],
            [0, -2, 0, 0],
        ]
    )
    sites, order = Sites.unique(at)
    expected = torch.tensor([8.0, 6, 3, 2, 4, 0])[order]
    assert torch.equal(x.at(sites)[:, 0], expected)


def test_on_its_own_sites_nothing_changes() -> None:
    x = coarse(3, stride=4)
    assert torch.equal(x.at(x.sites), x.features)


def test_scenes_do_not_mix() -> None:
    x = SparseTensor(torch.ones(1, 1), Sites.from_coords(torch.tensor([[0, 0, 0, 0]]), 2, 2))
    both = Sites.from_coords(torch.tensor([[0, 0, 0, 0], [1, 0, 0, 0]]))
    assert x.at(both)[:, 0].tolist() == [1, 0]


def test_a_constant_is_kept_where_all_corners_exist() -> None:
    block = torch.tensor([[0, *c] for c in itertools.product(range(-4, 5, 2), repeat=3)])
    x = SparseTensor(torch.full((len(block), 1), 7.0), Sites.from_coords(block, 2))
    inner = torch.tensor([[0, *c] for c in itertools.product(range(-4, 5), repeat=3)])
    assert torch.equal(x.at(Sites.from_coords(inner)), torch.full((9**3, 1), 7.0))


@pytest.mark.parametrize("empty", ["cells", "queries"])
def test_nothing_gives_zeros(empty: str) -> None:
    none = Sites(torch.zeros(0, 4, dtype=torch.int32), 2, 2)
    x = coarse(1, 2)
    if empty == "cells":
        assert not SparseTensor(torch.zeros(0, 3), none).at(x.sites).any()
    else:
        assert x.at(none).shape == (0, 3)


def test_gradients() -> None:
    x = coarse(5, 2, n=12)
    queries = Sites.from_coords(random_coords(15, 2, -8, 9, seed=6), batch_size=2)
    features = x.features.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: x.replace(f).at(queries), (features,))
