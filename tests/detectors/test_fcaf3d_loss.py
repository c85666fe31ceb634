"""FCAF3D's loss and selection, on made-up predictions."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from sr3d.data.datasets import SYNTHETIC, SYNTHETIC_ROTATED, Dataset
from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.fcaf3d.config import FCAF3DInference, FCAF3DLoss
from sr3d.detectors.fcaf3d.detector import CentredPredictions, centred_loss, select_by_level
from sr3d.detectors.outputs import Losses
from sr3d.geometry.boxes import centerness
from sr3d.geometry.iou import paired_iou
from sr3d.matching.assigner import Anchors
from sr3d.matching.fcaf3d import FCAF3DAssigner
from tests.detectors.test_criterion import CASES, alone_in, predictions, truth

BOTH = (SYNTHETIC, SYNTHETIC_ROTATED)


def centred(counts: list[int], dataset: Dataset) -> CentredPredictions:
    plain = predictions(counts, dataset)
    g = torch.Generator().manual_seed(9)
    center = torch.randn(sum(counts), generator=g).requires_grad_()
    return CentredPredictions(**vars(plain), centerness=center)


def loss_of(pred: CentredPredictions, gt: GroundTruth, dataset: Dataset) -> Losses:
    return centred_loss(pred, gt, FCAF3DAssigner(), FCAF3DLoss(), dataset.rotated)


def assign(pred: CentredPredictions, gt: GroundTruth) -> Tensor:
    return FCAF3DAssigner()(pred.anchors, pred.boxes, pred.logits, gt)


@pytest.mark.parametrize("dataset", BOTH)
@pytest.mark.parametrize(("anchors", "gts"), CASES)
def test_loss_and_gradients_stay_finite(
    dataset: Dataset, anchors: list[int], gts: list[int]
) -> None:
    pred = centred(anchors, dataset)
    terms = loss_of(pred, truth(gts, dataset), dataset)
    terms.total.backward()
    assert torch.isfinite(terms.total)
    for leaf in (pred.logits, pred.boxes, pred.centerness):
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()
    assert pred.logits.grad is not None
    assert pred.logits.grad.abs().sum() > 0  # negatives are trained even without a positive
    if terms.curves["positives"] == 0:
        assert float(terms.terms["box"].detach()) == float(terms.terms["center"].detach()) == 0
        assert float(terms.curves["aic"]) == 0
    if sum(gts) == 0:
        assert terms.curves["positives"] == 0


def test_cases_with_positives_train_boxes_and_centerness() -> None:
    pred = centred([300, 200], SYNTHETIC)
    terms = loss_of(pred, truth([4, 3], SYNTHETIC), SYNTHETIC)
    terms.total.backward()
    assert terms.curves["positives"] > 10
    assert terms.terms.keys() == {"cls", "box", "center"}
    parts = [float(term.detach()) for term in terms.terms.values()]
    assert sum(parts) == pytest.approx(float(terms.total.detach()))
    for leaf in (pred.boxes, pred.centerness):
        assert leaf.grad is not None
        assert leaf.grad.abs().sum() > 0


def literal(
    pred: CentredPredictions, gt: GroundTruth, assigned: Tensor, dataset: Dataset
) -> Tensor:
    """(3,) cls, center and box, scene after scene, anchor after anchor."""
    scenes = int(pred.anchors.scenes.max()) + 1
    total = torch.zeros(3, dtype=torch.float64)
    for scene in range(scenes):
        rows = [i for i, s in enumerate(pred.anchors.scenes.tolist()) if s == scene]
        positives = [i for i in rows if assigned[i] >= 0]
        count = max(1, len(positives))
        for i in rows:
            p = pred.logits[i].detach().double().sigmoid()
            hot = torch.zeros_like(p)
            if assigned[i] >= 0:
                hot = one_hot(gt.labels[assigned[i]], len(p)).double()
            pt, alpha = torch.where(hot > 0, p, 1 - p), torch.where(hot > 0, 0.25, 0.75)
            total[0] += (-alpha * (1 - pt) ** 2 * pt.log()).sum() / count / scenes
        weights = [centerness(pred.anchors.positions[i], gt.boxes[assigned[i]]) for i in positives]
        for i, weight in zip(positives, weights, strict=True):
            entropy = binary_cross_entropy_with_logits(pred.centerness[i].detach(), weight)
            total[1] += entropy / count / scenes
            target = gt.boxes[assigned[i]][None]
            iou = paired_iou(pred.boxes[i : i + 1].detach(), target, dataset.rotated)[0]
            total[2] += (1 - iou) * weight / sum(weights) / scenes
    return total


@pytest.mark.parametrize("dataset", BOTH)
@pytest.mark.parametrize(("anchors", "gts"), [([300, 200], [4, 3]), ([100, 150, 80], [3, 0, 1])])
def test_loss_equals_a_literal_reference(
    dataset: Dataset, anchors: list[int], gts: list[int]
) -> None:
    pred, gt = centred(anchors, dataset), truth(gts, dataset)
    assigned = assign(pred, gt)
    terms = loss_of(pred, gt, dataset)
    found = (
        torch.stack([terms.terms["cls"], terms.terms["center"], terms.terms["box"]])
        .detach()
        .double()
    )
    assert torch.allclose(found, literal(pred, gt, assigned, dataset), rtol=1e-4)


@pytest.mark.parametrize("dataset", BOTH)
def test_a_batch_is_the_mean_of_its_scenes(dataset: Dataset) -> None:
    pred, gt = centred([200, 150], dataset), truth([3, 5], dataset)
    both = loss_of(pred, gt, dataset)
    alone = []
    for i in range(2):
        rows = gt.scenes == i
        part = GroundTruth(gt.boxes[rows], gt.labels[rows], gt.scenes[rows] * 0)
        scene = pred[pred.anchors.scenes == i]
        assert isinstance(scene, CentredPredictions)
        alone.append(loss_of(alone_in(scene), part, dataset).terms)
    for name, value in both.terms.items():
        assert torch.allclose(value, (alone[0][name] + alone[1][name]) / 2, rtol=1e-4)


def test_perfect_predictions_cost_next_to_nothing() -> None:
    pred, gt = centred([400], SYNTHETIC), truth([3], SYNTHETIC)
    assigned = assign(pred, gt)
    rows = (assigned >= 0).nonzero().squeeze(1)
    boxes, logits = pred.boxes.detach().clone(), torch.full_like(pred.logits, -20)
    center = torch.zeros(400)
    boxes[rows] = gt.boxes[assigned[rows]]
    logits[rows, gt.labels[assigned[rows]]] = 20
    center[rows] = centerness(pred.anchors.positions[rows], boxes[rows]).logit()
    perfect = dataclasses.replace(pred, boxes=boxes, logits=logits, centerness=center)
    terms = loss_of(perfect, gt, SYNTHETIC)
    assert float(terms.terms["cls"]) == pytest.approx(0, abs=1e-6)
    assert float(terms.terms["box"]) == pytest.approx(0, abs=1e-5)
    # Inconsistency remains: the score has the centerness in it, the IoU is 1.
    score = centerness(pred.anchors.positions[rows], boxes[rows])
    assert float(terms.curves["aic"]) == pytest.approx(float((1 - score).mean()), abs=1e-4)


def on_a_line(
    levels: list[int], logits: list[list[float]], center: list[float]
) -> CentredPredictions:
    """Unit boxes 5 m apart, one an anchor."""
    n = len(levels)
    boxes = torch.tensor([[5.0 * i, 0, 0, 1, 1, 1, 0] for i in range(n)])
    zero = torch.zeros(n, dtype=torch.int64)
    anchors = Anchors(boxes[:, :3], torch.tensor(levels), torch.ones(n), zero, 1)
    return CentredPredictions(anchors, boxes, torch.tensor(logits), torch.tensor(center))


def test_selection_takes_the_best_of_each_level() -> None:
    pred = on_a_line(
        [0, 0, 0, 1, 1],
        [[4.0, -9], [3.0, -9], [5.0, -9], [-9, 1.0], [-9, 2.0]],
        [0.0, 3.0, -9.0, 0, 0],  # the third has the best class score and lies off centre
    )
    found = select_by_level(pred, FCAF3DInference(nms_pre=1), rotated=False)
    assert found.labels.tolist() == [0, 1]
    assert found.boxes[:, 0].tolist() == [5, 20]
    expected = [3.0, 2.0], [3.0, 0.0]
    product = torch.tensor(expected[0]).sigmoid() * torch.tensor(expected[1]).sigmoid()
    assert found.scores.tolist() == pytest.approx(product.tolist())
    # The threshold is on the product, which is 0.9933 · 0.0001234 for the third.
    for threshold, places in ((0.01, [0, 5, 15, 20]), (0.00012, [0, 5, 10, 15, 20])):
        found = select_by_level(pred, FCAF3DInference(score_thr=threshold), rotated=False)
        assert sorted(found.boxes[:, 0].tolist()) == places


def test_selection_suppresses_across_levels() -> None:
    pred = on_a_line([0, 1], [[2.0], [3.0]], [5.0, 5.0])
    same = dataclasses.replace(pred, boxes=pred.boxes[:1].repeat(2, 1))
    assert len(select_by_level(same, FCAF3DInference(), rotated=False).scores) == 1
    assert len(select_by_level(pred, FCAF3DInference(), rotated=False).scores) == 2
