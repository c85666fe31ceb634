"""GSDN's inputs, pruning, loss, averaging NMS, configuration and checkpoints."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sr3d.config import Config
from sr3d.data.ground_truth import IGNORED, NEGATIVE, GroundTruth
from sr3d.data.loader import generator_for
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene
from sr3d.detectors import build_detector
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.gsdn.config import GSDNConfig, GSDNInference
from sr3d.detectors.gsdn.detector import GSDN
from sr3d.detectors.gsdn.loss import balanced_mean, balanced_sums, box_loss, sparsity_loss
from sr3d.detectors.gsdn.network import IN_CHANNELS
from sr3d.detectors.gsdn.selection import Candidates, in_metres, joined
from sr3d.detectors.infer_config import infer_config, load_model
from sr3d.detectors.weights import read_checkpoint, write_foreign
from sr3d.errors import Kind
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


def overlap(anchor: list[float], box: list[float]) -> float:
    """IoU of corners and a box, in plain numbers."""
    shared = volume = other = 1.0
    for axis in range(3):
        low, high = box[axis] - box[3 + axis] / 2, box[axis] + box[3 + axis] / 2
        shared *= max(0.0, min(anchor[3 + axis], high) - max(anchor[axis], low))
        volume, other = volume * (anchor[3 + axis] - anchor[axis]), other * (high - low)
    return shared / (volume + other - shared + 1e-7)


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
    momenta = {m.momentum for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d)}
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
    room = generate_room(2, points=3000)
    config = with_overrides(
        default_config("synthetic"), ["model=gsdn_small", "model.voxel_size=0.08"]
    )
    model = detector(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        loss = batch_losses(model, [room]).total
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 4
    truth = GroundTruth.of([room], model.device)
    found = model.detect(room.points, room.colors)
    near = (truth.boxes[:, None, :3] - found.boxes[:, :3]).norm(dim=-1)
    near[truth.labels[:, None] != found.labels] = torch.inf
    assert float((near.amin(dim=1) < 0.3).float().mean()) > 0.6
