from tests.sparse.triton_cases import DEVICE, KINDS, kernel_map, rows, sites  # isort: skip

import itertools

import pytest
import torch
from torch import Tensor

from sr3d.sparse import Sites
from sr3d.sparse.kernel_map import KernelMap
from sr3d.sparse.triton.neighbor_tables import kernel_bits, pairs, tiles


def table_by_hand(m: KernelMap) -> list[list[int]]:
    table = [[-1] * len(m.sizes) for _ in range(m.n_out)]
    for k, in_rows, out_rows in m.offsets():
        for i, o in zip(in_rows.tolist(), out_rows.tolist(), strict=True):
            table[o][k] = i
    return table


@pytest.mark.parametrize("kind", KINDS)
def test_table_equals_the_pairs(kind: str) -> None:
    m = kernel_map(kind)
    assert m.table.dtype == torch.int32
    assert m.table.tolist() == table_by_hand(m)
    missing = m.neighbors == m.n_in
    assert torch.equal(m.table.long(), m.neighbors.masked_fill(missing, -1))


def test_only_an_odd_kernel_on_the_same_sites_is_mirrored() -> None:
    fine = sites(40)
    for kernel in (1, 3):
        m = fine.kernel_map(fine, kernel)
        assert m.mirrored
        assert torch.equal(m.transposed().table, m.table.flip(1))
    assert not fine.kernel_map(fine, 2).mirrored
    assert not fine.kernel_map(fine.strided(2), 3).mirrored


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("block", "groups"), [(16, 1), (64, 1), (32, 3)])
def test_tiles_equal_brute_force(kind: str, block: int, groups: int) -> None:
    m = kernel_map(kind)
    table, volume = table_by_hand(m), len(m.sizes)
    groups = min(groups, volume)
    result = tiles(m, block, groups)
    assert result.padded % block == 0
    assert 0 <= result.padded - m.n_out < block
    order = result.order.tolist()
    for group in range(groups):
        assert sorted(order[group]) == list(range(m.n_out)) + [m.n_out] * (result.padded - m.n_out)
        members = range(volume)[group * result.per_group : (group + 1) * result.per_group]
        for t in range(result.per_column):
            tile = group * result.per_column + t
            own = [o for o in order[group][t * block : (t + 1) * block] if o < m.n_out]
            live = [k for k in members if any(table[o][k] >= 0 for o in own)]
            assert int(result.counts[tile]) == len(live)
            assert result.lists[tile, : len(live)].tolist() == live
            for place, k in enumerate(live):
                expected = [table[o][k] for o in own] + [-1] * (block - len(own))
                assert result.sources[tile, place].tolist() == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 3])
def test_rows_with_equal_neighbours_stand_together(kind: str, groups: int) -> None:
    m = kernel_map(kind)
    result = tiles(m, 16, min(groups, len(m.sizes)))
    table = table_by_hand(m)
    for group in range(result.groups):
        first, last = group * result.per_group, (group + 1) * result.per_group
        masks = [
            tuple(i >= 0 for i in table[o][first:last])
            for o in result.order[group].tolist()
            if o < m.n_out
        ]
        changes = sum(one != other for one, other in itertools.pairwise(masks))
        assert changes == len(set(masks)) - 1


def test_strided_layers_are_grouped_by_parity() -> None:
    m = kernel_map("generative")  # from stride 4 to 2: even rows have 1 neighbour, odd ones up to 8
    result = tiles(m, 16, 1)
    work = int(result.counts.sum()) * 16
    dense = result.padded * 27
    assert len(m.in_rows) <= work < dense / 4


def work_of(table: Tensor, order: Tensor, block: int) -> int:
    present = torch.nn.functional.pad(table[order.long()] >= 0, (0, 0, 0, -len(order) % block))
    return int(present.view(-1, block, table.shape[1]).any(1).sum()) * block


def test_sorting_and_grouping_spare_work() -> None:
    # A thin wavy surface, as scans are.
    x, y = torch.meshgrid(torch.arange(30), torch.arange(30), indexing="ij")
    z = (3 * torch.sin(x / 5.0) + 2 * torch.cos(y / 3.0)).long()
    coords = torch.stack([torch.zeros_like(x), x, y, z], dim=-1).view(-1, 4).to(DEVICE)
    surface = Sites.from_coords(coords)
    m = surface.kernel_map(surface, 3)
    natural = work_of(m.table, torch.arange(m.n_out, device=DEVICE), 64)
    by_mask = int(tiles(m, 64, 1).counts.sum()) * 64
    grouped = int(tiles(m, 64, 3).counts.sum()) * 64
    assert len(m.in_rows) < grouped < by_mask < natural


def test_a_kernel_of_more_offsets_than_bits() -> None:
    fine = sites(60, low=-2, high=3)
    m = fine.kernel_map(fine, 5)
    result = tiles(m, 16, 1)
    assert sorted(result.order[0].tolist())[: m.n_out] == list(range(m.n_out))
    assert int(result.counts.sum()) * 16 >= len(m.in_rows)
    for tile in range(result.per_column):
        own = result.order[0, tile * 16 : (tile + 1) * 16].long()
        live = (m.table[own[own < m.n_out]] >= 0).any(0).nonzero().flatten()
        assert result.lists[tile, : len(live)].tolist() == live.tolist()


def test_corners_are_the_highest_bits() -> None:
    bits = kernel_bits(27, 27, 27)
    assert sorted(bits) == list(range(27))
    assert bits[13] == 0  # the centre
    assert {bits[k] for k in (0, 2, 6, 8, 18, 20, 24, 26)} == set(range(19, 27))
    grouped = kernel_bits(27, 9, 9)
    assert [sorted(grouped[k : k + 9]) for k in (0, 9, 18)] == [list(range(9))] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_by_offset(kind: str) -> None:
    m = kernel_map(kind)
    result = pairs(m)
    starts = result.starts.tolist()
    assert starts[-1] == len(m.in_rows)
    for k, (start, end) in enumerate(itertools.pairwise(starts)):
        expected = sorted((o, row[k]) for o, row in enumerate(table_by_hand(m)) if row[k] >= 0)
        outs, ins = result.out_rows[start:end].tolist(), result.in_rows[start:end].tolist()
        assert list(zip(outs, ins, strict=True)) == expected


@pytest.mark.parametrize("n", [1, 63, 64, 65])
def test_tables_are_built_once_and_kept(n: int) -> None:
    fine = rows(n)
    m = fine.kernel_map(fine, 3)
    assert tiles(m, 32, 3) is tiles(m, 32, 3)
    assert tiles(m, 32, 3) is not tiles(m, 64, 3)
    assert pairs(m) is pairs(m)


def test_pairs_of_no_rows() -> None:
    none = sites(0)
    m = sites(30).kernel_map(none, 3)
    assert pairs(m).starts.tolist() == [0] * 28
