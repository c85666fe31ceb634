"""CAGroup3D's parts. `test_golden.py` compares the whole with its original."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.data.loader import generator_for
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene
from sr3d.detectors.cagroup3d.config import CAGroup3DAssignment, CAGroup3DConfig
from sr3d.detectors.cagroup3d.detector import CAGroup3D
from sr3d.detectors.cagroup3d.loss import mirrored
from sr3d.detectors.cagroup3d.names import adopt, infer, to_original
from sr3d.detectors.cagroup3d.network import cell_sizes, first_rows
from sr3d.detectors.cagroup3d.roi import decode, encode, folded, grid_points
from sr3d.detectors.cagroup3d.sampling import draw, overlaps
from sr3d.detectors.cagroup3d.targets import (
    inside,
    match_anchors,
    smallest,
    votes_for_boxes,
    votes_for_instances,
)
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.outputs import Detections
from sr3d.errors import InputError, Kind
from sr3d.geometry.iou import paired_iou
from sr3d.sparse.determinism import ordered_backward
from tests.detectors.tiny_families import tiny_detector

ROOM = generate_room(0, points=1500)
BOXES = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0.3], [0.2, 0, 0, 1, 1, 1, 0], [5.0, 5, 0, 1, 2, 1, -1]])


def detector(*overrides: str, dataset: str = "synthetic") -> CAGroup3D:
    model = tiny_detector("cagroup3d", dataset, *overrides)
    assert isinstance(model, CAGroup3D)
    return model


def eager(model: CAGroup3D) -> CAGroup3D:
    """With voxels in every group, and scores high enough for proposals."""
    for conv in (model.dense_head.semantic_conv, model.dense_head.cls_conv):
        assert conv.bias is not None
        torch.nn.init.constant_(conv.bias, 2.0)
    return model


# ---------------------------------------------------------------- first stage


def test_cells_are_shares_of_mean_sizes_within_limits() -> None:
    config = with_overrides(default_config("scannet"), ["model=cagroup3d"])
    assert isinstance(config, CAGroup3DConfig)
    cells = cell_sizes(config.model, [[0.76966726, 0.1, 9.0], [1.0, 2.0, 3.0]])
    expected = [[0.2309 / 2, 0.04, 1.0], [0.15, 0.3, 0.45]]
    torch.testing.assert_close(cells, torch.tensor(expected))


def test_the_threshold_falls_with_epochs_and_stays_with_the_weights() -> None:
    model = detector().eval()
    assert float(model.threshold()) == pytest.approx(0.15)
    for epoch, training, trained in ((0, 0.15, 0.13), (3, 0.09, 0.07), (9, 0.05, 0.05)):
        model.start_epoch(epoch)
        assert float(model.train().threshold()) == pytest.approx(training)
        assert float(model.eval().threshold()) == pytest.approx(trained)
    other = detector().eval()
    other.load_state_dict(model.state_dict())
    assert float(other.threshold()) == pytest.approx(0.05)


def test_the_first_voxel_of_a_scene_joins_every_group() -> None:
    model = detector().eval()
    bias = model.dense_head.semantic_conv.bias
    assert bias is not None
    torch.nn.init.constant_(bias, -9)
    with torch.no_grad():
        found = model(model.inputs([ROOM, generate_room(1, points=700)]))
    assert first_rows(found.voxels.sites).tolist() == [0, found.voxels.sites.counts[0]]
    for group in range(len(model.classes)):
        own = found.anchors.groups == group
        assert set(found.anchors.coords[own, 0].tolist()) == {0, 1}
        assert own.sum() <= 4  # a voxel and its vote in each scene


def test_scenes_of_a_batch_do_not_meet() -> None:
    model = eager(detector()).eval()
    other = Scene.unlabelled(ROOM.points + 0.3, ROOM.colors)
    with torch.no_grad():
        alone = [model(model.inputs([scene])) for scene in (ROOM, other)]
        both = model(model.inputs([ROOM, other]))
    for scene, one in enumerate(alone):
        own = both.anchors.coords[:, 0] == scene
        torch.testing.assert_close(both.anchors.cls[own], one.anchors.cls, atol=1e-5, rtol=1e-4)


def test_an_anchor_goes_to_the_smallest_box_of_its_class() -> None:
    points = torch.tensor([[0.2, 0, 0], [0.9, 0, 0], [0.2, 0, 0], [9.0, 9, 9]])
    groups = torch.tensor([0, 0, 1, 0])
    labels = torch.tensor([0, 0, 1])
    matches = match_anchors(points, groups, BOXES, labels, top=2)
    assert matches.tolist() == [1, 0, -1, -1]
    assert match_anchors(points, groups, BOXES[:0], labels[:0], top=2).tolist() == [-1] * 4


def test_a_box_claims_its_most_central_anchors() -> None:
    points = torch.tensor([[x, 0.0, 0.0] for x in (0.0, 0.1, 0.2, 0.3, 0.4)])
    box = torch.tensor([[0.0, 0, 0, 1, 1, 1, 0]])
    groups, label = torch.zeros(5, dtype=torch.int64), torch.tensor([0])
    assert match_anchors(points, groups, box, label, top=2).tolist() == [0, 0, -1, -1, -1]
    # With as few anchors as a box may claim, the worst one loses its place.
    assert match_anchors(points[:2], groups[:2], box, label, top=2).tolist() == [0, -1]


def test_voxels_are_inside_without_faces() -> None:
    box = torch.tensor([[0.0, 0, 0, 2, 1, 1, math.pi / 2]])
    points = torch.tensor([[0.0, 0.9, 0], [0.9, 0, 0], [0, 0, 0.5]])
    assert inside(points, box)[:, 0].tolist() == [True, False, False]
    assert smallest(inside(points, box), box).tolist() == [0, -1, -1]


def test_votes_are_for_the_first_the_second_and_the_last_box() -> None:
    boxes = torch.cat([BOXES[:2], BOXES[1:2] + torch.tensor([0, 0, 0.1, 0, 0, 0, 0])])
    voxels = torch.tensor([[0.2, 0, 0], [-0.8, 0, 0], [7.0, 0, 0]])
    found = votes_for_boxes(voxels, boxes, votes=3)
    assert found.masks.tolist() == [True, True, False]
    centres = found.offsets + voxels[:, None]
    torch.testing.assert_close(centres[0], boxes[:3, :3])
    torch.testing.assert_close(centres[1], boxes[:1, :3].expand(3, 3))
    assert not found.offsets[2].any()


def test_votes_are_for_the_box_nearest_to_the_object_of_the_nearest_point() -> None:
    points = torch.tensor([[4.5, 4.5, 0], [5.5, 5.5, 0], [0.0, 0, 0]])
    found = votes_for_instances(
        torch.tensor([[4.6, 4.6, 0], [0.1, 0, 0]]), BOXES, points, torch.tensor([0, 0, -1])
    )
    assert found.masks.tolist() == [True, False]
    torch.testing.assert_close(found.offsets[0, 0], torch.tensor([0.4, 0.4, 0.0]))
    assert not found.offsets[1].any()


def test_the_published_iou_is_that_of_mirrored_boxes() -> None:
    a = torch.tensor([[0.0, 0, 0, 3, 1, 1, 0.3]])
    b = a + torch.tensor([0.3, 0.5, 0, 0, 0, 0, 0.4])
    ours = paired_iou(mirrored(a), mirrored(b), rotated=True)
    assert float((ours - paired_iou(a, b, rotated=True)).abs()) > 1e-2
    same = torch.cat([a[:, :6], a[:, 6:] + 0.4], dim=1)
    torch.testing.assert_close(
        paired_iou(mirrored(a), mirrored(same), rotated=True), paired_iou(a, same, rotated=True)
    )


# ---------------------------------------------------------------- second stage


def test_the_grid_turns_with_the_box_x_fastest() -> None:
    box = torch.tensor([[1.0, 2, 3, 3, 6, 9, math.pi / 2]])
    points = grid_points(box, 3)[0]
    torch.testing.assert_close(points[13], box[0, :3])
    torch.testing.assert_close(points[14] - points[13], torch.tensor([0.0, 1, 0]))  # along x
    torch.testing.assert_close(points[16] - points[13], torch.tensor([-2.0, 0, 0]))  # along y
    torch.testing.assert_close(points[22] - points[13], torch.tensor([0.0, 0, 3]))


def test_pooling_equals_a_convolution_over_each_grid() -> None:
    model = eager(detector()).eval()
    pool: Any = model.roi_head.roi_grid_pool_layers[0]
    rois = torch.tensor([[0.5, 0.4, 0.5, 0.8, 0.6, 0.4, 0.2], [1.0, 1, 0.4, 0.5, 0.5, 0.5, -0.7]])
    scenes = torch.tensor([0, 0])
    with torch.no_grad():
        x = model(model.inputs([ROOM])).features
        found = pool(x, rois, scenes)
        cells, rows = pool.gridded(x, rois, scenes)
        grid = cells[rows].view(2, 3, 3, 3, -1).permute(0, 4, 1, 2, 3)  # z, y, x
        kernel = pool.pooling_conv.kernel.view(3, 3, 3, *pool.pooling_conv.kernel.shape[1:])
        whole = torch.nn.functional.conv3d(grid, kernel.permute(4, 3, 0, 1, 2)).flatten(1)
        torch.testing.assert_close(found, pool.pooling_bn.normed(whole), atol=1e-5, rtol=1e-4)


def test_codes_give_the_box_back() -> None:
    rois = BOXES + torch.tensor([0.1, -0.2, 0.05, 0.1, 0.2, 0.1, 0.2])
    torch.testing.assert_close(decode(encode(BOXES, rois, rotated=True), rois), BOXES)
    upright = torch.cat([BOXES[:, :6], torch.zeros(3, 1)], dim=1)
    codes = encode(upright, upright, rotated=False)
    assert codes.shape == (3, 6)
    assert not codes.any()


def test_turns_are_folded_to_half_a_turn() -> None:
    turns = torch.tensor([0.1, -0.1, math.pi - 0.1, math.pi + 0.1, 1.5 * math.pi + 0.1])
    expected = torch.tensor([0.1, -0.1, -0.1, 0.1, -math.pi / 2 + 0.1])
    torch.testing.assert_close(folded(turns), expected, atol=1e-5, rtol=0)


def test_proposals_are_compared_with_boxes_of_their_class() -> None:
    found = Detections(BOXES, torch.ones(3), torch.tensor([1, 0, 2]))
    iou, owner = overlaps(found, BOXES, torch.tensor([0, 1, 1]))
    assert owner.tolist() == [1, 0, 0]
    assert iou[2] == 0
    torch.testing.assert_close(iou[0], paired_iou(BOXES[:1], BOXES[1:2], rotated=True)[0])


@pytest.mark.parametrize(
    ("iou", "foreground", "hard"),
    [
        ([0.9] * 30 + [0.2] * 20 + [0.0] * 20, 9, 0),  # int(1 · 0.8) of the rest
        ([0.9] * 2 + [0.2] * 20 + [0.0] * 20, 2, 6),
        ([0.9] * 2 + [0.2] * 20, 2, 8),
        ([0.0] * 3, 0, 0),
        ([0.9] * 3, 10, 0),
    ],
)
def test_shares_of_the_draw(iou: list[float], foreground: int, hard: int) -> None:
    values, config = torch.tensor(iou), CAGroup3DAssignment(rois=10)
    rows = draw(values, config, generator_for(1))
    assert len(rows) == 10
    chosen = values[rows]
    assert (chosen >= 0.3).sum() == foreground
    assert ((chosen >= 0.1) & (chosen < 0.3)).sum() == hard
    assert torch.equal(rows, draw(values, config, generator_for(1)))
    if len(iou) > 3:
        assert len(rows[:foreground].unique()) == foreground  # without repetition


# ---------------------------------------------------------------- whole


def batch_loss(model: CAGroup3D, scenes: list[Scene], seed: int = 0) -> dict[str, Tensor]:
    batch = model.inputs(scenes, [generator_for(seed, i) for i in range(len(scenes))])
    losses = model.loss(model(batch), GroundTruth.of(scenes, model.device))
    model.zero_grad()
    ordered_backward(losses.total)
    return dict(losses.terms)


@pytest.mark.parametrize("dataset", ["synthetic", "synthetic_rotated"])
def test_every_weight_learns(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Rois that are ground truths, so the second stage has foreground.
    model = eager(detector(dataset=dataset)).train()
    truths = Detections(ROOM.boxes.tensor, torch.ones(len(ROOM.labels)), ROOM.labels)
    monkeypatch.setattr(model, "proposals", lambda *_: [truths])
    terms = batch_loss(model, [ROOM])
    assert all(
        float(value.detach()) > 0 for name, value in terms.items() if not name.startswith("refine")
    )
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # The coarsest windows hold one cell, the last layer's small weights let little through, and
    # the scales of absent classes learn nothing.
    apart = ".spp.", "roi_head.", ".scales."
    assert [name for name in still if not any(part in name for part in apart)] == []
    assert model.roi_head.reg_pred_layer.weight.grad is not None


def test_equal_seeds_draw_equal_proposals() -> None:
    model = eager(detector("model.dropout=0")).train()
    drawn = []
    for seed in (0, 0, 1):
        batch = model.inputs([ROOM], [generator_for(seed)])
        drawn.append(model.sampled([_detections(40)], batch).rois.boxes)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def _detections(count: int) -> Detections:
    boxes = torch.rand(count, 7, generator=generator_for(5)) + 0.1
    return Detections(boxes, torch.rand(count), torch.zeros(count, dtype=torch.int64))


def test_a_scene_without_proposals_or_boxes_trains() -> None:
    model = detector().train()
    empty = Scene.unlabelled(ROOM.points, ROOM.colors)
    terms = batch_loss(model, [ROOM, empty])
    assert all(bool(torch.isfinite(value)) for value in terms.values())
    assert terms["refine"] == 0


def test_a_checkpoint_of_the_original_shows_its_network() -> None:
    model = detector(dataset="synthetic_rotated")
    model.start_epoch(6)
    weights = model.state_dict()
    theirs = to_original(weights)
    assert theirs["global_step"].tolist() == [7]
    back = {"epochs" if k == "global_step" else k: v for k, v in theirs.items()}
    ours = adopt(back, [*theirs])
    assert all(torch.equal(ours[name], value) for name, value in weights.items())
    column = "dense_head.reg_conv.kernel"
    assert torch.equal(theirs[column][:, 6], -weights[column][:, 6])
    found = infer(weights)
    assert (found.classes, found.rotated) == (13, True)
    config = with_overrides(
        default_config("synthetic_rotated"), ["model=cagroup3d_small", *found.overrides]
    )
    assert config.model == with_overrides(config, [f"model.cell_sizes={[0.12, 1.0]}"]).model


def test_published_training() -> None:
    words = ["model=cagroup3d", "train=cagroup3d", "augment=cagroup3d"]
    scannet, sunrgbd = (with_overrides(default_config(d), words) for d in ("scannet", "sunrgbd"))
    assert (scannet.train.epochs, scannet.train.milestones) == (10, (7, 9))
    assert (sunrgbd.train.epochs, sunrgbd.train.milestones) == (14, (8, 11))
    assert (scannet.train.repeat, sunrgbd.train.repeat) == (10, 4)
    assert isinstance(scannet, CAGroup3DConfig)
    assert isinstance(sunrgbd, CAGroup3DConfig)
    assert (scannet.model.votes, sunrgbd.model.votes) == (1, 3)
    assert (sunrgbd.loss.vote, sunrgbd.loss.refine, sunrgbd.loss.refine_iou) == (0.2, 0.5, 1.0)
    assert (scannet.loss.vote, scannet.loss.refine, scannet.loss.refine_iou) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("word", "field"),
    [
        ("model.cell_sizes=[1.0, 0.5]", "model.cell_sizes"),
        ("model.semantic_thr=[0.1, 0.02, 0.2]", "model.semantic_thr"),
    ],
)
def test_values_that_do_not_go_together_are_refused(word: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        with_overrides(default_config("scannet"), ["model=cagroup3d", word])
    assert (caught.value.field, caught.value.kind) == (field, Kind.VALUE)


def test_it_has_no_inference_runner() -> None:
    with pytest.raises(InputError) as caught:
        detector().compile()
    assert (caught.value.field, caught.value.kind) == ("compile", Kind.CONFLICT)


def test_it_detects_and_has_raw_outputs(tmp_path: Path) -> None:
    model = eager(detector())
    found = model.detect(ROOM.points, ROOM.colors)
    assert len(found.boxes) > 0
    raw: dict[str, Any] = model.raw_outputs(ROOM.points, ROOM.colors)
    assert raw["reg"].shape == (len(raw["anchor_coords"]), 6)
    assert len(raw["proposals"]) == len(raw["codes"])
