"""A batch is assigned in one pass: as its scenes one by one, and without waiting for each."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sr3d.data.datasets import SYNTHETIC, SYNTHETIC_ROTATED, Dataset
from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.outputs import Predictions
from sr3d.detectors.tr3d.config import AssignerConfig
from sr3d.detectors.tr3d.network import decode_boxes
from sr3d.matching import batching as scenes
from sr3d.matching.assigner import Anchors, Assigner
from sr3d.matching.fcaf3d import FCAF3DAssigner
from tests.detectors.test_criterion import alone_in, assign
from tests.matching.waits import Waits

CONFIGS = {
    "spota": {},
    "spota by class": {"levels": "by_class"},
    "spota with classes": {"cls_weight": 1 / 3, "reg_cost": "log_iou"},
    "tr3d": {},
    "tr3d of samsung": {"tr3d_variant": "samsung"},
    "simota": {},
    "align_ota": {},
    "fcaf3d": {},
}
BOTH = (SYNTHETIC, SYNTHETIC_ROTATED)
# Anchors of the fine and of the coarse level, and ground truths, of each scene.
BATCHES = {
    "alike": [(150, 30, 4), (170, 25, 5), (160, 35, 6)],
    "unlike": [(300, 3, 1), (9, 40, 12), (60, 60, 0), (0, 0, 3), (0, 25, 4), (40, 0, 4), (1, 0, 2)],
    "one": [(120, 40, 7)],
    "few anchors": [(2, 1, 9), (0, 1, 1), (1, 3, 2)],
}


def config(name: str) -> AssignerConfig | Assigner:
    if name == "fcaf3d":
        return FCAF3DAssigner(4, 5)
    return AssignerConfig(name=name.split()[0], **CONFIGS[name])  # type: ignore[arg-type]


def batch(
    sizes: list[tuple[int, int, int]], dataset: Dataset, seed: int, shuffled: bool
) -> tuple[Predictions, GroundTruth]:
    """Anchors on a grid and boxes that recur, so that distances and costs are often equal. Levels
    come one after the other, as a network has them, unless shuffled.
    """
    g = torch.Generator().manual_seed(seed)
    fine, coarse, truths = (torch.tensor(column) for column in zip(*sizes, strict=True))
    of = torch.arange(len(sizes))
    of_anchor = torch.cat([of.repeat_interleave(fine), of.repeat_interleave(coarse)])
    levels = torch.cat([torch.zeros(int(fine.sum())), torch.ones(int(coarse.sum()))]).long()
    n, m = len(levels), int(truths.sum())
    stride = torch.tensor([0.16, 0.32])[levels]
    anchors = torch.randint(0, 12, (n, 3), generator=g) * stride[:, None]

    gt = torch.rand(m, 7, generator=g) + 0.3
    gt[:, :3] = torch.randint(0, 12, (m, 3), generator=g) * 0.16
    gt[1::4] = gt[: m - 1 : 4]  # twice the same box
    reg = torch.randn(n, 8 if dataset.rotated else 6, generator=g) * 0.3
    boxes = decode_boxes(anchors, reg)
    if not dataset.rotated:
        gt[:, 6] = 0
    if m:
        boxes[::3] = gt[torch.randint(m, (len(boxes[::3]),), generator=g)]  # perfect, or far away
    logits = torch.randn(n, len(dataset.classes), generator=g).round()
    places = Anchors(anchors, levels, stride, of_anchor, len(sizes))
    pred = Predictions(places, boxes, logits)
    labels = torch.randint(len(dataset.classes), (m,), generator=g)
    truth = GroundTruth(gt, labels, of.repeat_interleave(truths))
    if shuffled:
        order = torch.randperm(m, generator=g)
        truth = GroundTruth(gt[order], labels[order], truth.scenes[order])
        pred = pred[torch.randperm(n, generator=g)]
    return pred, truth


def one_by_one(
    pred: Predictions, truth: GroundTruth, dataset: Dataset, config: AssignerConfig | Assigner
) -> Tensor:
    assigned = torch.full((len(pred.boxes),), -1)
    for scene in range(8):
        rows, gt = (x.scenes.eq(scene).nonzero()[:, 0] for x in (pred.anchors, truth))
        alone = alone_in(pred[rows])
        boxes = GroundTruth(truth.boxes[gt], truth.labels[gt], torch.zeros_like(gt))
        for row, j in zip(rows, assign(alone, boxes, dataset, config), strict=True):
            assigned[row] = gt[j] if j >= 0 else -1
    return assigned


@pytest.mark.parametrize("dataset", BOTH)
@pytest.mark.parametrize("sizes", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_is_assigned_as_its_scenes_are(
    monkeypatch: pytest.MonkeyPatch,
    dataset: Dataset,
    sizes: list[tuple[int, int, int]],
    name: str,
) -> None:
    found = 0
    for seed in range(2):
        pred, truth = batch(sizes, dataset, seed, shuffled=seed == 1)
        expected = one_by_one(pred, truth, dataset, config(name))
        for part in (1 << 18, 500):  # the whole matrix, and a few rows at a time
            monkeypatch.setattr(scenes, "_PART_CPU", part)
            assert torch.equal(assign(pred, truth, dataset, config(name)), expected)
        found += int((expected >= 0).sum())
    assert found > 0


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("anchors", "truths"), [(0, 3), (5, 0), (0, 0)])
def test_scenes_with_boxes_and_scenes_with_anchors_may_be_others(
    name: str, anchors: int, truths: int
) -> None:
    pred, truth = batch([(anchors, 0, 0), (0, 0, truths)], SYNTHETIC, 0, shuffled=False)
    assert assign(pred, truth, SYNTHETIC, config(name)).tolist() == [-1] * anchors
    pred, truth = batch([(anchors, 0, 0), (0, 0, truths), (9, 4, 1)], SYNTHETIC, 0, shuffled=True)
    assigned = assign(pred, truth, SYNTHETIC, config(name))
    assert torch.equal(assigned, one_by_one(pred, truth, SYNTHETIC, config(name)))


# Of an assignment: the size of the matrix and each list of pairs. By overlaps also the candidates
# and their matrix.
WAITS = {"spota": 3, "tr3d": 1, "fcaf3d": 2, "simota": 6, "align_ota": 6}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_gpu_is_waited_for_as_often_whatever_the_batch(name: str) -> None:
    for sizes in ([(60, 20, 2)], [(90, 40, 8)] * 7):
        pred, truth = batch(sizes, SYNTHETIC, 0, shuffled=False)
        assign(pred, truth, SYNTHETIC, config(name))  # what is made once
        with Waits() as waits:
            assign(pred, truth, SYNTHETIC, config(name))
        assert waits.count == WAITS[name.split()[0]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dataset", BOTH)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_gpu_finds_the_same(name: str, dataset: Dataset) -> None:
    device = torch.device("cuda")
    pred, truth = batch(BATCHES["alike"], dataset, 0, shuffled=True)
    fields = {name: value.to(device) for name, value in vars(pred).items() if name != "counts"}
    there = Predictions(**fields)
    expected = assign(pred, truth, dataset, config(name))
    found = assign(there, truth.to(device), dataset, config(name)).cpu()
    # Costs may differ in the last bit, which decides between near-equals.
    assert (found == expected).float().mean() > 0.99
