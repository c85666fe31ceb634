"""Batches of points, padded ground truth, and the layers of PointNet++."""

from __future__ import annotations

import pytest
import torch

from sr3d.data.ground_truth import GroundTruth
from sr3d.data.scene import Scene
from sr3d.detectors import build_detector
from sr3d.detectors.common import pointnet2
from sr3d.detectors.common.point_inputs import PaddedTruth, height, point_batch
from sr3d.detectors.common.pointnet2 import FeaturePropagation, SetAbstraction
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.geometry.boxes import Boxes

CPU = torch.device("cpu")


def scene(points: int, seed: int = 0) -> Scene:
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.rand(points, 3, generator=generator) * 4
    instance = torch.arange(points) % 3 - 1
    boxes, labels = Boxes(torch.ones(2, 7)), torch.zeros(2, dtype=torch.int64)
    return Scene("room", xyz, torch.zeros(points, 3), boxes, labels, instance)


def test_points_keep_their_features_and_instances() -> None:
    scenes = [scene(50, 0), scene(9, 1)]
    generators = [torch.Generator().manual_seed(i) for i in range(2)]
    batch = point_batch(scenes, 20, generators, CPU, height)
    assert batch.features is not None
    assert (batch.points.shape, batch.features.shape) == ((2, 20, 3), (2, 1, 20))
    for i, one in enumerate(scenes):
        rows = (batch.points[i][:, None] == one.points).all(dim=-1).int().argmax(dim=1)
        assert torch.equal(batch.points[i], one.points[rows])
        assert batch.instance is not None
        assert one.instance is not None
        assert torch.equal(batch.instance[i], one.instance[rows])
        assert torch.equal(batch.features[i, 0], height(one)[rows, 0])  # above the whole scan's
        assert len(rows.unique()) == min(20, len(one)) or len(one) < 20


def test_without_a_generator_the_choice_is_fixed_and_a_scene_of_this_size_keeps_its_order() -> None:
    again = [point_batch([scene(50)], 20, None, CPU).points for _ in range(2)]
    assert torch.equal(*again)
    assert torch.equal(point_batch([scene(20)], 20, None, CPU).points[0], scene(20).points)


def test_instances_are_unknown_if_one_scene_has_none() -> None:
    bare = Scene.unlabelled(torch.zeros(5, 3), torch.zeros(5, 3))
    assert point_batch([scene(9), bare], 4, None, CPU).instance is None


@pytest.mark.parametrize("family", ["votenet", "mlcvnet", "brnet", "rbgnet"])
def test_batches_have_no_instances_if_points_in_boxes_stand_for_them(family: str) -> None:
    published = default_config("scannet")
    small = [f"model={family}_small", "model.num_points=16"]
    for points, known in (("instance", True), ("box", False)):
        model = build_detector(with_overrides(published, [*small, f"loss.vote_points={points}"]))
        assert (model.inputs([scene(50)]).instance is not None) == known


def test_padded_ground_truth() -> None:
    boxes = torch.arange(21.0).reshape(3, 7)
    truth = GroundTruth(boxes, torch.tensor([4, 5, 6]), torch.tensor([0, 2, 2]))
    padded = PaddedTruth.of(truth, scenes=3, least=1)
    assert padded.real.tolist() == [[True, False], [False, False], [True, True]]
    assert padded.labels.tolist() == [[4, 0], [0, 0], [5, 6]]
    assert torch.equal(padded.boxes[2], boxes[1:])
    assert not padded.boxes[~padded.real].any()
    assert PaddedTruth.of(truth, scenes=3, least=64).boxes.shape == (3, 64, 7)


def test_layers_of_pointnet2() -> None:
    torch.manual_seed(0)
    points, features = torch.rand(2, 30, 3), torch.rand(2, 5, 30)
    layer = SetAbstraction(8, 0.5, 4, [5, 6, 7]).eval()
    found = layer(points, features)
    assert found.points.shape == (2, 8, 3)
    assert found.features.shape == (2, 7, 8)
    assert [name for name in layer.state_dict() if name.endswith("weight")] == [
        "mlp_module.layer0.conv.weight",
        "mlp_module.layer0.bn.bn.weight",
        "mlp_module.layer1.conv.weight",
        "mlp_module.layer1.bn.bn.weight",
    ]
    for scene_index, centre in ((0, 3), (1, 7)):  # one group, by hand
        offset = points[scene_index] - found.points[scene_index, centre]
        inside = (offset.square().sum(dim=1) < 0.25).nonzero().squeeze(1)[:4]
        grouped = torch.cat([offset[inside] / 0.5, features[scene_index, :, inside].t()], dim=1)
        own = layer.mlp_module(grouped.t()[None, :, None]).amax(dim=-1)
        torch.testing.assert_close(found.features[scene_index, :, centre], own[0, :, 0])
    back = FeaturePropagation([12, 4]).eval()
    up = back(points, found.points, features, found.features)
    assert up.shape == (2, 4, 30)
    at = back.mlp(
        torch.cat([found.features[0, :, :1], features[0, :, found.index[0, :1]]])[None, :, None]
    )
    torch.testing.assert_close(up[0, :, found.index[0, 0]], at[0, :, 0, 0])  # where sources lie


def test_groups_by_parts_have_the_features_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointnet2, "_CACHED", 1 << 13)  # 4 groups of 16 points and 128 channels
    layer = SetAbstraction(50, 0.4, 16, [5, 64, 128]).eval()
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2, 400, 3, generator=generator)
    features = torch.randn(2, 5, 400, generator=generator)
    for training in (False, True):  # in training mode, batch norms need all groups
        layer.train(training)
        whole = layer(points, features).features
        with torch.no_grad():
            torch.testing.assert_close(layer(points, features).features, whole)
