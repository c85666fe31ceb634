"""GSDN's anchors, assignment, pruning, loss and averaging NMS against literal references."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sr3d.config import Config
from sr3d.data.ground_truth import IGNORED, NEGATIVE, GroundTruth
from sr3d.data.loader import generator_for
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene
from sr3d.detectors import build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.gsdn.anchors import anchor_corners, anchor_sizes, decode, encode, strides
from sr3d.detectors.gsdn.assignment import HOLDS, CellTable, boxes_of_objects, match_anchors
from sr3d.detectors.gsdn.config import GSDNAssignment, GSDNConfig, GSDNInference
from sr3d.detectors.gsdn.detector import GSDN
from sr3d.detectors.gsdn.loss import balanced_mean, balanced_sums, box_loss, sparsity_loss
from sr3d.detectors.gsdn.network import IN_CHANNELS
from sr3d.detectors.gsdn.selection import Candidates, in_metres, joined
from sr3d.detectors.infer_config import infer_config, load_model
from sr3d.detectors.weights import read_checkpoint, write_foreign
from sr3d.errors import Kind
from sr3d.geometry.boxes import Boxes
from sr3d.sparse import Sites
from sr3d.train.step import batch_losses
from tests.detectors.tiny_families import tiny_config
from tests.refusals import refuses

ROOM = generate_room(0, points=1500)


def tiny(*overrides: str, dataset: str = "synthetic") -> GSDNConfig:
    found = tiny_config("gsdn", dataset, *overrides)
    assert isinstance(found, GSDNConfig)
    return replace(found, mean_sizes=())


def detector(config: Config) -> GSDN:
    torch.manual_seed(0)
    found = build_detector(config)
    assert isinstance(found, GSDN)
    return found


def with_scores(model: GSDN, logit: float) -> GSDN:
    """Every cell has this logit of holding an object, before pruning."""
    decoder = model.feature_upsample_network
    for i in range(1, len(model.config.planes) + 1):
        layer: Any = decoder.get_submodule(f"conv_cls{i}")
        torch.nn.init.zeros_(layer.kernel)
        layer.bias.data = torch.tensor([[0.0, logit]])
    return model


# ---------------------------------------------------------------- anchors


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


def overlap(anchor: list[float], box: list[float]) -> float:
    """IoU of corners and a box, in plain numbers."""
    shared = volume = other = 1.0
    for axis in range(3):
        low, high = box[axis] - box[3 + axis] / 2, box[axis] + box[3 + axis] / 2
        shared *= max(0.0, min(anchor[3 + axis], high) - max(anchor[axis], low))
        volume, other = volume * (anchor[3 + axis] - anchor[axis]), other * (high - low)
    return shared / (volume + other - shared + 1e-7)


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


# ---------------------------------------------------------------- inputs and network


def test_voxels_begin_at_the_lowest_point_and_have_colours_and_height() -> None:
    model = detector(tiny("model.voxel_size=0.5"))
    points = torch.tensor([[-1.1, 2.0, 0.3], [-1.2, 2.1, 0.4], [1.0, 2.6, 1.3]])
    colors = torch.tensor([[0.0, 0.5, 1.0], [0.1, 0.1, 0.1], [0.25, 0.25, 0.25]])
    batch = model.inputs([Scene.unlabelled(points, colors)])
    assert batch.origins.tolist() == [[-3, 4, 0]]
    assert batch.x.sites.coords.tolist() == [[0, 0, 0, 0], [0, 5, 1, 2]]
    height = points[:, 2].numpy() - np.percentile(points[:, 2].numpy(), 0.99)
    wanted = [[-0.5, 0.0, 0.5, height[0]], [-0.25, -0.25, -0.25, height[2]]]
    torch.testing.assert_close(batch.x.features, torch.tensor(wanted, dtype=torch.float32))
    assert batch.x.features.shape[1] == IN_CHANNELS


def test_heights_are_noisy_only_in_training_with_a_generator() -> None:
    model = detector(tiny())
    plain = model.inputs([ROOM]).x.features
    generators = [generator_for(3)]
    assert torch.equal(model.eval().inputs([ROOM], generators).x.features, plain)
    noisy = model.train().inputs([ROOM], generators).x.features
    assert torch.equal(noisy[:, :3], plain[:, :3])
    assert 0.005 < float((noisy - plain)[:, 3].std()) < 0.02
    assert torch.equal(model.inputs([ROOM]).x.features, plain)
    still = detector(tiny("model.height_noise=0")).train()
    assert torch.equal(still.inputs([ROOM], generators).x.features, plain)


@pytest.mark.parametrize("logit", [-9.0, 9.0])
def test_training_keeps_the_cells_of_positives_whatever_their_score_is(logit: float) -> None:
    model = with_scores(detector(tiny()), logit)
    batch = model.inputs([ROOM])
    model.eval()
    with torch.no_grad():
        found = model(batch)
    for level in found.levels:
        assert len(level.kept.sites) == (len(level.cells) if logit > 0 else 0)
    assert found.targets is None
    if logit < 0:
        assert [len(d.labels) for d in model.detections(found)] == [0]
        assert float(model.loss(found, batch.truth).terms["objectness"]) == 0
    trained = model.train()(batch)
    for i, level in enumerate(trained.levels):
        holds = trained.targets.cells[i].at(level.cells) >= 0
        kept = {*map(tuple, level.kept.sites.coords.tolist())}
        assert {*map(tuple, level.cells.coords[holds].tolist())} <= kept
        assert bool(holds.any())
        if logit < 0:
            assert len(kept) == int(holds.sum())
    assert int(model.loss(trained, batch.truth).curves["positives"]) > 0


def test_a_cell_generates_its_neighbours_at_half_its_stride() -> None:
    model = with_scores(detector(tiny()), 9.0).eval()
    with torch.no_grad():
        found = model(model.inputs([Scene.unlabelled(torch.zeros(1, 3), torch.zeros(1, 3))]))
    fine, middle, coarse = (level.cells.coords[:, 1:] for level in found.levels)
    assert coarse.tolist() == [[0, 0, 0]]
    assert {*map(tuple, middle.tolist())} == {*itertools.product((-8, 0, 8), repeat=3)}
    assert {*map(tuple, fine.tolist())} == {
        *itertools.product((-12, -8, -4, 0, 4, 8, 12), repeat=3)
    }


def test_scenes_of_a_batch_do_not_meet() -> None:
    model = detector(tiny("test.score_thr=0.0", "test.voxel_pick=first")).eval()
    scenes = [ROOM, generate_room(1, points=900)]
    with torch.no_grad():
        together = model.detections(model(model.inputs(scenes)))
        for scene, found in zip(scenes, together, strict=True):
            (alone,) = model.detections(model(model.inputs([scene])))
            torch.testing.assert_close(found.boxes, alone.boxes, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(found.scores, alone.scores)
            assert len(found.labels) > 5


def test_boxes_move_with_the_scan() -> None:
    model = detector(tiny("test.score_thr=0.0", "model.voxel_size=0.125")).eval()
    shift = torch.tensor([3.0, -6.5, 0.25])  # whole voxels
    points = (ROOM.points * 64).round() / 64  # so that nothing is rounded
    with torch.no_grad():
        here, there = (
            model.detections(model(model.inputs([Scene.unlabelled(p, ROOM.colors)])))[0]
            for p in (points, points + shift)
        )
    torch.testing.assert_close(there.boxes[:, :3], here.boxes[:, :3] + shift)
    torch.testing.assert_close(there.boxes[:, 3:], here.boxes[:, 3:])


def test_the_network_has_the_published_size_and_initialisation() -> None:
    config = with_overrides(default_config("scannet"), ["model=gsdn", "model.anchors=7"])
    model = detector(config)
    assert sum(p.numel() for p in model.parameters()) == 68_422_078
    assert sum(p.numel() for p in model.backbone.parameters()) == 63_483_904
    assert sum(p.numel() for p in model.feature_upsample_network.parameters()) == 4_881_416
    layer: Any = model.backbone.get_submodule("layer4.1.conv1")
    assert float(layer.kernel.detach().std()) == pytest.approx(math.sqrt(2 / (27 * 512)), rel=0.01)
    up: Any = model.feature_upsample_network.get_submodule("conv_up4.0")
    assert float(up.kernel.detach().std()) == pytest.approx(math.sqrt(2 / (27 * 512)), rel=0.01)
    pointwise = model.region_proposal_network.final_semantic_logits
    assert float(pointwise.kernel.detach().std()) == pytest.approx(math.sqrt(2 / 128), rel=0.05)
    momenta = {n.bn.momentum for n in model.modules() if hasattr(n, "bn")}
    assert (momenta, model.backbone.bn1.bn.momentum) == ({0.02, 0.1}, 0.02)


# ---------------------------------------------------------------- loss


def test_balanced_entropy_weighs_both_kinds_alike() -> None:
    logits = torch.tensor([[0.0, 1.0], [0.0, 0.0], [2.0, 0.0], [5.0, 0.0]])
    matches = torch.tensor([4, NEGATIVE, NEGATIVE, IGNORED])
    p = logits.softmax(dim=1)
    wanted = -(p[0, 1].log() + (p[1, 0].log() + p[2, 0].log()) / 2) / 2
    sums, counts = balanced_sums(logits, matches)
    assert counts.tolist() == [2, 1]
    torch.testing.assert_close(balanced_mean(sums, counts), wanted)
    # An absent kind adds nothing. With the counts of two processes the mean is half as large.
    sums, counts = balanced_sums(logits, torch.tensor([NEGATIVE, IGNORED, NEGATIVE, IGNORED]))
    torch.testing.assert_close(
        balanced_mean(sums, counts, lambda n: 2 * n), -(p[0, 0].log() + p[2, 0].log()) / 8
    )
    pair = sparsity_loss([logits, logits[:1]], [matches, matches[:1]])
    torch.testing.assert_close(pair, (wanted - p[0, 1].log() / 2) / 2)


def test_the_box_loss_is_a_mean_over_positives_and_outputs() -> None:
    outputs, targets = torch.zeros(2, 6), torch.zeros(2, 6)
    targets[0, :2] = torch.tensor([0.5, 3.0])
    found = box_loss(outputs, targets, torch.tensor(4))
    assert float(found) == pytest.approx((0.5 * 0.25 + 2.5) / 24)


def test_every_weight_learns_but_the_unused_layer() -> None:
    model = detector(tiny()).train()
    losses = batch_losses(model, [ROOM, generate_room(1, points=1500)])
    assert {*losses.terms} == {"objectness", "box", "label", "sparsity"}
    losses.total.backward()
    silent = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert {name.split(".")[1] for name in silent} == {"conv_up1"}


# ---------------------------------------------------------------- post-processing


def literal_joined(
    found: Candidates, config: GSDNInference
) -> list[tuple[int, float, list[float]]]:
    """Label, score and corners of the joined boxes, best first."""
    left = list(
        zip(found.labels.tolist(), found.scores.tolist(), found.corners.tolist(), strict=True)
    )
    left.sort(key=lambda row: -row[1])
    result: list[tuple[int, float, list[float]]] = []
    while left:
        label, score, corners = left[0]
        box = [(corners[a] + corners[3 + a]) / 2 for a in range(3)]
        box += [corners[3 + a] - corners[a] for a in range(3)]
        own = [
            row
            for row in left
            if row is left[0] or (row[0] == label and overlap(row[2], box) > config.iou_thr)
        ]
        left = [row for row in left if row not in own]
        weights = [row[1] + 1e-4 for row in own]
        mean = [
            sum(w * row[2][i] for w, row in zip(weights, own, strict=True)) / sum(weights)
            for i in range(6)
        ]
        result.append((label, score, mean))
    kept = [
        row
        for i, row in enumerate(result)
        if sum(other[0] == row[0] for other in result[:i]) < config.per_class
    ]
    return kept[: config.most]


def random_candidates(seed: int, count: int = 60) -> Candidates:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 3, generator=generator) * 20
    corners = torch.cat([low, low + 5 + 10 * torch.rand(count, 3, generator=generator)], dim=1)
    scores = torch.rand(count, generator=generator).sort(descending=True).values
    return Candidates(corners, scores, torch.randint(3, (count,), generator=generator))


@pytest.mark.parametrize("words", [{}, {"per_class": 4}, {"most": 7}, {"iou_thr": 0.1}])
def test_joined_boxes_are_means_weighted_by_scores(words: dict[str, Any]) -> None:
    config = replace(GSDNInference(), **words)
    for seed in range(3):
        candidates = random_candidates(seed)
        found, wanted = joined(candidates, config), literal_joined(candidates, config)
        assert found.labels.tolist() == [row[0] for row in wanted]
        torch.testing.assert_close(found.scores, torch.tensor([row[1] for row in wanted]))
        torch.testing.assert_close(found.corners, torch.tensor([row[2] for row in wanted]))
        plain = joined(candidates, replace(config, average=False))
        assert torch.equal(plain.scores, found.scores)
        rows = [candidates.scores.tolist().index(score) for score in plain.scores.tolist()]
        assert torch.equal(plain.corners, candidates.corners[rows])


def test_boxes_without_a_volume_are_joined_too() -> None:
    flat = Candidates(torch.zeros(3, 6), torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3).long())
    assert len(joined(flat, GSDNInference()).scores) == 3
    none = Candidates(*(values[:0] for values in flat))
    assert len(joined(none, GSDNInference()).scores) == 0


def test_in_metres_a_box_spans_the_centres_of_its_voxels() -> None:
    corners = torch.tensor([[1.5, -0.5, 3.5, 3.5, 7.5, 3.5]])  # voxels 2 to 4, 0 to 8, and 4
    found = Candidates(corners, torch.tensor([0.9]), torch.tensor([1]))
    metres = in_metres(found, torch.tensor([10, 0, -4]), 0.5)
    low, high = metres.boxes[:, :3] - metres.boxes[:, 3:6] / 2, metres.boxes[:, :3]
    assert low.tolist() == [[6.25, 0.25, 0.25]]
    assert (2 * high - low).tolist()[0][:2] == [7.25, 4.25]
    assert float(metres.boxes[0, 5]) == pytest.approx(0.05)  # a tenth of a voxel


# ---------------------------------------------------------------- configuration and checkpoints


@pytest.mark.parametrize("anchors", [7, 13])
def test_a_checkpoint_of_the_original_shows_its_network(anchors: int, tmp_path: Path) -> None:
    words = (f"model.anchors={anchors}", "model.planes=[8,12,16]", "model.blocks=[1,2,1]")
    config = tiny(*words, dataset="scannet")
    model = detector(config)
    state = model.state_dict()
    torch.save({"state_dict": {f"module.{n}": v for n, v in state.items()}}, tmp_path / "a.pth")
    read = read_checkpoint(tmp_path / "a.pth")
    assert read.naming == "jgwak/GSDN"
    found = infer_config(read)
    assert isinstance(found, GSDNConfig)
    assert (found.dataset, replace(found.model, voxel_size=0.1)) == ("scannet", config.model)
    write_foreign(tmp_path / "b.pth", model, config, "original")
    again = load_model(read_checkpoint(tmp_path / "b.pth"), config).state_dict()
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)


def test_published_training() -> None:
    config = with_overrides(default_config("scannet"), ["model=gsdn", "train=gsdn", "augment=gsdn"])
    train, augment = config.train, config.augment
    assert (train.optimizer, train.lr, train.momentum, train.dampening) == ("sgd", 0.1, 0.9, 0.1)
    assert (train.schedule, train.decay, train.decay_steps) == ("exponential", 0.95, 1000)
    assert abs(1201 // train.batch_size * train.epochs - 120_000) < 1000
    assert (train.clip_norm, train.weight_decay) == (0, 1e-4)
    assert (augment.elastic, augment.tilt, augment.rotation) == (0.95, 5, 5)
    assert (augment.flip_x, augment.translation) == (0.95 * 0.5, 0)


@pytest.mark.parametrize(
    ("word", "field"),
    [
        ("model.planes=[8]", "model.planes"),
        ("model.blocks=[1,1]", "model.blocks"),
        ("model.anchors=5", "model.anchors"),
        ("assigner.negative_iou=0.5", "assigner.negative_iou"),
    ],
)
def test_values_that_do_not_go_together_are_refused(word: str, field: str) -> None:
    with refuses(field=field):
        tiny(word)


def test_it_has_no_inference_runner() -> None:
    with refuses(Kind.CONFLICT, field="compile", mentions=["gsdn"], remedy=["compile"]):
        detector(tiny()).compile()


def test_raw_outputs_have_the_originals_names() -> None:
    model = detector(tiny())
    found = model.raw_outputs(ROOM.points, ROOM.colors)
    classes = len(model.classes)
    for i in range(3):
        kept = len(found[f"head{i}_coords"])
        assert found[f"fpn{i}_logits"].shape == (len(found[f"fpn{i}_coords"]), 2)
        assert found[f"head{i}_obj"].shape == (kept, 14)
        assert found[f"head{i}_sem"].shape == (kept, 7 * classes)
        assert found[f"head{i}_box"].shape == (kept, 42)


def test_it_overfits_a_room() -> None:
    room = generate_room(2, points=4000)
    config = with_overrides(
        default_config("synthetic"), ["model=gsdn_small", "model.voxel_size=0.08"]
    )
    model = detector(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        found = batch_losses(model, [room])
        optimizer.zero_grad()
        found.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        losses.append(float(found.total.detach()))
    assert losses[-1] < losses[0] / 4
    truth = GroundTruth.of([room], model.device)
    found = model.detect(room.points, room.colors)
    near = (truth.boxes[:, None, :3] - found.boxes[:, :3]).norm(dim=-1)
    near[truth.labels[:, None] != found.labels] = torch.inf
    assert float((near.amin(dim=1) < 0.3).float().mean()) > 0.6
