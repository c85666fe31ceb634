"""Table 6's oracles on whole predictions, against one anchor after the other."""

import itertools
import math
from typing import Literal

import pytest
import torch

from sr3d.data.datasets import SYNTHETIC, SYNTHETIC_ROTATED, Dataset
from sr3d.data.scene import Scene
from sr3d.detectors.outputs import Predictions
from sr3d.detectors.tr3d.config import TR3DInference
from sr3d.detectors.tr3d.oracle import with_oracle
from sr3d.geometry.boxes import Boxes, centerness
from sr3d.geometry.iou import paired_iou
from sr3d.matching.assigner import Anchors
from tests.matching.calls import tr3d_assign

ORACLES = [*itertools.product(("iou", "centerness"), ("assigned", "inside"))]


def predictions_of(dataset: Dataset, count: int, seed: int) -> Predictions:
    """Anchors in 4 m of cube, each with a box of about its own size around it."""
    draw = torch.Generator().manual_seed(seed)
    anchors = torch.rand(count, 3, generator=draw) * 4
    boxes = torch.cat(
        [
            anchors + torch.randn(count, 3, generator=draw) * 0.1,
            torch.rand(count, 3, generator=draw) + 0.5,
            torch.rand(count, 1, generator=draw) * dataset.rotated,
        ],
        dim=1,
    )
    levels = torch.randint(2, (count,), generator=draw)
    zero = torch.zeros(count, dtype=torch.int64)
    return Predictions(
        Anchors(anchors, levels, torch.full((count,), 0.5), zero, 1),
        boxes=boxes,
        logits=torch.randn(count, len(dataset.classes), generator=draw),
    )


def scene_of(dataset: Dataset, count: int, seed: int) -> Scene:
    draw = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 7, generator=draw) * 2 + 0.5
    boxes[:, 6] *= dataset.rotated
    labels = torch.randint(len(dataset.classes), (count,), generator=draw)
    return Scene("room", torch.zeros(0, 3), torch.zeros(0, 3), Boxes(boxes), labels)


def literal(predictions: Predictions, scene: Scene, dataset: Dataset, config: TR3DInference):
    """Scores after the oracle, anchor by anchor."""
    scores = predictions.logits.sigmoid().clone()
    truth, labels = scene.boxes.tensor, scene.labels.tolist()
    levels = torch.tensor([dataset.levels[label] for label in labels])
    found = tr3d_assign(*predictions.anchors[:2], truth, levels).tolist()
    for i in range(len(scores)):
        own = found[i]
        if config.foreground == "inside":
            holders = (
                scene.boxes.contains(predictions.anchors.positions[i : i + 1])[0]
                .nonzero()
                .flatten()
            )
            volumes = [(math.prod(truth[j, 3:6].tolist()), int(j)) for j in holders]
            own = min(volumes)[1] if volumes else -1
        if own < 0:
            continue
        box = truth[own : own + 1]
        if config.oracle == "iou":
            new = paired_iou(predictions.boxes[i : i + 1], box, dataset.rotated)
        else:
            new = centerness(predictions.anchors.positions[i : i + 1], box) * scores[i, labels[own]]
        scores[i, labels[own]] = new[0]
    return scores


@pytest.mark.parametrize("dataset", [SYNTHETIC, SYNTHETIC_ROTATED])
@pytest.mark.parametrize(("oracle", "foreground"), ORACLES)
def test_an_oracle_equals_scoring_anchor_by_anchor(dataset, oracle, foreground):
    config = TR3DInference(oracle=oracle, foreground=foreground)
    predictions, scene = predictions_of(dataset, 200, seed=0), scene_of(dataset, 6, seed=1)
    before = predictions.logits.clone()
    found = with_oracle(predictions, scene, dataset, config)
    expected = literal(predictions, scene, dataset, config)
    changed = (expected != before.sigmoid()).sum()
    assert 5 < changed <= 200  # of one class an anchor
    assert torch.allclose(found.logits.sigmoid(), expected, atol=2e-6)
    assert torch.equal(predictions.logits, before)  # the given ones are left alone
    assert found.boxes is predictions.boxes


def test_a_perfect_box_scores_one_and_a_centre_keeps_its_score():
    box = torch.tensor([[1.0, 1, 1, 2, 2, 2, 0]])
    scene = Scene("room", torch.zeros(0, 3), torch.zeros(0, 3), Boxes(box), torch.tensor([3]))
    positions = torch.tensor([[1.0, 1, 1], [1.5, 1, 1], [5, 5, 5]])
    zero = torch.zeros(3, dtype=torch.int64)
    predictions = Predictions(
        Anchors(positions, zero, torch.full((3,), 0.5), zero, 1),
        boxes=torch.cat([box, box + torch.tensor([[1.0, 0, 0, 0, 0, 0, 0]]), box]),
        logits=torch.zeros(3, len(SYNTHETIC.classes)),
    )

    def scores(oracle: Literal["centerness", "iou"]) -> list[float]:
        config = TR3DInference(oracle=oracle, foreground="inside")
        found = with_oracle(predictions, scene, SYNTHETIC, config).logits.sigmoid()
        assert (found.sum(dim=1) - found[:, 3] == 0.5 * (len(SYNTHETIC.classes) - 1)).all()
        return found[:, 3].tolist()

    assert scores("iou") == pytest.approx([1, 1 / 3, 0.5], abs=1e-5)  # the last is outside
    # A quarter of the edge from the centre: 0.5 m to one face, 1.5 m to the other.
    assert scores("centerness") == pytest.approx([0.5, 0.5 * math.sqrt(1 / 3), 0.5], abs=1e-5)


@pytest.mark.parametrize(("oracle", "foreground"), ORACLES)
def test_a_scene_without_boxes_or_anchors_stays_as_it_is(oracle, foreground):
    config = TR3DInference(oracle=oracle, foreground=foreground)
    for anchors, boxes in ((20, 0), (0, 3), (0, 0)):
        predictions = predictions_of(SYNTHETIC, anchors, seed=0)
        found = with_oracle(predictions, scene_of(SYNTHETIC, boxes, seed=1), SYNTHETIC, config)
        assert torch.equal(found.logits, predictions.logits)
