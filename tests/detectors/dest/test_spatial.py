"""Orders of scans, vertex features and nearness, against other ways to compute them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from sr3d.detectors.dest import spatial
from sr3d.detectors.dest.serialisation import CELL, hilbert_index, scan_order
from sr3d.detectors.dest.spatial import VertexTable, nearness, vertex_features


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def places(scenes: int, queries: int) -> Tensor:
    return draw(scenes, queries, 6, seed=1) * torch.tensor([2.0, 2, 2, 1, 1, 1])


# ---------------------------------------------------------------- order


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_the_curve_visits_every_cell_by_steps_through_faces(bits: int) -> None:
    line = torch.arange(2**bits)
    cells = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), dim=-1).flatten(0, 2)
    index = hilbert_index(cells, bits)
    assert index.sort().values.equal(torch.arange(8**bits))
    steps = cells[index.argsort()].diff(dim=0).abs().sum(dim=1)
    assert bool((steps == 1).all())


def test_the_first_axis_is_the_slowest() -> None:
    """Each half of the curve fills a half of the cube along it."""
    line = torch.arange(8)
    cells = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), dim=-1).flatten(0, 2)
    first_half = hilbert_index(cells, 3) < 256
    assert len(cells[first_half, 0].unique()) == 4


def test_six_layers_have_six_orders_and_the_seventh_begins_again() -> None:
    seeds = draw(2, 300, 3)
    orders = [scan_order(seeds, layer) for layer in range(7)]
    assert len({tuple(order[0].tolist()) for order in orders}) == 6
    assert torch.equal(orders[6], orders[0])
    assert all(order.sort().values.equal(torch.arange(300).expand(2, 300)) for order in orders)


def test_scenes_are_ordered_by_themselves() -> None:
    """An order depends on the place within the scene, and on no other scene."""
    seeds = draw(1, 50, 3) * 0.1
    moved = torch.cat([seeds + 64 * CELL, seeds], dim=0)
    both = scan_order(moved, 3)
    assert torch.equal(both[1], scan_order(seeds, 3)[0])


def test_seeds_in_one_cell_keep_their_order() -> None:
    seeds = torch.zeros(1, 5, 3)
    seeds[0, 2, 0] = 1.0
    (order,) = scan_order(seeds, 0).tolist()
    assert [seed for seed in order if seed != 2] == [0, 1, 3, 4]


# ---------------------------------------------------------------- vertices


def by_vertices(table: Tensor, seeds: Tensor, boxes: Tensor) -> Tensor:
    """One interpolation in the table per vertex."""
    found = torch.zeros(())
    grid_table = table.permute(3, 2, 1, 0)[None]  # grid_sample's x is the last axis
    for corner in range(8):
        signs = torch.tensor([corner >> axis & 1 for axis in range(3)]) - 0.5
        vertices = boxes[..., :3] + boxes[..., 3:] * signs
        offsets = vertices[:, None] - seeds[:, :, None]
        scaled = offsets.sign() * (512 * offsets.abs() + 1).log2() / 3 / 4
        grid = scaled.reshape(1, 1, 1, -1, 3)
        values = grid_sample(grid_table, grid, align_corners=False)[0, :, 0, 0].t()
        found = found + values.view(*offsets.shape[:3], -1)
    return found.transpose(2, 3)


def test_features_are_those_of_eight_vertices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(spatial._PAIRS, "cpu", 100)
    table, seeds, boxes = draw(10, 10, 10, 4), draw(2, 30, 3, seed=2) * 3, places(2, 7)
    seeds[0, 0] = 30.0  # beyond the table
    found = vertex_features(table, seeds, boxes)
    assert torch.allclose(found, by_vertices(table, seeds, boxes), atol=2e-5)
    assert not found[0, 0].any()


def test_gradients_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(spatial._PAIRS, "cpu", 50)
    seeds, boxes, weights = draw(2, 12, 3, seed=3), places(2, 5), draw(2, 12, 3, 5, seed=4)
    gradients = []
    for features in (vertex_features, by_vertices):
        table = draw(10, 10, 10, 3).requires_grad_()
        (features(table, seeds, boxes) * weights).sum().backward()
        assert table.grad is not None
        gradients.append(table.grad)
    found, wanted = gradients
    assert torch.allclose(found, wanted, atol=2e-5)


def test_a_layer_after_the_sum_is_one_of_the_table() -> None:
    torch.manual_seed(0)
    table, weight = VertexTable()(), draw(5, 16)
    seeds, boxes = draw(1, 9, 3), places(1, 4)
    after = weight @ vertex_features(table, seeds, boxes)
    assert torch.allclose(vertex_features(table @ weight.t(), seeds, boxes), after, atol=1e-4)


def test_nearness_falls_outside_the_diagonal() -> None:
    boxes = torch.tensor([[[0.0, 0, 0, 3, 4, 0], [0, 0, 0, 0.1, -0.1, 0.1]]])
    seeds = torch.tensor([[[4.9, 0, 0], [5.1, 0, 0], [0.6, 0, 0], [0.74, 0, 0]]])
    found = nearness(seeds, boxes)[0]
    tenth = math.exp(-1.5)  # a tenth of a metre outside
    assert found[:, 0].tolist() == pytest.approx([1, tenth, 1, 1], rel=1e-4)
    assert found[2:, 1].tolist() == pytest.approx([1, tenth], rel=1e-4)
