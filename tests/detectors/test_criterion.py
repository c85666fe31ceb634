"""The loss of a batch in the cases that break detectors, for every assigner and loss."""

import dataclasses
import itertools
from typing import TypeVar

import pytest
import torch

from sr3d.data.datasets import SYNTHETIC, SYNTHETIC_ROTATED, Dataset
from sr3d.data.ground_truth import IGNORED, GroundTruth
from sr3d.detectors.outputs import Losses, Predictions
from sr3d.detectors.tr3d.assigners import build_assigner
from sr3d.detectors.tr3d.config import AssignerConfig, LossConfig
from sr3d.detectors.tr3d.loss import detection_loss
from sr3d.detectors.tr3d.network import decode_boxes
from sr3d.matching.assigner import Anchors, Assigner

P = TypeVar("P", bound=Predictions)
ASSIGNERS = ("spota", "tr3d", "simota", "align_ota", "fcaf3d")
CASES = [  # anchors and ground truths of each scene
    ([300, 200], [4, 3]),
    ([300, 200], [0, 3]),  # a scene with no box
    ([300], [0]),  # a batch with no positive at all
    ([300], [1]),
    ([5], [30]),  # more boxes than anchors
    ([1], [1]),  # a single positive (TR3D's rule leaves none)
    ([7, 7], [1, 1]),
]
KINDS = [
    *itertools.product(ASSIGNERS, ("ras", "focal"), (SYNTHETIC, SYNTHETIC_ROTATED)),
    *itertools.product(("spota",), ("qfl", "vfl"), (SYNTHETIC, SYNTHETIC_ROTATED)),
]


def predictions(counts: list[int], dataset: Dataset, seed: int = 0) -> Predictions:
    g = torch.Generator().manual_seed(seed)
    n = sum(counts)
    outputs = 8 if dataset.rotated else 6
    anchors = torch.rand(n, 3, generator=g) * 4
    levels = torch.randint(2, (n,), generator=g)
    reg = torch.randn(n, outputs, generator=g).mul(0.3)
    scenes = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return Predictions(
        Anchors(anchors, levels, torch.full((n,), 0.5), scenes, len(counts)),
        boxes=decode_boxes(anchors, reg).requires_grad_(),
        logits=torch.randn(n, len(dataset.classes), generator=g).requires_grad_(),
    )


def boxes(n: int, dataset: Dataset, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    box = torch.rand(n, 7, generator=g) * 2 + 0.3
    if not dataset.rotated:
        box[:, 6] = 0
    return box, torch.randint(len(dataset.classes), (n,), generator=g)


def truth(counts: list[int], dataset: Dataset) -> GroundTruth:
    pairs = [boxes(n, dataset, seed=i) for i, n in enumerate(counts)]
    return GroundTruth.collate([b for b, _ in pairs], [label for _, label in pairs])


def assigner_of(config: AssignerConfig | Assigner, dataset: Dataset) -> Assigner:
    return build_assigner(config, dataset) if isinstance(config, AssignerConfig) else config


def loss_of(
    pred: Predictions,
    gt: GroundTruth,
    dataset: Dataset,
    config: AssignerConfig | Assigner,
    loss: LossConfig,
) -> Losses:
    return detection_loss(pred, gt, assigner_of(config, dataset), loss, dataset.rotated)


def assign(
    pred: Predictions, gt: GroundTruth, dataset: Dataset, config: AssignerConfig | Assigner
) -> torch.Tensor:
    return assigner_of(config, dataset)(pred.anchors, pred.boxes, pred.logits, gt)


def alone_in(scene: P) -> P:
    """The predictions of one scene, as the only one of a batch."""
    anchors = scene.anchors._replace(scenes=scene.anchors.scenes * 0, batch_size=1)
    return dataclasses.replace(scene, anchors=anchors)


@pytest.mark.parametrize(("assigner", "cls", "dataset"), KINDS)
@pytest.mark.parametrize(("anchors", "gts"), CASES)
def test_loss_and_gradients_stay_finite(
    assigner: str, cls: str, dataset: Dataset, anchors: list[int], gts: list[int]
) -> None:
    pred = predictions(anchors, dataset)
    config = AssignerConfig(name=assigner)  # type: ignore[arg-type]
    loss = LossConfig(cls=cls)  # type: ignore[arg-type]
    terms = loss_of(pred, truth(gts, dataset), dataset, config, loss)
    terms.total.backward()
    assert torch.isfinite(terms.total)
    assert pred.logits.grad is not None
    assert torch.isfinite(pred.logits.grad).all()
    assert pred.logits.grad.abs().sum() > 0  # negatives are trained even without a positive
    assert pred.boxes.grad is not None
    assert torch.isfinite(pred.boxes.grad).all()
    if sum(gts) == 0:
        assert terms.curves["positives"] == 0
        assert float(terms.terms["box"].detach()) == 0
        assert float(terms.curves["aic"]) == 0
    if terms.curves["positives"]:
        assert pred.boxes.grad.abs().sum() > 0


@pytest.mark.parametrize(("assigner", "cls", "dataset"), KINDS)
def test_a_batch_is_normalised_by_all_its_positives(
    assigner: str, cls: str, dataset: Dataset
) -> None:
    config = AssignerConfig(name=assigner)  # type: ignore[arg-type]
    loss = LossConfig(cls=cls)  # type: ignore[arg-type]
    pred, gt = predictions([200, 150], dataset), truth([3, 5], dataset)
    both = loss_of(pred, gt, dataset, config, loss)
    alone = []
    for i in range(2):
        rows = gt.scenes == i
        part = GroundTruth(gt.boxes[rows], gt.labels[rows], gt.scenes[rows] * 0)
        scene = pred[pred.anchors.scenes == i]
        alone.append(loss_of(alone_in(scene), part, dataset, config, loss))
    count = sum(t.curves["positives"] for t in alone)
    assert both.curves["positives"] == count
    for name in ("cls", "box"):
        total = sum(t.terms[name] * t.curves["positives"] for t in alone) / count
        assert torch.allclose(both.terms[name], total, rtol=1e-4)  # type: ignore[arg-type]


def test_assignment_points_into_the_batch() -> None:
    pred, gt = predictions([200, 150], SYNTHETIC), truth([3, 5], SYNTHETIC)
    assigned = assign(pred, gt, SYNTHETIC, AssignerConfig())
    positive = assigned >= 0
    assert torch.equal(gt.scenes[assigned[positive]], pred.anchors.scenes[positive])
    assert torch.bincount(assigned[positive], minlength=8).max() <= 6


@pytest.mark.parametrize("assigner", [name for name in ASSIGNERS if name != "tr3d"])
def test_levels_that_nobody_knows_are_not_looked_at(assigner: str) -> None:
    pred, gt = predictions([200, 150], SYNTHETIC), truth([3, 5], SYNTHETIC)
    config = AssignerConfig(name=assigner)  # type: ignore[arg-type]
    unknown = dataclasses.replace(SYNTHETIC, levels=())
    assert torch.equal(assign(pred, gt, unknown, config), assign(pred, gt, SYNTHETIC, config))


def test_identical_predictions_give_ranks_without_order() -> None:
    # All positives of a ground truth with equal scores and boxes: finite, and the same for each.
    n = 6
    zero = torch.zeros(n, dtype=torch.int64)
    pred = Predictions(
        Anchors(torch.zeros(n, 3), zero, torch.full((n,), 0.5), zero, 1),
        boxes=torch.tensor([[0.0, 0, 0, 1, 1, 1, 0]]).repeat(n, 1).requires_grad_(),
        logits=torch.zeros(n, len(SYNTHETIC.classes), requires_grad=True),
    )
    gt = GroundTruth.collate([torch.tensor([[0.1, 0, 0, 1, 1, 1, 0]])], [torch.tensor([2])])
    terms = loss_of(pred, gt, SYNTHETIC, AssignerConfig(), LossConfig())
    terms.total.backward()
    assert terms.curves["positives"] == n
    assert pred.logits.grad is not None
    assert torch.allclose(pred.logits.grad, pred.logits.grad[0].expand(n, -1))


class Given:
    """An assigner that gives these matches."""

    def __init__(self, matches: torch.Tensor) -> None:
        self.matches = matches

    def __call__(self, *_: object) -> torch.Tensor:
        return self.matches


@pytest.mark.parametrize("cls", ["ras", "focal", "qfl", "vfl"])
def test_ignored_anchors_have_no_part_in_any_loss(cls: str) -> None:
    matches = torch.randint(-2, 4, (300,), generator=torch.Generator().manual_seed(2))
    kept = matches != IGNORED
    whole = predictions([300], SYNTHETIC)
    part = Predictions(
        whole.anchors.rows(kept.nonzero()[:, 0]),
        boxes=whole.boxes.detach()[kept].requires_grad_(),
        logits=whole.logits.detach()[kept].requires_grad_(),
    )
    config = LossConfig(cls=cls)  # type: ignore[arg-type]
    losses = [
        detection_loss(p, truth([4], SYNTHETIC), Given(m), config, rotated=False)  # type: ignore[arg-type]
        for p, m in ((whole, matches), (part, matches[kept]))
    ]
    torch.testing.assert_close(losses[0].values(), losses[1].values())
    losses[0].total.backward()
    for output in (whole.boxes, whole.logits):
        assert output.grad is not None
        assert not output.grad[~kept].any()
