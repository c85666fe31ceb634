"""Post-processing of proposals, and headings in bins."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.point_config import ProposalInference
from sr3d.detectors.common.proposals import Proposals, pick, points_inside, select_proposals
from sr3d.detectors.common.votes import in_boxes
from sr3d.geometry.boxes import enclosing_boxes
from sr3d.geometry.iou import pairwise_iou

RULES = ProposalInference()


def proposals(seed: int = 0, count: int = 40) -> Proposals:
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 7, generator=generator) + 0.3
    boxes[:, 6] *= 5
    classes = torch.randn(count, 3, generator=generator).softmax(dim=1)
    return Proposals(boxes, torch.rand(count, generator=generator), classes)


def cloud(seed: int = 1) -> torch.Tensor:
    return torch.rand(60, 3, generator=torch.Generator().manual_seed(seed)) * 2


def greedy(given: Proposals, points: torch.Tensor, rules: ProposalInference) -> list[int]:
    """By objectness, over boxes with enough points. A kept box removes worse ones of its class."""
    rotated = rules.nms_boxes == "rotated"
    boxes = given.boxes if rotated else enclosing_boxes(given.boxes)
    iou = pairwise_iou(boxes, boxes, rotated, bev=rules.nms == "bev")
    labels = given.classes.argmax(dim=1)
    kept: list[int] = []
    for i in given.objectness.argsort(descending=True).tolist():
        inside = int(points_inside(given.boxes[i : i + 1], points))
        rivals = [j for j in kept if rules.nms_classes == "all" or labels[i] == labels[j]]
        if inside >= rules.min_points and all(iou[i, j] <= rules.iou_thr for j in rivals):
            kept.append(i)
    return kept


@pytest.mark.parametrize("scale", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("number", [0, 1, 60, 3000])
def test_points_far_from_a_box_are_passed_over_and_counts_stay(scale: float, number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    points = torch.randn(number, 3, generator=generator) * 2
    boxes = torch.randn(50, 7, generator=generator) * scale  # some sizes are negative
    boxes[:, :3] /= scale
    points[:20] = boxes[: min(20, number), :3] + boxes[: min(20, number), 3:6] / 2  # corners
    expected = in_boxes(points[None], boxes[None])[0].sum(dim=1)
    assert torch.equal(points_inside(boxes, points), expected)
    assert points_inside(boxes[:0], points).shape == (0,)


@pytest.mark.parametrize(
    "rules",
    [
        RULES,
        replace(RULES, nms_boxes="rotated"),
        replace(RULES, nms_classes="all"),
        replace(RULES, nms="bev", iou_thr=0.5),
        replace(RULES, min_points=0),
    ],
)
def test_nms_equals_the_greedy_rule(rules: ProposalInference) -> None:
    for seed in range(5):
        given, points = proposals(seed), cloud(seed)
        assert pick(given, points, rules).tolist() == greedy(given, points, rules)


def test_every_kept_box_is_a_detection_of_every_class() -> None:
    given, points = proposals(), cloud()
    inputs = given, points, RULES
    found, picked = select_proposals(*inputs), pick(*inputs)
    good = [i for i in picked.tolist() if given.objectness[i] > RULES.score_thr]
    expected = {
        (label, round(float(given.classes[i, label] * given.objectness[i]), 6))
        for i in good
        for label in range(3)
    }
    pairs = zip(found.labels.tolist(), found.scores.tolist(), strict=True)
    assert {(label, round(score, 6)) for label, score in pairs} == expected
    assert len(found.labels) == 3 * len(good)
    for label in range(3):
        scores = found.scores[found.labels == label]
        assert torch.equal(scores, scores.sort(descending=True).values)


def test_one_detection_per_box() -> None:
    given, points = proposals(), cloud()
    every = select_proposals(given, points, RULES)
    best = select_proposals(given, points, replace(RULES, labels="best"))
    assert 3 * len(best.labels) == len(every.labels)
    rows = (best.boxes[:, None] == given.boxes).all(dim=-1).int().argmax(dim=1)
    assert torch.equal(best.labels, given.classes[rows].argmax(dim=1))


def test_a_scene_without_points_in_its_boxes_has_no_detections() -> None:
    inputs = proposals(), torch.full((9, 3), 50.0), RULES
    found, picked = select_proposals(*inputs), pick(*inputs)
    assert found.boxes.shape == (0, 7)
    assert len(picked) == 0


def test_the_best_box_may_stay_without_points() -> None:
    given, rules = proposals(), replace(RULES, keep_best=True)
    inputs = given, torch.full((9, 3), 50.0), rules
    found, picked = select_proposals(*inputs), pick(*inputs)
    assert picked.tolist() == [int(given.objectness.argmax())]
    assert len(found.labels) == 3
    assert torch.equal(pick(given, cloud(), rules), pick(given, cloud(), RULES))


def test_objectness_must_be_above_the_threshold() -> None:
    given, points = proposals(), cloud()
    inputs = given, points, replace(RULES, score_thr=0.5)
    found, picked = select_proposals(*inputs), pick(*inputs)
    assert len(found.labels) == 3 * int((given.objectness[picked] > 0.5).sum())
    assert int((given.objectness[picked] <= 0.5).sum())


@pytest.mark.parametrize("count", [1, 6, 12])
def test_headings_come_back_from_their_bins(count: int) -> None:
    bins = HeadingBins(count)
    heading = torch.linspace(-7, 7, 1001)
    found, offset = bins.encode(heading)
    assert set(found.tolist()) == {*range(count)}
    assert float(offset.abs().max()) <= 1 + 1e-5
    back = bins.decode(found, offset)
    assert float(back.max()) <= math.pi
    if count > 1:
        apart = torch.remainder(back - heading + 1, 2 * math.pi) - 1
        assert float(apart.abs().max()) < 1e-5
    else:
        assert not back.any()


def test_bins_are_centred_at_multiples_of_their_width() -> None:
    bins = HeadingBins(12)
    found, offset = bins.encode(torch.arange(12) * bins.width)
    assert found.tolist() == [*range(12)]
    assert float(offset.abs().max()) < 1e-5
    edges, _ = bins.encode((torch.arange(12) + 0.49) * bins.width)
    assert all(b - a == 1 for a, b in pairwise(edges.tolist()))
