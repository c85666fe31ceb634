"""Votes: where seeds should point to, and the loss, against loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch
from sr3d.detectors.common.votes import VoteTargets, in_boxes, vote_loss, vote_targets
from sr3d.geometry.boxes import Boxes


def truth(*boxes: list[float]) -> PaddedTruth:
    rows = torch.tensor(boxes)
    labels = torch.zeros(len(rows), dtype=torch.int64)
    return PaddedTruth.of(GroundTruth.collate([rows], [labels]), scenes=1, least=4)


def cloud(*points: list[float]) -> Tensor:
    return torch.tensor([points])


def test_votes_aim_at_the_extent_of_an_instance_s_points() -> None:
    points = cloud([0.0, 0, 0], [2.0, 1, 0], [5.0, 5, 5], [1.0, 0.5, 1])
    batch = PointBatch(points, instance=torch.tensor([[1, 1, -1, 1]]))
    seeds = torch.tensor([[3, 2]])
    boxes = truth([0, 0, 0, 1, 1, 1, 0], [9, 9, 9, 1, 1, 1, 0])
    boxes = truth([0, 0, 0, 1, 1, 1, 0], [9, 9, 9, 1, 1, 1, 0])
    found = vote_targets(batch, boxes, seeds, "extent")
    assert found.masks.tolist() == [[True, False]]
    assert torch.equal(found.centres[0, 0], torch.tensor([[1.0, 0.5, 0.5]]).expand(3, 3))
    found = vote_targets(batch, boxes, seeds, "box")
    assert torch.equal(found.centres[0, 0], torch.full((3, 3), 9.0))


def test_without_instances_a_point_votes_for_up_to_three_boxes_that_contain_it() -> None:
    """The first fills all three choices. A fourth box replaces the third."""
    around = [[float(i), 0.0, 0.0, 20.0, 20.0, 20.0, 0.0] for i in range(4)]
    seeds = torch.tensor([[0, 1]])
    batch = PointBatch(cloud([0.0, 0, 0], [50.0, 0, 0]))
    for count, xs in ((1, [0, 0, 0]), (2, [0, 1, 0]), (3, [0, 1, 2]), (4, [0, 1, 3])):
        found = vote_targets(batch, truth(*around[:count]), seeds, "box")
        assert found.centres[0, 0, :, 0].tolist() == xs
        assert found.masks.tolist() == [[True, False]]


def test_padded_boxes_contain_no_point() -> None:
    batch = PointBatch(cloud([0.0, 0, 0]))
    found = vote_targets(batch, truth([5, 5, 5, 1, 1, 1, 0]), torch.tensor([[0]]), "box")
    assert not found.masks.any()


def test_points_in_boxes_equal_those_of_boxes() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(1, 200, 3, generator=generator) * 2
    boxes = torch.rand(1, 9, 7, generator=generator) + 0.2
    boxes[..., 6] = boxes[..., 6] * 6 - 3
    assert torch.equal(in_boxes(points, boxes)[0].t(), Boxes(boxes[0]).contains(points[0]))
    mirrored = boxes * torch.tensor([1.0] * 3 + [-1.0] * 3 + [1.0])
    assert torch.equal(in_boxes(points, mirrored), in_boxes(points, boxes))


def test_vote_loss_is_the_mean_distance_to_the_nearest_target() -> None:
    generator = torch.Generator().manual_seed(0)
    votes = torch.rand(2, 5, 3, generator=generator)
    targets = VoteTargets(
        torch.rand(2, 5, 3, 3, generator=generator), torch.rand(2, 5, generator=generator) > 0.5
    )
    distances = [
        min(float((votes[b, s] - centre).abs().sum()) for centre in targets.centres[b, s])
        for b in range(2)
        for s in range(5)
        if targets.masks[b, s]
    ]
    expected = sum(distances) / len(distances)
    assert float(vote_loss(votes, targets)) == pytest.approx(expected, rel=1e-5)
    none = VoteTargets(targets.centres, torch.zeros(2, 5, dtype=torch.bool))
    assert float(vote_loss(votes, none)) == 0
