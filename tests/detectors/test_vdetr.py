"""V-DETR's vertex bias, sampling, matching, losses, configuration and checkpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from sr3d.data.ground_truth import NEGATIVE, GroundTruth
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene
from sr3d.detectors import FAMILIES, build_detector
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.detectors.infer_config import infer_config
from sr3d.detectors.vdetr import vertex_bias as module
from sr3d.detectors.vdetr.config import VDETRConfig
from sr3d.detectors.vdetr.detector import VDETR, spread
from sr3d.detectors.vdetr.loss import point_targets, targets
from sr3d.detectors.vdetr.network import StageHeads, VertexAttention
from sr3d.detectors.vdetr.vertex_bias import VERTICES, vertex_bias
from sr3d.detectors.weights import read_checkpoint, write_foreign
from sr3d.geometry.boxes import Boxes
from sr3d.points import furthest_points
from sr3d.train.step import batch_losses
from tests.detectors.golden.weights import shapes_in, shapes_of
from tests.detectors.tiny_families import tiny_config, tiny_detector
from tests.family_configs import of_family
from tests.refusals import refuses
from tests.shared_data import shared

PRESETS = ["model=vdetr", "augment=vdetr", "train=vdetr"]
ROOM = generate_room(0, points=1500)


def config(dataset: str, *overrides: str) -> VDETRConfig:
    chosen = with_overrides(default_config(dataset), [*PRESETS, *overrides])
    return of_family(VDETRConfig, chosen)


def tiny(*overrides: str, dataset: str = "synthetic") -> VDETR:
    model = tiny_detector("vdetr", dataset, *overrides)
    assert isinstance(model, VDETR)
    return model


def random_boxes(*shape: int, yaw: float = 0.0) -> Tensor:
    boxes = torch.rand(*shape, 7) * 2 + 0.1
    boxes[..., 6] = yaw * torch.rand(shape)
    return boxes


# ---------------------------------------------------------------- vertex bias


def literal_bias(tables: Tensor, points: Tensor, boxes: Tensor) -> Tensor:
    """One query, point and vertex at a time, with the table padded by zeros."""
    heads = tables.shape[1]
    padded = torch.nn.functional.pad(tables, (1, 1, 1, 1, 1, 1))
    found = tables.new_zeros(len(boxes), heads, boxes.shape[1], points.shape[1])
    for b in range(len(boxes)):
        for q, box in enumerate(boxes[b].tolist()):
            cos, sin = math.cos(box[6]), math.sin(box[6])
            for m, point in enumerate(points[b].tolist()):
                d = [box[a] - point[a] for a in range(3)]
                d = [cos * d[0] + sin * d[1], cos * d[1] - sin * d[0], d[2]]
                for v, signs in enumerate(VERTICES):
                    offset = [d[a] + (signs[a] - 0.5) * box[3 + a] for a in range(3)]
                    logs = [math.copysign(math.log(512 * abs(o) + 1, 8), o) for o in offset]
                    at = [((log / 4 + 1) * 10 - 1) / 2 for log in logs]
                    if not all(-1 < a < 10 for a in at):
                        continue
                    low = [math.floor(a) for a in at]
                    for corner in VERTICES:
                        weight = 1.0
                        for a in range(3):
                            share = at[a] - low[a]
                            weight *= share if corner[a] else 1 - share
                        x, y, z = (low[a] + corner[a] + 1 for a in range(3))
                        found[b, :, q, m] += weight * padded[v, :, z, y, x]
    return found


@pytest.mark.parametrize("rotated", [False, True])
def test_the_bias_is_a_sum_over_vertices(rotated: bool) -> None:
    torch.manual_seed(0)
    tables = torch.randn(8, 2, 10, 10, 10)
    points, boxes = torch.rand(2, 4, 3) * 6, random_boxes(2, 3, yaw=2.0 * rotated)
    boxes[0, 0, :3] += 20.0  # beyond the lattice
    found = vertex_bias(tables, points, boxes, rotated)
    torch.testing.assert_close(found, literal_bias(tables, points, boxes), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rotated", [False, True])
def test_parts_of_the_pairs_give_the_same_bias_and_gradient(
    rotated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    points, boxes = torch.rand(2, 7, 3) * 4, random_boxes(2, 5, yaw=2.0 * rotated)
    given, found = torch.randn(2, 3, 5, 7), []
    for size in (1 << 14, 14):
        monkeypatch.setitem(module._PAIRS, "cpu", size)
        tables = torch.randn(8, 3, 10, 10, 10, generator=torch.Generator().manual_seed(1))
        tables.requires_grad_()
        bias = vertex_bias(tables, points, boxes, rotated)
        (gradient,) = torch.autograd.grad(bias, tables, given)
        found.append((bias.detach(), gradient))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("rotated", [False, True])
def test_the_gradient_is_that_of_the_interpolation(rotated: bool) -> None:
    torch.manual_seed(0)
    tables = torch.randn(8, 2, 10, 10, 10, dtype=torch.float64, requires_grad=True)
    points, boxes = torch.rand(1, 6, 3).double() * 4, random_boxes(1, 4, yaw=2.0 * rotated).double()
    (part,) = module._faces(points, boxes, rotated)
    faces = module.scaled(part[2])
    grid = torch.stack(
        [torch.stack([faces[s, a] for a, s in enumerate(v)], dim=-1) for v in VERTICES]
    )
    wanted = grid_sample(tables, grid[..., None, :], align_corners=False).sum(dim=0)[..., 0]
    given = torch.randn_like(wanted)
    (expected,) = torch.autograd.grad(wanted, tables, given)
    bias = vertex_bias(tables, points, boxes, rotated)
    (found,) = torch.autograd.grad(bias, tables, given[None])
    torch.testing.assert_close(found, expected)


def test_a_turned_box_and_cloud_have_the_same_bias() -> None:
    torch.manual_seed(0)
    tables, points = torch.randn(8, 2, 10, 10, 10), torch.rand(1, 6, 3)
    boxes = random_boxes(1, 4, yaw=1.0)
    turned = Boxes(torch.cat([points[0], torch.ones(6, 3), torch.zeros(6, 1)], dim=1)).rotated(0.7)
    other = Boxes(boxes[0]).rotated(0.7).tensor[None]
    a = vertex_bias(tables, points, boxes, rotated=True)
    b = vertex_bias(tables, turned.centers[None], other, rotated=True)
    torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-4)


def test_heads_share_keys_and_values() -> None:
    torch.manual_seed(0)
    layer = VertexAttention(16, 4, 0.0, rotated=False).eval()
    queries, memory = torch.randn(2, 3, 16), torch.randn(2, 5, 16)
    points, boxes = torch.rand(2, 5, 3), random_boxes(2, 3)
    found = layer(queries, memory, points, boxes)
    bias = vertex_bias(layer.tables(), points, boxes, rotated=False)
    parts = []
    for head in range(4):
        q = layer.q(queries)[..., 4 * head : 4 * head + 4]
        weights = (q @ layer.k(memory).transpose(1, 2) / 2 + bias[:, head]).softmax(dim=-1)
        parts.append(weights @ layer.v(memory))
    torch.testing.assert_close(found, layer.proj(torch.cat(parts, dim=-1)))


# ---------------------------------------------------------------- sampling and decoding


def test_few_voxels_are_repeated_evenly() -> None:
    points = torch.rand(5, 3) + 1
    index = spread(points, 12)
    counts = index.bincount(minlength=5)
    assert counts.tolist().count(2) == 3
    assert int(counts.min()) == 2
    assert index[:5].tolist() == index[5:10].tolist()
    assert torch.equal(index[:5], furthest_points(points[None], 5, tie_threads=512)[0])


def test_seeds_are_the_lowest_corners_of_cells() -> None:
    model = tiny("model.voxel_size=0.5").eval()
    scene = Scene.unlabelled(torch.tensor([[-1.2, 2.1, 0.4]]), torch.full((1, 3), 0.5))
    with torch.no_grad():
        found = model(model.inputs([scene]))
    assert found.points.unique(dim=1).tolist() == [[[-2.0, 2.0, 0.0]]]  # cells of stride 2
    assert found.points.shape == (1, model.config.seeds, 3)


def test_features_are_colours_relative_to_scannets_mean() -> None:
    colors = torch.tensor([[0.0, 0.5, 1.0]])
    for features, start in (("colors", 0), ("points_and_colors", 3)):
        batch = tiny(f"model.features={features}").inputs(
            [Scene.unlabelled(torch.tensor([[1.0, 2.0, 3.0]]), colors)]
        )
        wanted = [-109.8 / 256, (127.5 - 97.2) / 256, (255 - 83.8) / 256]
        assert batch.features[0, start:].tolist() == pytest.approx(wanted)
        assert batch.features[0, :start].tolist() == [1.0, 2.0, 3.0][:start]


def test_boxes_are_relative_to_the_reference_and_targets_invert_them() -> None:
    torch.manual_seed(0)
    heads = StageHeads(8, 4, HeadingBins(1), 0.0).eval()
    reference = torch.rand(1, 5, 6) + 0.5
    first = heads(torch.randn(1, 5, 8), reference)
    torch.testing.assert_close(first.boxes[..., :6], reference)  # before training
    assert first.logits.sigmoid().mean().item() == pytest.approx(0.01, rel=0.9)
    boxes = random_boxes(1, 5)
    center, size = targets(reference, boxes)
    at, edges = reference.split(3, dim=-1)
    torch.testing.assert_close(at + center * edges, boxes[..., :3], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(edges * size.exp(), boxes[..., 3:6], atol=1e-4, rtol=1e-4)


def test_every_layer_is_relative_to_the_box_that_began_the_query() -> None:
    model = tiny("model.layers=3").eval()
    with torch.no_grad():
        for p in model.decoder.mlp_heads.parameters():
            p.normal_(0, 0.3)
        found = model(model.inputs([ROOM]))
    first, *others = found.stages
    began = first.boxes[0, found.queries[0], :6]
    for stage in others:
        assert torch.equal(stage.reference[0], began)
    scores = first.logits[0, :, 0]
    assert found.queries.shape == (1, model.config.queries)
    assert torch.equal(scores[found.queries[0]], scores.sort(descending=True).values[:12])


# ---------------------------------------------------------------- matching and losses


def test_each_ground_truth_has_five_queries_of_a_layer_and_one_point() -> None:
    model = tiny("model.queries=40").train()
    scenes = [replace_boxes(ROOM, 4), replace_boxes(generate_room(1, points=1500), 0)]
    found = model(model.inputs(scenes))
    truth = GroundTruth.of(scenes, model.device)
    first, *others = model.set_loss.match(found.stages, truth)
    assert first.shape == (2, model.config.seeds)
    assert first[0][first[0] >= 0].sort().values.tolist() == [0, 1, 2, 3]
    for own in others:
        assert own[0][own[0] >= 0].bincount().tolist() == [5, 5, 5, 5]
        assert (own[1] == NEGATIVE).all()


def replace_boxes(scene: Scene, count: int) -> Scene:
    return replace(scene, boxes=scene.boxes[:count], labels=scene.labels[:count], instance=None)


def test_costs_follow_the_formula() -> None:
    torch.manual_seed(0)
    model = tiny().eval()
    with torch.no_grad():
        for p in model.decoder.mlp_heads.parameters():
            p.normal_(0, 0.3)
        stage = model(model.inputs([ROOM])).stages[-1]
    boxes, labels = ROOM.boxes.tensor[:2], ROOM.labels[:2]
    found, loss = model.set_loss.cost(stage, 0, boxes, labels), model.set_loss
    for q in (0, 7):
        for k in range(2):
            prob = float(stage.logits[0, q, labels[k]].sigmoid())
            cls = -0.25 * (1 - prob) ** 2 * math.log(prob + 1e-8)
            cls += 0.75 * prob**2 * math.log(1 - prob + 1e-8)
            center, size = targets(stage.reference[0, q], boxes[k])
            apart = float((stage.center[0, q] - center).abs().sum())
            ratio = float((stage.size[0, q] - size).abs().sum())
            giou = float(loss.overlap.of_pairs(stage.boxes[0, q : q + 1], boxes[k : k + 1], True))
            assert float(found[q, k]) == pytest.approx(
                3 * cls + apart - 2 * giou + 0.5 * ratio, rel=1e-4
            )


def test_points_have_the_class_of_the_smallest_box_around_them() -> None:
    boxes = torch.tensor(
        [
            [0, 0, 0, 2, 2, 2, 0],
            [0.5, 0, 0, 0.5, 0.5, 0.5, 0],
            [9, 9, 9, 6, 6, 6, 0.0],  # of 216 m³: background
        ]
    )
    points = torch.tensor([[[0.5, 0, 0], [-0.5, 0, 0], [3, 0, 0], [9, 9, 9.0]]])
    truth = GroundTruth.collate([boxes], [torch.tensor([4, 2, 1])])
    assert point_targets(points, truth).tolist() == [[2, 4, NEGATIVE, NEGATIVE]]
    none = GroundTruth.collate([boxes[:0]], [torch.zeros(0, dtype=torch.int64)])
    assert point_targets(points, none).tolist() == [[NEGATIVE] * 4]


@pytest.mark.parametrize("dataset", ["synthetic", "synthetic_rotated"])
def test_every_weight_learns(dataset: str) -> None:
    model = tiny(dataset=dataset).train()
    with torch.no_grad():  # the last layers of some heads begin at zero
        for p in model.decoder.mlp_heads.parameters():
            p.add_(0.1 * torch.randn_like(p))
    losses = batch_losses(model, [ROOM, generate_room(1, points=1500)])
    names = {"cls", "center", "size", "giou", "heading_cls", "heading_reg", "point_cls"}
    assert {*losses.terms} == names
    losses.total.backward()
    silent = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    # A bias before a norm or softmax has no effect, and one bin of headings has no loss.
    without = {n for n in silent if not n.endswith("bias") and "angle_cls_head" not in n}
    assert without == set()


def test_a_batch_without_boxes_has_a_loss() -> None:
    model = tiny().train()
    losses = batch_losses(model, [replace_boxes(ROOM, 0)])
    losses.total.backward()
    assert float(losses.terms["center"].detach()) == 0
    assert float(losses.terms["cls"].detach()) > 0


# ---------------------------------------------------------------- post-processing


def test_a_kept_box_is_a_detection_of_every_class() -> None:
    model = tiny().eval()
    with torch.no_grad():
        found = model(model.inputs([ROOM]))
        (proposals,), (detections,) = model.proposals(found), model.detections(found)
    classes = len(model.classes)
    torch.testing.assert_close(proposals.objectness, proposals.classes.amax(dim=1))
    kept = len(detections.labels) // classes
    assert detections.labels.bincount().tolist() == [kept] * classes
    best = proposals.objectness.max()
    assert float(detections.scores.max()) == pytest.approx(float(best) ** 2)


def test_scenes_of_a_batch_do_not_meet() -> None:
    model = tiny("test.voxel_pick=first").eval()
    scenes = [ROOM, generate_room(1, points=900)]
    with torch.no_grad():
        together = model.detections(model(model.inputs(scenes)))
        for scene, found in zip(scenes, together, strict=True):
            (alone,) = model.detections(model(model.inputs([scene])))
            torch.testing.assert_close(found.boxes, alone.boxes, atol=1e-4, rtol=1e-4)


# ---------------------------------------------------------------- configuration and checkpoints


def test_parameters_are_as_many_as_counted() -> None:
    model = build_detector(config("scannet"))
    assert isinstance(model, VDETR)
    parts: Sequence[tuple[torch.nn.Module, int]] = (
        (model, 79_294_507),
        (model.pre_encoder, 63_457_088),
        (model.decoder, 11_628_011),
        (model.out_block_0, 442_880),
        (model.encoder_to_decoder_projection, 66_048),
        (model.get_submodule("up_block_1"), 176_384),
        (model.get_submodule("up_block_3"), 2_819_072),
    )
    for part, count in parts:
        assert sum(p.numel() for p in part.parameters()) == count
    assert shapes_of(model.state_dict()) == shapes_in(shared("golden/vdetr_keys.txt"))
    up: Any = model.get_submodule("up_block_3.0")
    assert float(up.kernel.detach().abs().max()) == pytest.approx(1 / math.sqrt(8 * 256), rel=0.01)
    fine: Any = model.get_submodule("up_block_3.3")
    assert float(fine.kernel.detach().std()) == pytest.approx(math.sqrt(2 / 27 / 256), rel=0.01)


@pytest.mark.parametrize("features", ["colors", "points_and_colors"])
@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd"])
def test_a_checkpoint_of_the_original_shows_its_network(
    features: str, dataset: str, tmp_path: Path
) -> None:
    words = (f"model.features={features}", "model.planes=[8,12,16]", "model.blocks=[1,2,1]")
    chosen = replace(tiny_config("vdetr", dataset, *words), mean_sizes=())
    model = build_detector(chosen)
    write_foreign(tmp_path / "a.pth", model, chosen, "original")
    state = torch.load(tmp_path / "a.pth", weights_only=True)["model"]
    torch.save({"model": {f"module.{n}": v for n, v in state.items()}}, tmp_path / "b.pth")
    read = read_checkpoint(tmp_path / "b.pth")
    assert "V-DETR/V-DETR" in read.naming
    found = infer_config(read)
    assert found.dataset == dataset
    assert isinstance(found, VDETRConfig)
    same = replace(found.model, voxel_size=0.1, seeds=64, stem_stride=1)
    assert replace(same, dropout=0.0, head_dropout=0.0) == chosen.model
    for name, family in FAMILIES.items():
        if family.checkpoints and family.checkpoints.recognises({*model.state_dict()}):
            assert name == "vdetr"


def test_published_training() -> None:
    chosen = config("scannet")
    train, augment, test = chosen.train, chosen.augment, chosen.test
    assert (train.epochs, train.batch_size, train.lr, train.min_lr) == (540, 8, 7e-4, 1e-6)
    assert (train.warmup_epochs, train.weight_decay, train.clip_norm) == (9, 0.1, 0.1)
    assert (train.schedule, train.schedule_by, train.filter_empty_gt) == ("cosine", "step", True)
    assert (augment.sample_count, augment.crop, augment.crop_when) == (100_000, (0.5, 1), "whole")
    assert (augment.shift, augment.translation, augment.scale) == (0.4, 0, (0.6, 1.4))
    assert (augment.flip_x, augment.flip_y, augment.rotation) == (0.5, 0.5, 5)
    assert (test.sample_count, test.iou_thr, test.score_thr, test.min_points) == (0, 0.25, 0, 0)
    rotated = config("sunrgbd")
    assert (rotated.augment.flip_y, rotated.augment.rotation, rotated.augment.shift) == (0, 30, 0)
    assert rotated.model.heading_bins == 12


@pytest.mark.parametrize(
    ("word", "field"),
    [
        ("model.planes=[8]", "model.planes"),
        ("model.blocks=[1,1]", "model.blocks"),
        ("model.channels=18", "model.channels"),
        ("model.queries=65", "model.queries"),
    ],
)
def test_values_that_do_not_go_together_are_refused(word: str, field: str) -> None:
    with refuses(field=field):
        tiny(word)


def test_raw_outputs_have_the_originals_names() -> None:
    model = tiny()
    found, classes = model.raw_outputs(ROOM.points, ROOM.colors), len(model.classes)
    assert found["seed_xyz"].shape == (64, 3)
    assert found["point_cls_logits"].shape == (64, classes)
    assert found["topk"].shape == (12,)
    assert found["L0_sem_cls_logits"].shape == (64, 1)
    assert found["L2_sem_cls_logits"].shape == (12, classes)
    assert found["L1_size"].shape == found["L1_center_reg"].shape == (12, 3)


def test_it_overfits_a_room() -> None:
    room = generate_room(2, points=3000)
    words = ["model.seeds=256", "model.queries=48", "model.channels=32", "model.layers=1"]
    model = tiny(*words).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = batch_losses(model, [room]).total
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
