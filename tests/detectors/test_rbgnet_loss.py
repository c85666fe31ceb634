"""RBGNet's targets against loops, and its loss on rooms."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.data.scene import Scene
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch
from sr3d.detectors.rbgnet.config import RBGNetLoss
from sr3d.detectors.rbgnet.detector import RBGNet
from sr3d.detectors.rbgnet.loss import assign
from sr3d.detectors.rbgnet.ray_targets import Objects, ray_targets
from sr3d.geometry.boxes import Boxes
from sr3d.train.step import batch_losses
from tests.detectors.test_rbgnet import config, rooms, tiny

TERMS = {
    "vote", "objectness", "center", "scale", "size", "heading_class", "heading_offset", "label",
    "iou", "coarse", "fine", "foreground1", "foreground2", "foreground3",
}  # fmt: skip


def scene_of(points: Tensor, owner: list[int], boxes: int) -> tuple[PointBatch, PaddedTruth]:
    """A scene with the owner of each point, and boxes at the origin."""
    batch = PointBatch(points[None], None, torch.tensor([owner]))
    rows = torch.tensor([[0.0, 0, 0, 1, 1, 1, 0]]).expand(boxes, -1)
    truth = GroundTruth.collate([rows], [torch.zeros(boxes, dtype=torch.int64)])
    return batch, PaddedTruth.of(truth, 1, least=1)


def test_ray_targets_against_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2, 50, 3, generator=generator) * 2
    objects = Objects(
        points,
        torch.randint(-1, 4, (2, 50), generator=generator),
        torch.tensor([True, True]),
    )
    anchors = torch.rand(7, 9, 3, generator=generator) * 2
    scene = torch.randint(2, (7,), generator=generator)
    owner = torch.randint(4, (7,), generator=generator)
    found = ray_targets(anchors, scene, owner, objects, radius=0.4)
    for row in range(7):
        for number, anchor in enumerate(anchors[row]):
            near = (points[scene[row]] - anchor).square().sum(dim=1) < 0.16
            own = near & (objects.owner[scene[row]] == owner[row])
            assert bool(found.near[row, number]) == bool(near.any())
            assert bool(found.own[row, number]) == bool(own.any())
    assert found.own.any()
    assert (found.near & ~found.own).any()
    unjudged = replace(objects, judged=torch.tensor([False, False]))
    found = ray_targets(anchors, scene, owner, unjudged, radius=0.4)
    assert not found.near.any()
    assert not found.own.any()


@pytest.mark.parametrize(
    ("owner", "published", "otherwise"),
    [
        ([0, 0, 1, -1], True, True),
        ([0, 0, 0, -1], False, True),  # the second instance has no point
        ([-1, -1, -1, -1], False, False),
        ([0, -1, -1, 1], True, True),  # the second instance has no point of the first level
    ],
)
def test_an_instance_without_points_removes_the_scene(
    owner: list[int], published: bool, otherwise: bool
) -> None:
    batch, truth = scene_of(torch.rand(4, 3), owner, boxes=2)
    for all_objects, expected in ((True, published), (False, otherwise)):
        objects = Objects.of(batch, truth, torch.tensor([[0, 1, 2]]), all_objects)
        assert objects.judged.tolist() == [expected]
        assert objects.owner.tolist() == [owner[:3]]


def test_without_instances_the_last_box_owns_a_point() -> None:
    batch = PointBatch(torch.tensor([[[0.0, 0, 0], [0.9, 0, 0], [9.0, 0, 0]]]))
    boxes = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0], [0.0, 0, 0, 1, 1, 1, 0]])
    truth = GroundTruth.collate([boxes], [torch.tensor([0, 1])])
    padded = PaddedTruth.of(truth, 1, least=3)
    objects = Objects.of(batch, padded, torch.tensor([[0, 1, 2]]), all_objects=True)
    assert objects.owner.tolist() == [[1, 0, -1]]
    assert objects.judged.tolist() == [True]


def test_a_proposal_outside_its_box_is_negative_however_near_its_centre() -> None:
    thin = torch.tensor([[0.0, 0.0, 0.0, 0.1, 2.0, 2.0, 0.0]])
    truth = PaddedTruth.of(GroundTruth.collate([thin], [torch.tensor([3])]), 1, least=1)
    inside, outside, far = [0.04, 0.0, 0.0], [0.2, 0.0, 0.0], [0.0, 0.9, 0.0]
    found = assign(torch.tensor([[inside, outside, far]]), truth, HeadingBins(1), near=0.3)
    assert found.positive.tolist() == [[True, False, False]]
    assert found.used.all()
    assert found.label.tolist() == [[3, 3, 3]]
    torch.testing.assert_close(found.scale, torch.full((1, 3), 8.01).sqrt())


def terms_of(model: RBGNet, scenes: list[Scene]) -> dict[str, float]:
    losses = model.loss(model(model.inputs(scenes)), GroundTruth.of(scenes, model.device))
    return {name: float(value.detach()) for name, value in losses.terms.items()}


@pytest.mark.parametrize("dataset", ["synthetic", "synthetic_rotated"])
def test_every_term_is_finite_and_every_other_weight_learns(dataset: str) -> None:
    model = tiny(dataset, "model.planes=[16,16,16,16]", "model.proposal_radius=1.0").train()
    scenes = rooms(0, 1, rotated=dataset == "synthetic_rotated")
    losses = batch_losses(model, scenes)
    assert set(losses.terms) == TERMS
    assert losses.total.isfinite()
    losses.total.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    without = {name for name, g in gradients.items() if g is None}
    assert without == set()
    assert all(bool(g.isfinite().all()) for g in gradients.values() if g is not None)


def test_points_in_boxes_can_stand_for_instances() -> None:
    assert config("synthetic", "loss.vote_points=box").replaces_instances
    scenes = rooms(0, 1)
    bare = [replace(room, instance=None) for room in scenes]
    model = tiny("synthetic", "loss.vote_points=box").eval()
    assert terms_of(model, scenes) == terms_of(model, bare)
    model = tiny().eval()
    assert terms_of(model, scenes) != terms_of(model, bare)


def test_scenes_of_a_batch_do_not_change_each_other() -> None:
    model, scenes = tiny().eval(), rooms(1, 2)
    with torch.no_grad():
        both = model(model.inputs(scenes))
        for number, scene in enumerate(scenes):
            alone = model(model.inputs([scene]))
            torch.testing.assert_close(both.boxes[number], alone.boxes[0], rtol=1e-4, atol=1e-4)
            masks = both.grouped.coarse.mask, alone.grouped.coarse.mask
            assert torch.equal(masks[0][number], masks[1][0])


def without_boxes(scene: Scene) -> Scene:
    none = torch.zeros(0, dtype=torch.int64)
    instance = torch.full((len(scene),), -1)
    return replace(scene, boxes=Boxes(torch.zeros(0, 7)), labels=none, instance=instance)


def test_a_scene_without_boxes_trains_objectness_and_foreground() -> None:
    model, (scene,) = tiny().train(), rooms(3)
    found = terms_of(model, [without_boxes(scene)])
    positive = {name for name, value in found.items() if value > 0}
    assert positive == {"objectness", "foreground1", "foreground2", "foreground3"}


def test_padded_ground_truths_attract_predictions_in_mixed_batches() -> None:
    model = tiny("synthetic", "model.proposal_radius=1.0").eval()
    scenes = rooms(1, 2)
    scenes[1] = replace(
        scenes[1], boxes=Boxes(scenes[1].boxes.tensor[:1]), labels=scenes[1].labels[:1],
        instance=None if scenes[1].instance is None else scenes[1].instance.clamp(max=0),
    )  # fmt: skip
    found = []
    for padded in (True, False):
        model.loss_config = replace(RBGNetLoss(), padded_truth=padded)
        found.append(terms_of(model, scenes))
    assert found[0]["center"] <= found[1]["center"]
    assert {n: v for n, v in found[0].items() if n != "center"} == {
        n: v for n, v in found[1].items() if n != "center"
    }


def test_the_fine_term_may_judge_the_anchors_of_the_network() -> None:
    model = tiny("synthetic_rotated").eval()
    (scene,) = rooms(1, rotated=True)
    predictions = model(model.inputs([replace(scene, instance=None)]))
    centres = predictions.clusters.points[0, :4].detach()  # so some clusters are positive
    boxes = torch.cat([centres, torch.ones(4, 3), torch.zeros(4, 1)], dim=1)
    truth = GroundTruth.collate([boxes], [torch.arange(4)])
    found = {}
    for anchors in ("hits", "network"):
        model.loss_config = replace(model.loss_config, fine_anchors=anchors)  # type: ignore[arg-type]
        terms = model.loss(predictions, truth).terms
        found[anchors] = {name: float(value.detach()) for name, value in terms.items()}
    same = {name for name in TERMS if found["hits"][name] == found["network"][name]}
    assert same == TERMS - {"fine"}
    assert found["hits"]["coarse"] > 0
