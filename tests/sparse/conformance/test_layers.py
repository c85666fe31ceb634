"""Every layer on every engine: values and gradients against a literal reference, cell by cell.

A batch holds a scene on both sides of the origin, one of a single cell, an empty one, and another.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sr3d.sparse import SparseTensor
from sr3d.sparse.averaging import averaged
from sr3d.sparse.nn import (
    SparseBatchNorm,
    SparseConv,
    SparseConvTranspose,
    SparseInstanceNorm,
    SparsePool,
)
from tests.sparse import brute_force
from tests.sparse.brute_force import cells, random_coords
from tests.sparse.conformance import reference
from tests.sparse.conformance.engines import Engine, assert_close, by_cell
from tests.sparse.conformance.reference import Rows

SCENES, CHANNELS, TOLERANCE = 4, 3, 2e-6
# Of what adds no kernel of its own, and is slow where Triton is interpreted.
without_triton = pytest.mark.parametrize("engine", ["torch", "minkowski"], indirect=True)


def batch(stride: int, most: int = 30) -> Tensor:
    """(N, 4) coordinates in random order."""
    xyz = random_coords(most, 2, -2, 3, seed=stride)
    xyz[:, 0] *= 3  # scenes 0 and 3; 2 stays empty
    coords = torch.cat([xyz, torch.tensor([[1, -3, 2, -1]], dtype=torch.int32)])
    coords[:, 1:] *= stride
    return coords[torch.randperm(len(coords), generator=torch.Generator().manual_seed(0))]


def check(
    engine: Engine,
    module: nn.Module,
    expected: Callable[[Any, Rows], Rows],
    stride: int = 1,
    most: int = 30,
    forward: Callable[[Any, SparseTensor], SparseTensor] = lambda module, x: module(x),
) -> None:
    """Compare cells, values, and the gradients of the input and of every parameter."""
    coords = batch(stride, most)
    generator = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, generator=generator)
    features = torch.randn(len(coords), CHANNELS, generator=generator)

    leaf = features.clone().requires_grad_()
    own = copy.deepcopy(module).to(engine.device)
    y = forward(own, engine.tensor(coords, leaf, stride, SCENES))
    assert sum(y.sites.counts) == len(y.sites)
    assert y.sites.counts[2] == 0
    found_cells, found = by_cell(y.sites.coords, y.features)
    weights = torch.randn(found.shape, generator=generator)  # of the cells, in their own order
    (found * weights).sum().backward()

    exact, leaf_of_exact = copy.deepcopy(module).double(), features.double().requires_grad_()
    rows = expected(exact, dict(zip(cells(coords), leaf_of_exact, strict=True)))
    cells_of_exact = sorted(rows)
    values = torch.stack([rows[cell] for cell in cells_of_exact])
    (values * weights).sum().backward()

    assert cells(found_cells) == cells_of_exact
    assert_close(found, values, TOLERANCE, "values")
    assert leaf.grad is not None
    assert leaf_of_exact.grad is not None
    assert_close(leaf.grad, leaf_of_exact.grad, TOLERANCE, "gradient of the input")
    for (name, one), other in zip(own.named_parameters(), exact.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert_close(one.grad.cpu(), other.grad, TOLERANCE, f"gradient of {name}")


@pytest.mark.parametrize(
    ("kernel", "factor", "stride"),
    [
        (3, 1, 1),
        (3, 1, 4),
        (1, 1, 1),
        (3, 2, 1),
        (3, 2, 4),
        (1, 2, 4),
        (2, 2, 1),
        (5, 1, 1),
        (5, 2, 4),
        (7, 1, 1),
        (9, 1, 1),
    ],
)
def test_convolution(engine: Engine, kernel: int, factor: int, stride: int) -> None:
    layer = SparseConv(CHANNELS, 4, kernel, factor, bias=True)
    check(engine, layer, lambda layer, x: reference.convolved(layer, x, stride), stride)


@pytest.mark.parametrize(("kernel", "dilation", "stride"), [(3, 3, 1), (3, 2, 4), (2, 2, 1)])
def test_dilated_convolution(engine: Engine, kernel: int, dilation: int, stride: int) -> None:
    layer = SparseConv(CHANNELS, 4, kernel, bias=True, dilation=dilation)
    check(engine, layer, lambda layer, x: reference.convolved(layer, x, stride), stride)


@pytest.mark.parametrize("kernel", [2, 3])
def test_generative_convolution(engine: Engine, kernel: int) -> None:
    layer = SparseConvTranspose(CHANNELS, 4, kernel, bias=True, generative=True)

    def expected(layer: Any, x: Rows) -> Rows:
        return reference.transposed(layer, x, 2, reference.finer(x, kernel, 2))

    check(engine, layer, expected, stride=4, most=8)


@pytest.mark.parametrize("kernel", [2, 3])
def test_transposed_convolution_back_onto_the_finer_cells(engine: Engine, kernel: int) -> None:
    layers = nn.ModuleList(
        [SparseConv(CHANNELS, 4, kernel, 2), SparseConvTranspose(4, 2, kernel, bias=True)]
    )

    def expected(layers: Any, x: Rows) -> Rows:
        coarse = reference.convolved(layers[0], x, 1)
        return reference.transposed(layers[1], coarse, 1, list(x))

    check(engine, layers, expected, most=12, forward=lambda m, x: m[1](m[0](x), x.sites))


def elsewhere(stride: int) -> Tensor:
    """(N, 4) coordinates of which some are a batch's, and some have no neighbour there."""
    coords = random_coords(15, 2, -4, 5, seed=9)
    coords[:, 0] *= 3
    coords[:, 1:] *= stride
    return coords


@pytest.mark.parametrize("kernel", [3, 5])
def test_convolution_onto_given_cells(engine: Engine, kernel: int) -> None:
    layer, coords = SparseConv(CHANNELS, 4, kernel), elsewhere(2)

    def forward(layer: Any, x: SparseTensor) -> SparseTensor:
        sites, _ = x.sites.beside(coords.to(x.sites.coords.device), 2)
        return layer(x, sites)

    def expected(layer: Any, x: Rows) -> Rows:
        rows = torch.stack(list(x.values()))
        found = brute_force.conv(list(x), rows, cells(coords), layer.kernel, kernel, 2)
        return dict(zip(cells(coords), found, strict=True))

    check(engine, layer, expected, stride=2, forward=forward)


def test_transposed_convolution_of_stride_3_onto_given_cells(engine: Engine) -> None:
    """The coarse cell 3m reaches 3m - 1, 3m and 3m + 1, so the cell 3m + 2 belongs to m + 1."""
    layer, coords = SparseConvTranspose(CHANNELS, 4, kernel=3, stride=3), elsewhere(1)

    def forward(layer: Any, x: SparseTensor) -> SparseTensor:
        sites, _ = x.sites.beside(coords.to(x.sites.coords.device), 1)
        return layer(x, sites)

    def expected(layer: Any, x: Rows) -> Rows:
        return reference.transposed(layer, x, 1, cells(coords))

    check(engine, layer, expected, stride=3, forward=forward)


@without_triton
def test_averaging_quantisation(engine: Engine) -> None:
    def forward(_: Any, x: SparseTensor) -> SparseTensor:
        near = torch.div(x.sites.coords, 2, rounding_mode="floor") * 2
        near[:, 0] = x.sites.coords[:, 0]
        return averaged(near, x.features, x.sites, stride=2)

    def expected(_: Any, x: Rows) -> Rows:
        members: dict[Any, list[Tensor]] = {}
        for (scene, *place), row in x.items():
            members.setdefault((scene, *(c // 2 * 2 for c in place)), []).append(row)
        return {cell: torch.stack(rows).mean(dim=0) for cell, rows in members.items()}

    check(engine, nn.Module(), expected, forward=forward)


@without_triton
def test_rows_of_given_cells(engine: Engine) -> None:
    x = engine.tensor(batch(2), torch.zeros(len(batch(2)), 1), 2, SCENES)
    known = {cell: row for row, cell in enumerate(cells(x.sites.coords))}
    wanted = torch.cat([elsewhere(2), batch(2)])
    expected = [known.get(cell, -1) for cell in cells(wanted)]
    assert x.sites.rows_of(wanted).tolist() == expected


@pytest.mark.parametrize("mode", ["max", "sum", "average"])
@pytest.mark.parametrize(("kernel", "factor"), [(2, 2), (3, 2), (3, 1)])
def test_pooling(engine: Engine, mode: Any, kernel: int, factor: int) -> None:
    layer = SparsePool(mode, kernel, factor)
    check(engine, layer, lambda layer, x: reference.pooled(layer, x, 2), stride=2)


@without_triton
@pytest.mark.parametrize("mode", ["max", "sum", "average"])
@pytest.mark.parametrize(("kernel", "factor"), [(5, 2), (9, 4), (4, 2)])
def test_pooling_with_a_wide_kernel(engine: Engine, mode: Any, kernel: int, factor: int) -> None:
    layer = SparsePool(mode, kernel, factor)
    check(engine, layer, lambda layer, x: reference.pooled(layer, x, 2), stride=2)


def unlike(coords: Tensor, rest: int) -> Tensor:
    """Rows of two thirds of the cells of stride 2, which two depends on `rest`."""
    return (coords[:, 1:].sum(dim=1) // 2 % 3 != rest).nonzero().squeeze(1)


def cells_unlike(x: Rows, rest: int) -> Rows:
    return {cell: row for cell, row in x.items() if sum(cell[1:]) // 2 % 3 != rest}


class Pyramid(nn.Module):
    """Down twice, up once, and a convolution on the sum: part of each summand has no partner."""

    def __init__(self, grown_first: bool, prune: bool) -> None:
        super().__init__()
        self.grown_first, self.prune = grown_first, prune
        self.fine, self.coarse = SparseConv(CHANNELS, 2, stride=2), SparseConv(2, 2, stride=2)
        self.up = SparseConvTranspose(2, 2, 2, generative=True)
        self.after = SparseConv(2, 2)

    def forward(self, x: SparseTensor) -> SparseTensor:
        fine = self.fine(x)
        grown = self.up(self.coarse(fine))
        if self.prune:
            fine = fine.pruned(unlike(fine.sites.coords, 0))
            grown = grown.pruned(unlike(grown.sites.coords, 1))
        return self.after(grown + fine if self.grown_first else fine + grown)

    def expected(self, x: Rows) -> Rows:
        fine = reference.convolved(self.fine, x, 1)
        coarse = reference.convolved(self.coarse, fine, 2)
        grown = reference.transposed(self.up, coarse, 2, reference.finer(coarse, 2, 2))
        if self.prune:
            fine, grown = cells_unlike(fine, 0), cells_unlike(grown, 1)
        return reference.convolved(self.after, reference.added(fine, grown), 2)


@without_triton
@pytest.mark.parametrize("grown_first", [True, False])
@pytest.mark.parametrize("prune", [True, False])
def test_sum_over_a_union_of_pruned_sites(engine: Engine, grown_first: bool, prune: bool) -> None:
    check(engine, Pyramid(grown_first, prune), Pyramid.expected)


@without_triton
def test_sum_on_the_same_sites(engine: Engine) -> None:
    layer = SparseConv(CHANNELS, CHANNELS)

    def expected(layer: Any, x: Rows) -> Rows:
        return reference.added(x, reference.convolved(layer, x, 1))

    check(engine, layer, expected, forward=lambda layer, x: x + layer(x))


@without_triton
def test_coarser_cells_of_generated_ones(engine: Engine) -> None:
    # MinkowskiEngine by itself would take the cells of that stride which it already has.
    layers = nn.ModuleList(
        [SparseConvTranspose(CHANNELS, 2, 3, generative=True), SparseConv(2, 2, stride=2)]
    )

    def expected(layers: Any, x: Rows) -> Rows:
        grown = reference.transposed(layers[0], x, 2, reference.finer(x, 3, 2))
        return reference.convolved(layers[1], grown, 2)

    check(engine, layers, expected, stride=4, most=8, forward=lambda m, x: m[1](m[0](x)))


@without_triton
def test_interpolation_at_finer_cells(engine: Engine) -> None:
    layer = SparseConv(CHANNELS, 2, stride=4)

    def forward(layer: Any, x: SparseTensor) -> SparseTensor:
        return SparseTensor(layer(x).at(x.sites), x.sites)

    def expected(layer: Any, x: Rows) -> Rows:
        return reference.interpolated(reference.convolved(layer, x, 1), 4, list(x))

    check(engine, layer, expected, forward=forward)


@without_triton
def test_instance_norm(engine: Engine) -> None:
    layers = nn.Sequential(SparseConv(CHANNELS, 4, stride=2), SparseInstanceNorm(4))

    def expected(layers: Any, x: Rows) -> Rows:
        return reference.instance_normed(layers[1], reference.convolved(layers[0], x, 1))

    check(engine, layers, expected)


@without_triton
def test_batch_norm(engine: Engine) -> None:
    layers = nn.Sequential(SparseConv(CHANNELS, 4, stride=2), SparseBatchNorm(4)).train()

    def expected(layers: Any, x: Rows) -> Rows:
        rows = reference.convolved(layers[0], x, 1)
        all_rows = torch.stack(list(rows.values()))
        deviation = (all_rows.var(0, unbiased=False) + 1e-5).sqrt()
        bn = layers[1].bn
        return {
            cell: (row - all_rows.mean(0)) / deviation * bn.weight + bn.bias
            for cell, row in rows.items()
        }

    check(engine, layers, expected)


def test_the_first_of_equal_cells_stands_for_them(engine: Engine) -> None:
    coords = torch.cat([batch(1), batch(1).flip(0)])
    sites, first = engine.sites.unique(coords.to(engine.device), batch_size=SCENES)
    assert sorted(first.tolist()) == list(range(len(coords) // 2))
    assert torch.equal(sites.coords.cpu(), coords[first.cpu()])
