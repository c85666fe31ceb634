"""Sites of static shapes against `Sites`: the same cells, order and neighbours."""

from itertools import chain, repeat

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d.sparse import Sites, SparseTensor, static
from sr3d.sparse.static import Grid, StaticSites

COARSEST = 8


def cloud(seed, n=300, size=40, shift=(0, 0, 0)):
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(0, size, (n, 3), generator=generator, dtype=torch.int32)
    cells[:, 2] //= 4
    return cells + torch.tensor(shift, dtype=torch.int32)


ROOMY = 8 * 512


def static_sites(cells, valid, grid, *capacities):
    """Sites and first rows. capacities: of the first sets; the others have more than enough."""
    places = cells - grid.corner(cells, valid)
    return StaticSites.padded(places, valid, grid, chain(capacities, repeat(ROOMY)))


def both(cells, capacity=512, padding=17, grid=None):
    """The same cells as `Sites` and as `StaticSites`, and where the grid's corner lies."""
    grid = grid or Grid.holding((40, 40, 12), COARSEST)
    valid = torch.ones(len(cells) + padding, dtype=torch.bool)
    valid[len(cells) :] = False
    padded = torch.cat([cells, torch.full((padding, 3), 123456, dtype=torch.int32)])
    corner = grid.corner(padded, valid)
    fixed, first = static_sites(padded, valid, grid, capacity)
    free, order = Sites.unique(torch.cat([torch.zeros_like(cells[:, :1]), cells], dim=1))
    assert not fixed.overflow
    assert torch.equal(first[: len(free)], order)
    assert (first[len(free) :] == len(padded)).all()
    return free, fixed, corner


def assert_same(free, fixed, corner):
    count = int(fixed.count)
    assert count == len(free)
    assert fixed.stride == free.stride
    assert torch.equal(fixed.places[:count] + corner, free.coords[:, 1:])
    assert (fixed.numbers[count:] == fixed.grid.cells(fixed.stride)).all()


def assert_same_map(kernel_map, table):
    """A map's neighbours as a table, missing ones and padding -1."""
    assert torch.equal(table.table[: kernel_map.n_out], kernel_map.table)
    assert (table.table[kernel_map.n_out :] == -1).all()


@pytest.fixture(params=["table", "search"], autouse=True)
def lookup(request, monkeypatch):
    monkeypatch.setattr(static, "_TABLE_CELLS", 1 << 24 if request.param == "table" else 0)


@pytest.mark.parametrize("shift", [(0, 0, 0), (-37, 1000, -3), (7, -8, 5)])
def test_every_kind_of_sites_and_maps(shift):
    free, fixed, corner = both(cloud(0, shift=shift))
    assert_same(free, fixed, corner)
    for kernel in (1, 2, 3):
        assert_same_map(free.kernel_map(free, kernel), fixed.kernel_map(fixed, kernel))

    coarse, fixed_coarse = free.strided(2), fixed.strided(2)
    assert_same(coarse, fixed_coarse, corner)
    for kernel in (1, 2, 3):
        assert_same_map(free.kernel_map(coarse, kernel), fixed.kernel_map(fixed_coarse, kernel))

    coarser, fixed_coarser = coarse.strided(4), fixed_coarse.strided(4)
    assert_same(coarser, fixed_coarser, corner)
    grown, fixed_grown = coarser.generated(3, 2), fixed_coarser.generated(3, 2)
    assert_same(grown, fixed_grown, corner)
    assert_same_map(
        grown.kernel_map(coarser, 3).transposed(), fixed_coarser.transposed_map(fixed_grown, 3)
    )

    middle, fixed_middle = coarse.strided(2), fixed_coarse.strided(2)
    union, mine, others = middle.union(grown)
    fixed_union, *fixed_rows = fixed_middle.union(fixed_grown)
    assert_same(union, fixed_union, corner)
    assert_same_map(union.kernel_map(union, 3), fixed_union.kernel_map(fixed_union, 3))
    for rows, found in zip((mine, others), fixed_rows, strict=True):
        expected = torch.full((len(fixed_union),), -1)
        expected[rows] = torch.arange(len(rows))
        assert torch.equal(found, expected)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 60), size=st.integers(1, 40))
def test_random_clouds(seed, n, size):
    free, fixed, corner = both(cloud(seed, n, size))
    coarse, fixed_coarse = free.strided(8), fixed.strided(8)
    assert_same(coarse, fixed_coarse, corner)
    grown, fixed_grown = coarse.generated(3, 2), fixed_coarse.generated(3, 2)
    assert_same(grown, fixed_grown, corner)
    assert_same_map(grown.kernel_map(grown, 3), fixed_grown.kernel_map(fixed_grown, 3))


def test_full_to_the_last_row():
    cells = cloud(1).unique(dim=0)
    free, fixed, corner = both(cells, capacity=len(cells))
    assert_same(free, fixed, corner)
    assert_same_map(free.kernel_map(free, 3), fixed.kernel_map(fixed, 3))


def test_too_many_cells_are_an_overflow_that_is_handed_down():
    cells = cloud(1).unique(dim=0)
    grid = Grid.holding((40, 40, 12), COARSEST)
    valid = torch.ones(len(cells), dtype=torch.bool)
    fixed, _ = static_sites(cells, valid, grid, len(cells) - 1)
    assert fixed.overflow
    assert fixed.count == len(cells) - 1
    assert fixed.strided(2).overflow
    assert fixed.strided(2).union(fixed.strided(2))[0].overflow
    roomy, _ = static_sites(cells, valid, grid, len(cells))
    assert not roomy.overflow
    assert not roomy.strided(8).generated(3, 2).overflow
    tight, _ = static_sites(cells, valid, grid, len(cells), 512, 20)
    assert tight.strided(8).generated(3, 2).overflow


def test_a_cell_out_of_the_grid_is_an_overflow_and_left_out():
    cells = torch.cat([cloud(2), torch.tensor([[400, 0, 0]], dtype=torch.int32)])
    grid = Grid.holding((40, 40, 12), COARSEST)
    valid = torch.ones(len(cells), dtype=torch.bool)
    fixed, _ = static_sites(cells, valid, grid, 512)
    assert fixed.overflow
    assert fixed.count == len(cells[:-1].unique(dim=0))


@pytest.mark.parametrize("padding", [0, 5])
def test_no_valid_point(padding):
    grid = Grid.holding((40, 40, 12), COARSEST)
    cells, valid = torch.zeros(padding, 3, dtype=torch.int32), torch.zeros(padding).bool()
    if padding == 0:
        cells, valid = torch.zeros(1, 3, dtype=torch.int32), torch.zeros(1).bool()
    fixed, first = static_sites(cells, valid, grid, 16, 16, 16)
    assert fixed.count == 0
    assert not fixed.overflow
    assert (first == len(cells)).all()
    assert (fixed.strided(2).kernel_map(fixed.strided(2), 3).table == -1).all()


def test_a_grid_holds_a_scene_of_its_size_wherever_it_lies():
    grid = Grid.holding((16, 9, 8), COARSEST)
    corners = torch.tensor([[0, 0, 0], [15, 8, 7]], dtype=torch.int32)
    valid = torch.ones(2, dtype=torch.bool)
    for shift in range(-9, 10):
        cells = corners + shift
        assert grid.inside(cells - grid.corner(cells, valid)).all()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), stride=st.sampled_from([2, 8]))
def test_generated_with_a_kernel_of_two(seed, stride):
    free, fixed, corner = both(cloud(seed))
    coarse, fixed_coarse = free.strided(stride), fixed.strided(stride)
    grown, fixed_grown = coarse.generated(2, 2), fixed_coarse.generated(2, 2)
    assert_same(grown, fixed_grown, corner)
    up = grown.kernel_map(coarse, 2).transposed()
    assert_same_map(up, fixed_coarse.transposed_map(fixed_grown, 2))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), most=st.integers(1, 400), ties=st.booleans())
def test_the_best_cells(seed, most, ties):
    _, fixed, _ = both(cloud(seed))
    scores = torch.randn(len(fixed), generator=torch.Generator().manual_seed(seed))
    if ties:
        scores = scores.round()
    count = int(fixed.count)
    order = sorted(range(count), key=lambda i: (-float(scores[i]), i))
    expected = sorted(order[:most])
    numbered = torch.arange(1, len(fixed) + 1)[:, None]
    rows, best = fixed.best(numbered, scores, most)
    rows = rows[:, 0] - 1
    assert int(best.count) == len(expected)
    assert rows[: len(expected)].tolist() == expected
    assert (rows[len(expected) :] == -1).all()
    assert torch.equal(best.numbers[: len(expected)], fixed.numbers[expected])
    assert not best.overflow


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), shift=st.sampled_from([(0, 0, 0), (-37, 1000, -3)]))
def test_values_between_cells(seed, shift):
    free, fixed, _ = both(cloud(seed, shift=shift))
    coarse, coarse_fixed = free.strided(4), fixed.strided(4)
    values = torch.randn(len(coarse_fixed), 2, generator=torch.Generator().manual_seed(seed))
    expected = SparseTensor(values[: len(coarse)], coarse).at(free)
    assert torch.equal(coarse_fixed.interpolated(values, fixed)[: len(free)], expected)
