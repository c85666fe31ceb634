"""SPGroup3D's inputs, encoder, boxes, assignment, loss, configuration and checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sr3d.config import Config
from sr3d.data.ground_truth import NEGATIVE, GroundTruth
from sr3d.data.rooms.generate import generate_room
from sr3d.data.scene import Scene
from sr3d.data.superpoints import over_segment
from sr3d.detectors import build_detector
from sr3d.detectors.infer_config import infer_config, load_model
from sr3d.detectors.spgroup3d.assignment import SPGroup3DAssigner, centre_targets
from sr3d.detectors.spgroup3d.boxes import decode, distances, face_distances, turned_over
from sr3d.detectors.spgroup3d.config import SPGroup3DConfig
from sr3d.detectors.spgroup3d.detector import SPGroup3D
from sr3d.detectors.spgroup3d.loss import ObjectVotes
from sr3d.detectors.spgroup3d.network import SuperpointAttention
from sr3d.detectors.weights import read_checkpoint, write_foreign
from sr3d.geometry.boxes import Boxes
from sr3d.geometry.iou import paired_diou_loss, pairwise_iou
from sr3d.matching.assigner import Anchors
from sr3d.sparse.nn import SparseConv
from sr3d.train.step import batch_losses
from tests.detectors.tiny_families import tiny_config

ROOM = generate_room(0, points=1500)


def detector(config: Config) -> SPGroup3D:
    torch.manual_seed(0)
    found = build_detector(config)
    assert isinstance(found, SPGroup3D)
    return found


def tiny(*overrides: str, dataset: str = "synthetic") -> SPGroup3D:
    return detector(tiny_config("spgroup3d", dataset, *overrides))


# ---------------------------------------------------------------- inputs and encoder


def test_a_voxel_belongs_to_superpoint_and_object_of_its_nearest_point() -> None:
    model = tiny("model.voxel_size=0.1")
    points = torch.tensor([[0.02, 0.0, 0.0], [0.19, 0.0, 0.0], [0.52, 0.0, 0.0], [1.0, 0, 0]])
    boxes = Boxes(torch.tensor([[0.0, 0, 0, 1, 1, 1, 0], [5.0, 0, 0, 1, 1, 1, 0]]))
    scene = Scene(
        "a", points, torch.zeros(4, 3), boxes, torch.tensor([0, 1]),
        torch.tensor([1, -1, 0, -1]), torch.tensor([7, 3, 3, 7]),
    )  # fmt: skip
    batch = model.inputs([scene, scene])
    # Voxels of stride 2 at 0, 0.4 and 1 m: nearest are points 0, 2 and 3.
    assert batch.groups.index.tolist() == [1, 0, 1, 3, 2, 3]
    assert batch.groups.counts == [2, 2]
    assert batch.owner.tolist() == [1, 0, -1, 3, 2, -1]
    assert batch.scenes.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.allclose(batch.positions[:3, 0], torch.tensor([0.0, 0.4, 1.0]))
    by_box = tiny("model.voxel_size=0.1", "assigner.object_points=box")
    for other in (by_box.inputs([scene]), model.inputs([replace(scene, instance=None)])):
        assert other.owner.tolist() == [0, 0, -1]


def test_a_scan_without_superpoints_is_over_segmented() -> None:
    model = tiny()
    with_them = replace(ROOM, superpoints=over_segment(ROOM.points, ROOM.colors))
    one, other = model.inputs([with_them]), model.inputs([ROOM])
    assert torch.equal(one.groups.index, other.groups.index)


def far_votes(model: SPGroup3D, std: float) -> None:
    last = model.voxel_encoder.offset_block[-1]
    assert isinstance(last, SparseConv)
    torch.nn.init.normal_(last.kernel, std=std)


def test_scenes_of_a_batch_do_not_mix() -> None:
    model = tiny("model.vote_extent=scene").eval()
    far_votes(model, std=10)
    other = generate_room(3, points=1200)
    with torch.no_grad():
        both = model(model.inputs([ROOM, other])).superpoints.by_scene()
        for scene, found in zip((ROOM, other), both, strict=True):
            alone = model(model.inputs([scene])).superpoints
            assert torch.allclose(alone.logits, found.logits, atol=1e-4)
            assert torch.allclose(alone.boxes, found.boxes, atol=1e-4)


@pytest.mark.parametrize("extent", ["batch", "scene"])
def test_votes_stay_within_two_voxels_of_the_scan(extent: str) -> None:
    model = tiny(f"model.vote_extent={extent}")
    far_votes(model, std=100)
    batch = model.inputs([ROOM])
    x = model.backbone(batch.x)
    found = model.voxel_encoder.votes(x)
    votes = found.positions[len(batch.positions) :]
    margin = 2 * model.config.voxel_size + 1e-5
    low, high = batch.positions.amin(dim=0) - margin, batch.positions.amax(dim=0) + margin
    assert ((votes >= low) & (votes <= high)).all()
    norms = found.features[len(votes) :].norm(dim=1)
    assert torch.allclose(norms, torch.ones_like(norms))


def test_attention_equals_a_loop() -> None:
    torch.manual_seed(0)
    layer = SuperpointAttention(4, dropout=0.1).eval()
    x, centers = torch.randn(5, 4), torch.randn(5, 3)
    near = torch.tensor([[0, 1, 2], [1, 0, 4], [2, 3, 0], [3, 2, 0], [4, 1, 0]])
    for i, found in enumerate(layer(x, centers, near)):
        rows = [
            layer.coord_linear(centers[j] - centers[i]) * layer.feat_linear(x[j] - x[i]) / 3**0.5
            for j in near[i]
        ]
        weights = torch.stack(rows).softmax(dim=0)
        values = torch.stack([layer.feature_transform(x[j]) for j in near[i]])
        assert torch.allclose(found, layer.norm((weights * values).sum(0) + x[i]), atol=1e-6)


# ---------------------------------------------------------------- boxes and assignment


def test_three_distances_may_be_negative_unless_all_are_positive() -> None:
    raw = torch.tensor([[-2.0, 0.5, -0.3, 0.0, 0.1, 0.2]])
    anchor = torch.tensor([[1.0, 1.0, 1.0]])
    box = decode(anchor, distances(raw, all_positive=False))[0]
    assert float(box[3]) == pytest.approx(-1.5)
    assert float(box[0]) == pytest.approx(1 + 1.25)
    assert float(box[4]) == pytest.approx(0.7)
    assert (decode(anchor, distances(raw, all_positive=True))[0, 3:6] > 0).all()


def test_a_yaw_turns_a_box_of_negative_sizes_over() -> None:
    raw = torch.tensor([[-2.0, -1.0, -3.0, 0.0, 0.1, 0.2, 0.3, -0.4]])
    box = decode(torch.zeros(1, 3), distances(raw, all_positive=False))
    assert (box[0, 3:5] < 0).all()
    assert torch.allclose(
        Boxes(turned_over(box)).corners().sort(dim=1).values,
        Boxes(box).corners().sort(dim=1).values,
    )


def test_face_distances_follow_the_yaw() -> None:
    box = torch.tensor([[0.0, 0, 0, 2, 4, 2, torch.pi / 2]])
    upper, lower = face_distances(torch.tensor([[1.0, 0.5, 0.0]]), box)
    assert torch.allclose(upper[0], torch.tensor([0.5, 3, 1]), atol=1e-6)
    assert torch.allclose(lower[0], torch.tensor([1.5, 1, 1]), atol=1e-6)
    target = float(centre_targets(torch.tensor([[1.0, 0.5, 0.0]]), box))
    assert target == pytest.approx((1 / 3 * 1 / 3 * 1) ** (1 / 3), rel=1e-5)


def anchors_at(points: Tensor, scenes: Tensor | None = None) -> Anchors:
    scenes = torch.zeros(len(points), dtype=torch.int64) if scenes is None else scenes
    zeros = torch.zeros_like(scenes)
    return Anchors(points, zeros, zeros.float(), scenes, int(scenes.max()) + 1)


def boxes_around(points: Tensor) -> Tensor:
    return torch.cat([points, torch.ones(len(points), 3), torch.zeros(len(points), 1)], dim=1)


def test_assignment_equals_a_loop() -> None:
    torch.manual_seed(0)
    points = torch.rand(80, 3) * 4
    scenes = torch.arange(80) % 2
    truth = GroundTruth(
        torch.cat([torch.rand(6, 3) * 4, torch.rand(6, 3) * 3 + 0.5, torch.rand(6, 1)], dim=1),
        torch.randint(3, (6,)),
        torch.tensor([0, 0, 0, 0, 1, 1]),
    )
    boxes, logits = boxes_around(points), torch.randn(80, 3)
    assigner = SPGroup3DAssigner(top=4)
    found = assigner(anchors_at(points, scenes), boxes, logits, truth)
    expected = [NEGATIVE] * 80
    volume = [float("inf")] * 80
    p = logits.sigmoid()
    for gt in range(6):
        costs = []
        for i in (scenes == truth.scenes[gt]).nonzero().squeeze(1).tolist():
            inside = (torch.stack(face_distances(points[i : i + 1], truth.boxes[gt])) > 0).all()
            q = float(p[i, truth.labels[gt]])
            cost = 0.25 * (1 - q) ** 2 * -torch.tensor(q).log()
            cost -= 0.75 * q**2 * -torch.tensor(1 - q).log()
            pair = boxes[i : i + 1], truth.boxes[gt : gt + 1]
            cost += float(paired_diou_loss(*pair, rotated=False)) - 1
            costs.append((float(cost) if inside else 1e8, i))
        limit = sorted(costs)[min(4, len(costs) - 1)][0]
        size = float(truth.boxes[gt, 3:6].prod())
        for cost_, i in costs:
            if cost_ < limit and size < volume[i]:
                expected[i], volume[i] = gt, size
    assert found.tolist() == expected
    assert (found >= 0).any()


def test_one_box_takes_iou_unless_configured() -> None:
    points = torch.rand(30, 3)
    truth = torch.tensor([[0.5, 0.5, 0.5, 1, 1, 1, 0]])
    boxes = boxes_around(points)
    iou = pairwise_iou(boxes, truth, rotated=False)
    assert torch.equal(SPGroup3DAssigner().box_cost(boxes, truth), -iou)
    exact = SPGroup3DAssigner(one_box_iou=False).box_cost(boxes, truth)
    assert (exact >= -iou).all()
    assert (exact > -iou).any()


def test_an_empty_scene_has_no_positives() -> None:
    points = torch.rand(5, 3)
    truth = GroundTruth(torch.zeros(0, 7), torch.zeros(0).long(), torch.zeros(0).long())
    found = SPGroup3DAssigner()(anchors_at(points), boxes_around(points), torch.zeros(5, 2), truth)
    assert found.tolist() == [NEGATIVE] * 5


# ---------------------------------------------------------------- loss and training


def test_targets_of_votes_and_their_weights() -> None:
    truth = GroundTruth(
        torch.tensor([[1.0, 2, 3, 1, 1, 1, 0]]), torch.tensor([0]), torch.tensor([1])
    )
    positions = torch.tensor([[0.0, 0, 0], [0.5, 2, 3], [9.0, 9, 9]])
    found = ObjectVotes.of(positions, torch.tensor([-1, 0, -1]), torch.tensor([0, 1, 1]), truth)
    assert found.offsets.tolist() == [[0, 0, 0], [0.5, 0, 0], [0, 0, 0]]
    assert found.weights.tolist() == pytest.approx([1e-6, 0.5 + 1e-6, 1e-6])


def test_the_loss_is_the_mean_over_scenes() -> None:
    model = tiny("model.dropout=0").eval()
    other = generate_room(3, points=1200)
    with torch.no_grad():
        both = batch_losses(model, [ROOM, other]).terms
        apart = [batch_losses(model, [scene]).terms for scene in (ROOM, other)]
    for name, value in both.items():
        mean = float(sum(each[name] for each in apart)) / 2
        assert float(value) == pytest.approx(mean, rel=1e-3), name


@pytest.mark.parametrize("dataset", ["synthetic", "synthetic_rotated"])
def test_every_parameter_learns(dataset: str) -> None:
    model = tiny(dataset=dataset).train()
    losses = batch_losses(model, [ROOM])
    losses.total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_it_overfits_one_room() -> None:
    model = tiny("model.dropout=0").train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(12):
        loss = batch_losses(model, [ROOM]).total
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


# ---------------------------------------------------------------- configuration and checkpoints


@pytest.mark.parametrize("dataset", ["synthetic", "synthetic_rotated"])
def test_a_published_checkpoint_tells_the_network(tmp_path: Path, dataset: str) -> None:
    config = tiny_config("spgroup3d", dataset)
    model = detector(config)
    path = tmp_path / "original.pth"
    write_foreign(path, model, config, "original")
    found = infer_config(read_checkpoint(path), dataset)
    assert isinstance(found, SPGroup3DConfig)
    assert replace(found.model, voxel_size=model.config.voxel_size) == model.config
    again = load_model(read_checkpoint(path), config).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
