"""Useful operations, counted by hand and cell by cell."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sr3d.detectors.configuration import default_config
from sr3d.sparse import SparseTensor
from sr3d.sparse.nn import SparseConv, SparseConvTranspose, SparseReLU
from sr3d.study.benchmarking.measurements import counted_flop, dense_peak
from sr3d.study.benchmarking.measures import Work
from sr3d.study.benchmarking.subject import Subject
from tests.shared_data import shared

Cell = tuple[int, int, int]


def tensor(cells: list[Cell], channels: int = 2, stride: int = 1) -> SparseTensor:
    coords = torch.tensor([(0, *cell) for cell in cells], dtype=torch.int32)
    return SparseTensor.from_coords(coords, torch.rand(len(cells), channels), stride)


def counted(model: nn.Module, x: SparseTensor) -> list[int]:
    with torch.inference_mode(), counted_flop(model) as counts:
        model(x)
    return counts


def test_a_row_of_three_cells_by_hand() -> None:
    row = tensor([(0, 0, 0), (1, 0, 0), (2, 0, 0)])
    # Three cells meet themselves, and each of the two neighbouring pairs meets both ways: 7 pairs.
    assert counted(SparseConv(2, 5), row) == [2 * 7 * 2 * 5]
    # Output cells 0 and 2; inputs 0, 1 and 1, 2 lie within one cell of them.
    assert counted(SparseConv(2, 5, stride=2), row) == [2 * 4 * 2 * 5]
    assert counted(SparseConv(2, 5, kernel=1, stride=2), row) == [2 * 2 * 2 * 5]
    assert counted(SparseConv(2, 5, kernel=1, bias=True), row) == [2 * 3 * 2 * 5]


def test_a_generative_convolution_by_hand() -> None:
    pair = tensor([(0, 0, 0), (2, 0, 0)], stride=2)
    up = SparseConvTranspose(2, 5, kernel=3, stride=2, generative=True)
    assert counted(up, pair) == [2 * (2 * 27) * 2 * 5]


def test_each_convolution_counts_each_time_and_nothing_else_does() -> None:
    shared = SparseConv(2, 2)
    model = nn.Sequential(shared, SparseReLU(), shared)
    row = tensor([(0, 0, 0), (1, 0, 0), (2, 0, 0)])
    assert counted(model, row) == [2 * 7 * 2 * 2] * 2
    assert not shared._forward_hooks  # gone with the block
    assert len(counted(model, row)) == 2


@given(
    st.sets(st.tuples(*[st.integers(-4, 4)] * 3), min_size=1, max_size=30),
    st.sampled_from([1, 2]),
)
@settings(max_examples=30, deadline=None)
def test_as_many_as_a_loop_over_cells_finds(cells: set[Cell], stride: int) -> None:
    outputs = {(x // stride * stride, y // stride * stride, z // stride * stride)
               for x, y, z in cells}  # fmt: skip
    pairs = sum(
        all(abs(i - o) <= 1 for i, o in zip(cell, out, strict=True))
        for out in outputs
        for cell in cells
    )
    found = counted(SparseConv(3, 4, stride=stride), tensor(sorted(cells), 3))
    assert found == [2 * pairs * 3 * 4]


def test_the_full_network_on_a_real_scan() -> None:
    """125.1 GFLOP, as an independent count over the scan's coordinates has it."""
    golden = shared("golden/tr3d_minkowski_scene0000_00.npz")
    with np.load(golden) as file:
        points = torch.from_numpy(file["points"])
    model = Subject(default_config("scannet")).build()
    with torch.inference_mode(), counted_flop(model) as counts:
        model(model.voxels([points[:, :3]], [points[:, 3:]]))  # type: ignore[operator]
    assert round(sum(counts) / 1e9, 1) == 125.1


def test_floor_and_reached() -> None:
    work = Work(gflop=2.0, milliseconds=100.0, span="network", peak=80.0)
    assert work.reached == 20.0
    assert work.floor == 25.0
    assert work.to_dict()["share_of_dense"] == 0.25


def test_the_peak_is_that_of_a_product_timed_here() -> None:
    assert 0.5 < dense_peak(torch.device("cpu")) < 1e5  # GFLOP/s of any processor
