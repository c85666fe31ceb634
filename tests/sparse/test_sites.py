import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sr3d.sparse import Sites, SparseTensor, lookup
from sr3d.sparse import sites as sites_module
from sr3d.sparse.kernel_map import KernelMap
from tests.sparse.brute_force import cells, moved, offsets, random_coords

coords_of = st.builds(
    random_coords,
    n=st.integers(1, 60),
    scenes=st.integers(1, 3),
    low=st.integers(-9, -1),
    high=st.integers(1, 9),
    seed=st.integers(0, 10_000),
)


@given(coords_of)
@settings(deadline=None, max_examples=60)
def test_sites_are_ordered_and_strided_sites_hold_every_cell(coords: torch.Tensor) -> None:
    sites = Sites.from_coords(coords)
    assert cells(sites.coords) == sorted(cells(coords))
    assert sum(sites.counts) == len(sites)
    coarse = sites.strided(2).strided(2)
    assert coarse.stride == 4
    assert cells(coarse.coords) == sorted(
        {(b, *(c // 4 * 4 for c in p)) for b, *p in cells(coords)}
    )
    assert len(coarse) <= len(sites)


@given(coords_of, st.sampled_from([1, 2, 3, 5]), st.sampled_from([1, 2]))
@settings(deadline=None, max_examples=60)
def test_map_pairs_are_exactly_the_neighbours(coords: torch.Tensor, kernel: int, s: int) -> None:
    sites = Sites.from_coords(coords)
    out = sites.strided(s)
    kernel_map = sites.kernel_map(out, kernel)
    inputs, outputs = cells(sites.coords), cells(out.coords)
    found = {
        (k, inputs[i], outputs[o])
        for k, in_rows, out_rows in kernel_map.offsets()
        for i, o in zip(in_rows.tolist(), out_rows.tolist(), strict=True)
    }
    expected = {
        (k, moved(o, offset, 1), o)
        for o in outputs
        for k, offset in enumerate(offsets(kernel))
        if moved(o, offset, 1) in set(inputs)
    }
    assert found == expected
    assert len(kernel_map.in_rows) == len(expected)  # no pair twice
    # A table of neighbours tells the same, with one row past the last for a missing one.
    table = kernel_map.neighbors
    assert int((table < len(sites)).sum()) == len(expected)
    # On its own sites the map of an odd kernel is its own mirror image.
    if s == 1 and kernel % 2:
        mirrored = {(kernel**3 - 1 - k, o, i) for k, i, o in found}
        assert mirrored == found


@given(coords_of, st.sampled_from([1, 3]))
@settings(deadline=None, max_examples=30)
def test_search_and_table_agree(coords: torch.Tensor, kernel: int) -> None:
    with_table = Sites.from_coords(coords).kernel_map(Sites.from_coords(coords), kernel)
    cells_per_site, largest = lookup._CELLS_PER_SITE, lookup._MAX_CELLS
    lookup._MAX_CELLS = 0
    try:
        with_search = Sites.from_coords(coords).kernel_map(Sites.from_coords(coords), kernel)
        generated = Sites.from_coords(coords * 2, stride=2).generated(3, 2)
        strided = Sites.from_coords(coords).strided(2)
    finally:
        lookup._CELLS_PER_SITE, lookup._MAX_CELLS = cells_per_site, largest
    assert torch.equal(with_table.in_rows, with_search.in_rows)
    assert torch.equal(with_table.out_rows, with_search.out_rows)
    assert torch.equal(
        Sites.from_coords(coords * 2, stride=2).generated(3, 2).coords, generated.coords
    )
    assert torch.equal(Sites.from_coords(coords).strided(2).coords, strided.coords)


@pytest.mark.parametrize("search", [False, True])
@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_maps_made_as_tables_are_those_made_of_pairs(
    kernel: int, search: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    coords = random_coords(200, 2, -5, 5, seed=1)
    if search:
        monkeypatch.setattr(lookup, "_MAX_CELLS", 0)

    def every_map() -> list[KernelMap]:
        fine = Sites.from_coords(coords)
        coarse = fine.strided(2)
        grown = coarse.strided(2).generated(3, 2)
        union, *_ = coarse.union(grown)
        pairs = (fine, fine), (fine, coarse), (grown, coarse.strided(2)), (union, union)
        maps = [x.kernel_map(out, kernel) for x, out in pairs]
        return maps + [m.transposed() for m in maps]

    of_pairs = every_map()
    monkeypatch.setattr(sites_module, "_whole_tables", lambda device: True)
    for ours, theirs in zip(every_map(), of_pairs, strict=True):
        assert "table" in vars(ours)  # and nothing was made of pairs so far
        assert "_pairs" not in vars(ours)
        assert torch.equal(ours.table, theirs.table)
        assert (ours.n_in, ours.n_out, ours.sizes) == (theirs.n_in, theirs.n_out, theirs.sizes)
        assert (ours.identity, ours.mirrored) == (theirs.identity, theirs.mirrored)
        for (k, a, b), (same, c, d) in zip(ours.offsets(), theirs.offsets(), strict=True):
            order = torch.argsort(d)  # a transposed map keeps the order of its pairs
            assert (k, a.tolist(), b.tolist()) == (same, c[order].tolist(), d[order].tolist())


def test_derived_sites_know_their_bounds() -> None:
    fine = Sites.from_coords(random_coords(200, 2, -5, 5, seed=1))
    coarse = fine.strided(2)
    for sites in (fine, coarse, coarse.generated(3, 2), coarse.union(coarse.strided(2))[0]):
        low, high = (torch.tensor(corner) for corner in sites.bounds)
        assert (sites.coords[:, 1:] >= low).all()
        assert (sites.coords[:, 1:] <= high).all()


def test_far_apart_cells_do_not_meet_and_need_no_giant_table() -> None:
    coords = torch.tensor(
        [[0, -500_000, 0, 0], [0, 500_000, 7, -300_000], [0, 500_001, 7, -300_000]]
    )
    kernel_map = Sites.from_coords(coords).kernel_map(Sites.from_coords(coords), 3)
    assert len(kernel_map.in_rows) == 3 + 2


def test_derived_sites_and_maps_are_built_once() -> None:
    sites = Sites.from_coords(random_coords(50, 2, -5, 5, seed=0) * 2, stride=2)
    assert sites.strided(2) is sites.strided(2)
    assert sites.generated(3, 2) is sites.generated(3, 2)
    out = sites.strided(2)
    assert sites.kernel_map(out, 3) is sites.kernel_map(out, 3)
    assert sites.kernel_map(out, 3) is not sites.kernel_map(out, 2)
    assert sites.kernel_map(sites, 3).transposed().transposed().sizes is not None


def test_maps_go_with_their_sites() -> None:
    sites = Sites.from_coords(random_coords(50, 2, -5, 5, seed=0) * 2, stride=2)
    fine = sites.generated(3, 2)
    ghost = weakref.ref(fine.kernel_map(sites, 3))
    del sites, fine
    gc.collect()
    assert ghost() is None


def test_union() -> None:
    one = torch.tensor([[0, 1, 0, 0], [0, -4, 2, 2], [1, 0, 0, 0]])
    two = torch.tensor([[0, 1, 0, 0], [0, 9, 9, 9]])
    a = SparseTensor.from_coords(one, torch.tensor([[1.0], [2.0], [3.0]]))
    b = SparseTensor(torch.tensor([[10.0], [20.0]]), Sites.from_coords(two, batch_size=2))
    total = a + b
    found = dict(zip(cells(total.sites.coords), total.features[:, 0].tolist(), strict=True))
    assert found == {(0, 1, 0, 0): 11, (0, -4, 2, 2): 2, (1, 0, 0, 0): 3, (0, 9, 9, 9): 20}
    # Where one side holds the other, its sites and so its maps are used on.
    inside = a.pruned(torch.tensor([0]))
    assert (a + inside).sites is a.sites
    assert (inside + a).sites is a.sites


def test_pruning_keeps_rows_in_order() -> None:
    coords = random_coords(40, 2, -4, 4, seed=1)
    x = SparseTensor.from_coords(coords, torch.arange(len(coords) * 2.0).view(-1, 2))
    rows = (x.features[:, 0] % 4 == 0).nonzero().squeeze(1)
    pruned = x.pruned(rows)
    assert torch.equal(pruned.sites.coords, x.sites.coords[rows])
    assert torch.equal(pruned.features, x.features[rows])
    told = x.pruned(rows, pruned.sites.counts)
    assert torch.equal(told.features, pruned.features)
    assert told.sites.counts == pruned.sites.counts


def test_unique_takes_the_first_point_of_a_cell() -> None:
    coords = torch.tensor([[0, 5, 5, 5], [0, 1, 1, 1], [0, 5, 5, 5], [0, 1, 1, 1]])
    sites, first = Sites.unique(coords)
    assert cells(sites.coords) == [(0, 1, 1, 1), (0, 5, 5, 5)]
    assert first.tolist() == [1, 0]


def test_wrong_coordinates_are_refused() -> None:
    twice = torch.tensor([[0, 1, 1, 1], [0, 1, 1, 1]])
    with pytest.raises(ValueError, match=r"\b1\b.*\b2\b"):
        Sites.from_coords(twice)
    with pytest.raises(ValueError, match="cells"):
        SparseTensor.from_coords(twice, torch.zeros(2, 1))
    with pytest.raises(ValueError, match=r"stride\D*2"):
        Sites.from_coords(torch.tensor([[0, 1, 2, 2]]), stride=2)
    with pytest.raises(ValueError, match=r"\b3\b.*\b1\b"):
        SparseTensor(torch.zeros(3, 1), Sites.from_coords(twice[:1]))


def test_rows_of_coordinates() -> None:
    coords = random_coords(60, 2, -5, 6, seed=3, stride=2)
    sites = Sites.from_coords(coords, 2)
    assert torch.equal(sites.coords[sites.rows_of(coords)], coords)
    half = Sites.from_coords(coords[::2], 2, batch_size=2)  # the others may lie beyond its bounds
    known = {tuple(c) for c in half.coords.tolist()}
    found = half.rows_of(coords)
    assert [row >= 0 for row in found.tolist()] == [tuple(c) in known for c in coords.tolist()]
    assert torch.equal(half.coords[found[found >= 0]], coords[found >= 0])
