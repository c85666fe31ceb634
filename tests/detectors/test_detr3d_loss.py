"""3DETR's matching and losses against loops over layers, scenes and pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.detr3d.boxes import decode
from sr3d.detectors.detr3d.config import DETR3DLoss
from sr3d.detectors.detr3d.giou import BoxOverlap
from sr3d.detectors.detr3d.loss import QueryPredictions, SetLoss
from sr3d.detectors.detr3d.network import Extent, RawOutputs
from sr3d.geometry.boxes import enclosing_boxes
from sr3d.geometry.iou import footprint_overlap, generalized_iou, pairwise_iou
from sr3d.matching.hungarian import HungarianMatcher
from tests.geometry.strategies import random_boxes

LAYERS, SCENES, QUERIES, CLASSES = 3, 2, 7, 4
WEIGHTS = DETR3DLoss(
    cls_weight=0.8, background_weight=0.1, heading_cls_weight=0.2, heading_reg_weight=0.5,
    center_weight=5.0, size_weight=2.0, giou_weight=3.0, rotated_giou="correct",
)  # fmt: skip


def predictions(bins: int, seed: int = 0) -> QueryPredictions:
    g = torch.Generator().manual_seed(seed)
    shape = LAYERS, SCENES, QUERIES

    def draw(*last: int) -> Tensor:
        return torch.randn(*shape, *last, generator=g)

    raw = RawOutputs(draw(CLASSES + 1), draw(3), draw(3), draw(bins), draw(bins))
    points = torch.rand(SCENES, 50, 3, generator=g) * torch.tensor([4.0, 5, 2])
    extent, queries = Extent.of(points), points[:, :QUERIES]
    boxes = decode(raw, queries, extent, HeadingBins(bins))
    return QueryPredictions(raw, boxes, queries, points, extent)


def truth(rotated: bool) -> GroundTruth:
    boxes = random_boxes(5, 3, spread=1.0)
    boxes[:, :3] += 2
    if not rotated:
        boxes[:, 6] = 0
    labels = torch.tensor([0, 3, 2, 1, 1])
    return GroundTruth.collate([boxes[:3], boxes[3:]], [labels[:3], labels[3:]])


def criterion(rotated: bool, weights: DETR3DLoss = WEIGHTS) -> SetLoss:
    overlap = BoxOverlap(rotated, legacy=weights.rotated_giou == "legacy")
    bins = HeadingBins(6 if rotated else 1)
    return SetLoss(HungarianMatcher(1.0, 5.0, 4.0, 3.0), overlap, bins, weights)


def giou(a: Tensor, b: Tensor, rotated: bool) -> Tensor:
    return generalized_iou(a, b, footprint_overlap(a, b, rotated), rotated)


@pytest.mark.parametrize("rotated", [False, True])
def test_losses_equal_loops_over_pairs(rotated: bool) -> None:
    found, target, loss = predictions(6 if rotated else 1), truth(rotated), criterion(rotated)
    matches = loss.match(found, target, clip=False)
    terms = loss.terms(found, target, matches, clip=False)
    for layer in range(LAYERS):
        expected = dict.fromkeys(terms, 0.0)
        weighted = mass = 0.0
        for scene in range(SCENES):
            own = [i for i in matches[layer, scene].tolist() if i >= 0]
            assert sorted(own) == (target.scenes == scene).nonzero().squeeze(1).tolist()
            low, size = found.extent.low[scene], found.extent.size[scene]
            for query in range(QUERIES):
                at, index = (layer, scene, query), int(matches[layer, scene, query])
                label = CLASSES if index < 0 else int(target.labels[index])
                weight = WEIGHTS.background_weight if index < 0 else 1.0
                weighted -= weight * float(found.raw.logits[at].log_softmax(0)[label])
                mass += weight
                if index < 0:
                    continue
                box, gt = found.boxes[at], target.boxes[index]
                bins = loss.bins.count
                turned = (-float(gt[6]) + math.pi / bins) % (2 * math.pi)
                bin_, rest = divmod(turned, 2 * math.pi / bins)
                residual = (rest - math.pi / bins) / (math.pi / bins)
                logits = found.raw.heading_logits[at].log_softmax(0)
                offset = float(found.raw.heading_residual[at][int(bin_)]) - residual
                huber = offset**2 / 2 if abs(offset) < 1 else abs(offset) - 0.5
                center = (box[:3] - low) / size - (gt[:3] - low) / size
                shares = found.raw.size[at].sigmoid() - gt[3:6] / size
                expected["heading_cls"] -= 0.2 * float(logits[int(bin_)]) / 5
                expected["heading_reg"] += 0.5 * huber / 5
                expected["center"] += 5 * float(center.abs().sum()) / 5
                expected["size"] += 2 * float(shares.abs().sum()) / 5
                expected["giou"] += 3 * (1 - float(giou(box, gt, rotated))) / 5
        expected["cls"] = 0.8 * weighted / mass
        assert {k: float(v[layer]) for k, v in terms.items()} == pytest.approx(expected, rel=1e-4)
    total = loss(found, target)
    assert float(total.total) == pytest.approx(sum(float(v.sum()) for v in terms.values()))
    assert float(total.curves["positives"]) == 5


@pytest.mark.parametrize("rotated", [False, True])
def test_matches_cost_least(rotated: bool) -> None:
    found, target, loss = predictions(6 if rotated else 1), truth(rotated), criterion(rotated)
    matches = loss.match(found, target, clip=False)
    scene, layer = 1, 2
    boxes, gt = found.boxes[layer, scene], target.boxes[target.scenes == scene]
    low, size = found.extent.low[scene], found.extent.size[scene]
    distance = ((boxes[:, None, :3] - gt[None, :, :3]) / size).abs().sum(dim=2)
    assert low.shape == (3,)
    cost = (
        -found.probabilities[layer, scene][:, target.labels[target.scenes == scene]]
        - 5 * found.objectness[layer, scene, :, None]
        + 4 * distance
        - 3 * giou(boxes[:, None], gt[None], rotated)
    )
    every = [float(cost[i, 0] + cost[j, 1]) for i in range(7) for j in range(7) if i != j]
    own = matches[layer, scene]
    taken = sum(float(cost[q, int(own[q]) - 3]) for q in (own >= 0).nonzero().squeeze(1))
    assert taken == pytest.approx(min(every), rel=1e-4)


def test_a_batch_without_boxes_learns_background() -> None:
    found, loss = predictions(6), criterion(True)
    empty = GroundTruth.collate([torch.zeros(0, 7)] * 2, [torch.zeros(0, dtype=torch.int64)] * 2)
    losses = loss(found, empty)
    assert {name for name, value in losses.terms.items() if value} == {"cls"}
    background = -found.raw.logits.log_softmax(-1)[..., -1]
    assert float(losses.terms["cls"]) == pytest.approx(0.8 * float(background.mean() * LAYERS))


def test_processes_share_normalisers() -> None:
    """The losses of the scenes of a batch in two processes add up to the loss of the batch."""
    found, target, loss = predictions(6), truth(True), criterion(True)
    parts, counts = [], []
    for scene in range(SCENES):
        own, at = target.scenes == scene, slice(scene, scene + 1)
        predicted = QueryPredictions(
            RawOutputs(*(x[:, at] for x in found.raw)), found.boxes[:, at], found.queries[at],
            found.points[at], found.extent.of_scene(scene),
        )  # fmt: skip
        part = GroundTruth(target.boxes[own], target.labels[own], target.scenes[own] * 0)
        asked: list[Tensor] = []
        loss(predicted, part, partial(noted, asked))
        parts.append((predicted, part))
        counts.append(asked)
    sums = [one + other for one, other in zip(*counts, strict=True)]
    totals = [float(loss(*part, partial(next_of, iter(sums))).total) for part in parts]
    assert sum(totals) == pytest.approx(float(loss(found, target).total), rel=1e-5)


def noted(asked: list[Tensor], count: Tensor) -> Tensor:
    asked.append(count)
    return count


def next_of(sums: Iterator[Tensor], count: Tensor) -> Tensor:
    return next(sums)


# ---------------------------------------------------------------- generalised IoU


def test_without_yaw_the_legacy_form_is_the_correct_one() -> None:
    a, b = random_boxes(30, 0, spread=0.7), random_boxes(20, 1, spread=0.7)
    a[:, 6] = b[:, 6] = 0
    correct = BoxOverlap(rotated=True, legacy=False).of_all(a, b, clip=True)
    for clip in (False, True):
        legacy = BoxOverlap(rotated=True, legacy=True).of_all(a, b, clip)
        torch.testing.assert_close(legacy, correct)
    torch.testing.assert_close(BoxOverlap(False, False).of_all(a, b, False), correct)


def test_the_legacy_form_misses_most_overlaps_of_turned_boxes() -> None:
    a, b = random_boxes(60, 0, spread=0.5), random_boxes(60, 1, spread=0.5)
    touching = pairwise_iou(a, b, rotated=True) > 0
    correct = BoxOverlap(rotated=True, legacy=False).of_all(a, b, clip=True)
    legacy = BoxOverlap(rotated=True, legacy=True).of_all(a, b, clip=True)
    assert int(touching.sum()) > 100
    missed = touching & ((legacy - correct).abs() > 1e-6)
    assert 0.5 < float(missed.sum() / touching.sum()) < 1
    assert (legacy[missed] < correct[missed]).all()
    torch.testing.assert_close(legacy[~missed], correct[~missed])


def test_pairs_equal_the_table_and_have_gradients() -> None:
    a, b = random_boxes(25, 0, spread=0.4), random_boxes(25, 1, spread=0.4)
    for legacy in (False, True):
        for clip in (False, True):
            overlap = BoxOverlap(rotated=True, legacy=legacy)
            of_a = a.clone().requires_grad_()
            pairs = overlap.of_pairs(of_a, b, clip)
            torch.testing.assert_close(pairs, overlap.of_all(a, b, clip).diagonal())
            pairs.sum().backward()
            assert of_a.grad is not None
            assert of_a.grad.isfinite().all()
            assert of_a.grad[:, :6].abs().sum() > 0


def test_correct_overlaps_are_bounded_by_the_enclosing_boxes() -> None:
    a, b = random_boxes(40, 4, spread=0.6), random_boxes(40, 5, spread=0.6)
    correct = BoxOverlap(rotated=True, legacy=False).of_all(a, b, clip=False)
    assert ((correct >= -1 - 1e-6) & (correct <= 1 + 1e-6)).all()
    apart = pairwise_iou(enclosing_boxes(a), enclosing_boxes(b), rotated=False) == 0
    assert (correct[apart] <= 0).all()


@pytest.mark.parametrize(
    ("yaws", "expected"),
    [([0.0, 0.0], False), ([0.2, 0.0], False), ([-0.2, 0.2], True), ([3.0 + math.pi], True)],
)
def test_polygons_are_clipped_if_a_heading_is_positive(yaws: list[float], expected: bool) -> None:
    """A heading is minus the yaw, in (-π, π]."""
    boxes = torch.ones(len(yaws), 7)
    boxes[:, 6] = torch.tensor(yaws)
    assert criterion(True, replace(WEIGHTS, rotated_giou="legacy")).clips(boxes) is expected
    assert not criterion(False).clips(boxes)
