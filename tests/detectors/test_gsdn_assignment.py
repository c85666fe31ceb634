"""GSDN's anchors and its assignment against literal references."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from sr3d.data.ground_truth import IGNORED, NEGATIVE
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene
from sr3d.detectors.gsdn.anchors import anchor_corners, anchor_sizes, decode, encode, strides
from sr3d.detectors.gsdn.assignment import HOLDS, CellTable, boxes_of_objects, match_anchors
from sr3d.detectors.gsdn.config import GSDNAssignment
from sr3d.geometry.boxes import Boxes
from sr3d.sparse import Sites
from tests.detectors.test_gsdn import ROOM, detector, overlap, tiny


def test_the_anchors_have_the_published_ratios() -> None:
    flat = [(0.25, 0.25, 4), (0.25, 4, 0.25), (0.25, 4, 4), (4, 0.25, 0.25), (4, 0.25, 4)]
    flat.append((4, 4, 0.25))
    half = [(0.5, 0.5, 2), (0.5, 2, 0.5), (0.5, 2, 2), (2, 0.5, 0.5), (2, 0.5, 2), (2, 2, 0.5)]
    for count, ratios in ((7, flat), (13, flat + half)):
        for scale, stride in ((8, 4), (64, 32)):
            wanted = scale / torch.tensor([*ratios, (1, 1, 1)]).sqrt()
            torch.testing.assert_close(anchor_sizes(count, stride), wanted)


def test_an_anchor_without_offsets_loses_a_voxel() -> None:
    cells = torch.tensor([[4, 8, 0]])
    anchors = anchor_corners(cells, anchor_sizes(7, 4), 4)[0]
    torch.testing.assert_close(anchors[-1], torch.tensor([2.0, 6, -2, 10, 14, 6]))
    extent = torch.tensor([64.0, 64, 32])
    free = decode(torch.zeros(7, 6), anchors, extent, clip=False)
    torch.testing.assert_close(free, anchors - torch.tensor([0.0, 0, 0, 1, 1, 1]))
    clipped = decode(torch.zeros(7, 6), anchors, extent, clip=True)
    torch.testing.assert_close(clipped, free.clamp(min=0))


def test_decoding_reverses_the_coding_of_boxes_up_to_a_voxel() -> None:
    """A large box, because the voxel is a small share of it."""
    anchors = torch.tensor([[1000.0, 2000, 3000, 9000, 8000, 9000]])
    boxes = torch.tensor([[2000.0, 1500, 3500, 9500, 9500, 8500]])
    outputs = encode(boxes, anchors)
    offset = ((2000 + 9500) / 2 - 5000) / 8000 / 0.15
    assert float(outputs[0, 0]) == pytest.approx(offset)
    assert float(outputs[0, 3]) == pytest.approx(math.log(7500 / 8000) / 0.3)
    found = decode(outputs, anchors, torch.full((3,), 1e5), clip=False)
    torch.testing.assert_close(found, boxes, atol=2.0, rtol=0)


# ---------------------------------------------------------------- assignment


def cloud(seed: int, voxels: int = 60) -> Tensor:
    """(V, 3) distinct voxels, the lowest at zero."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(40, (voxels, 3), generator=generator).unique(dim=0)
    return cells - cells.amin(dim=0)


def some_boxes(seed: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(100 + seed)
    low = torch.randint(25, (count, 3), generator=generator) - 0.5
    size = torch.randint(3, 18, (count, 3), generator=generator).float()
    return torch.cat([low + size / 2, size, torch.zeros(count, 1)], dim=1)


def literal_matches(
    cells: Tensor, boxes: Tensor, levels: int, config: GSDNAssignment
) -> list[dict[tuple[int, ...], list[int]]]:
    """Matches of 7 anchors by cell, per level."""
    coarse = strides(levels)[-1]
    occupied = {tuple(int(c) // coarse for c in cell) for cell in cells}
    highest = [max(cell[axis] for cell in occupied) for axis in range(3)]
    grid = {
        tuple(c + s for c, s in zip(cell, step, strict=True))
        for cell in occupied
        for step in itertools.product((-1, 0, 1), repeat=3)
    }
    grid = {g for g in grid if all(a <= b for a, b in zip(g, highest, strict=True))}
    ious: dict[tuple[int, tuple[int, ...], int], list[float]] = {}
    for level, stride in enumerate(strides(levels)):
        inner = range(0, coarse, stride)
        for corner in grid:
            for step in itertools.product(inner, repeat=3):
                cell = tuple(c * coarse + s for c, s in zip(corner, step, strict=True))
                found = anchor_corners(torch.tensor([cell]), anchor_sizes(7, stride), stride)[0]
                for a, anchor in enumerate(found.tolist()):
                    ious[level, cell, a] = [overlap(anchor, box) for box in boxes.tolist()]
    best = [max(row[k] for row in ious.values()) for k in range(len(boxes))]
    result: list[dict[tuple[int, ...], list[int]]] = [{} for _ in range(levels)]
    for (level, cell, a), row in ious.items():
        most = max(row, default=0.0)
        forced = any(abs(x - b) < 1e-7 and x >= 1e-5 for x, b in zip(row, best, strict=True))
        if forced or most >= config.positive_iou:
            match = row.index(most)
        else:
            match = NEGATIVE if most < config.negative_iou else IGNORED
        result[level].setdefault(cell, [NEGATIVE] * 7)[a] = match
    return result


@pytest.mark.parametrize(("seed", "count"), [(0, 3), (1, 1), (2, 0)])
def test_matches_equal_a_literal_reference(seed: int, count: int) -> None:
    config, levels = GSDNAssignment(), 2
    cells, boxes = cloud(seed, voxels=12), some_boxes(seed, count)
    found = match_anchors(cells, boxes, levels, 7, config)
    for level, wanted in zip(found, literal_matches(cells, boxes, levels, config), strict=True):
        ours = {
            tuple(cell): match
            for cell, match in zip(level.cells.tolist(), level.matches.tolist(), strict=True)
        }
        assert ours == wanted
    assert any(bool((level.matches >= 0).any()) for level in found) == (count > 0)


def test_cells_hold_the_anchors_of_their_level_and_of_finer_ones() -> None:
    model = detector(tiny())
    batch = model.inputs([ROOM, generate_room(1, points=1500)])
    found = model.targets(batch)
    held: dict[int, set[tuple[int, ...]]] = {HOLDS: set(), IGNORED: set()}
    for level, stride in enumerate(strides(3)):
        table = found.anchors[level]
        for cell, matches in zip(table.sites.coords.tolist(), table.values.tolist(), strict=True):
            if max(matches) >= 0:
                held[HOLDS].add((*cell, stride))
            if IGNORED in matches:
                held[IGNORED].add((*cell, stride))
        wanted: dict[tuple[int, ...], int] = {}
        for target in (IGNORED, HOLDS):
            for scene, x, y, z, finer in held[target]:
                centre = [c + finer / 2 for c in (x, y, z)]
                wanted[scene, *(int(c // stride) * stride for c in centre)] = target
        cells = found.cells[level]
        ours = zip(map(tuple, cells.sites.coords.tolist()), cells.values.tolist(), strict=True)
        assert dict(ours) == wanted
        assert {HOLDS, IGNORED} == {*wanted.values()}


def test_matches_count_over_the_boxes_of_the_batch() -> None:
    model = detector(tiny())
    scenes = [ROOM, generate_room(1, points=1500)]
    both = model.inputs(scenes)
    owners = model.targets(both).anchors[0]
    rows = (owners.values >= 0).any(dim=1)
    scene_of = owners.sites.coords[rows, 0].long()
    owner = owners.values[rows].amax(dim=1)
    assert torch.equal(both.truth.scenes[owner], scene_of)
    assert {*scene_of.tolist()} == {0, 1}


def test_a_table_of_cells_answers_for_any_cells() -> None:
    cells = torch.tensor([[1, 8, 0, -4], [0, 4, 4, 4]])
    table = CellTable.of(cells, torch.tensor([3, HOLDS]), 4, batch_size=2)
    others = Sites.from_coords(
        torch.tensor([[0, 4, 4, 4], [0, 8, 0, -4], [1, 8, 0, -4], [1, 80, 0, 0]]), 4, 2
    )
    assert table.at(others).tolist() == [HOLDS, NEGATIVE, 3, NEGATIVE]
    none = Sites.from_coords(torch.zeros(0, 4, dtype=torch.int64), 4, 2)
    assert table.at(none).shape == (0,)
    empty = CellTable.of(cells[:0], torch.zeros(0, 7, dtype=torch.int64), 4, batch_size=2)
    assert torch.equal(empty.at(others), torch.full((4, 7), NEGATIVE))


def test_boxes_are_drawn_around_the_voxels_of_objects() -> None:
    cells = torch.tensor([[0, 0, 0], [4, 1, 2], [9, 9, 9]])
    members = torch.tensor([[True, True, False], [False] * 3, [False, False, True]])
    boxes, rows = boxes_of_objects(cells, members)
    assert rows.tolist() == [0, 2]
    assert boxes.tolist() == [[2, 0.5, 1, 5, 2, 3, 0], [9, 9, 9, 1, 1, 1, 0]]


def scene_of_two(instance: bool) -> Scene:
    """A table of 1 m and a lamp on it, whose point also lies in the table's box."""
    table = torch.tensor([[0.02, 0.02, 0.52], [1.02, 0.52, 0.02], [0.52, 0.32, 0.27]])
    points = torch.cat([table, torch.tensor([[0.42, 0.22, 0.42], [3.02, 0.02, 0.02]])])
    boxes = torch.tensor(
        [[0.52, 0.27, 0.27, 1.02, 0.52, 0.52, 0], [0.42, 0.22, 0.42, 0.1, 0.1, 0.1, 0]]
    )
    owner = torch.tensor([0, 0, 0, 1, -1]) if instance else None
    return Scene("s", points, torch.rand(5, 3), Boxes(boxes), torch.tensor([5, 7]), owner)


@pytest.mark.parametrize("words", [[], ["assigner.object_points=box"]])
@pytest.mark.parametrize("instance", [True, False])
def test_points_in_boxes_stand_for_instances(instance: bool, words: list[str]) -> None:
    model = detector(tiny("model.voxel_size=0.05", *words))
    truth = model.inputs([scene_of_two(instance)]).truth
    assert truth.labels.tolist() == [5, 7]
    assert truth.boxes[0].tolist() == [10, 5, 5, 21, 11, 11, 0]
    assert truth.boxes[1].tolist() == [8, 4, 8, 1, 1, 1, 0]
