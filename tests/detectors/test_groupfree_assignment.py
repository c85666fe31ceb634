"""The objects of points, the seeds to sample, and GroupFree's loss, against loops."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.point_inputs import PaddedTruth, PointBatch
from sr3d.detectors.common.pointnet2 import PointSet
from sr3d.detectors.groupfree.assignment import (
    QueryAssignment,
    assign,
    nearest_seeds,
    objects_by_box,
    objects_by_centre,
    to_learn,
)
from sr3d.detectors.groupfree.config import GroupFreeAssignment, GroupFreeLoss
from sr3d.detectors.groupfree.loss import unweighted_losses, weighted_losses
from sr3d.detectors.groupfree.network import GroupFreePredictions, Stage
from sr3d.geometry.boxes import Boxes

MEAN = torch.tensor([[1.0, 2.0, 1.0], [0.5, 0.5, 2.0]])


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def padded(*scenes: Tensor, least: int = 1) -> PaddedTruth:
    """The truth of scenes with boxes (K, 7). Labels alternate."""
    labels = [torch.arange(len(boxes)) % 2 for boxes in scenes]
    return PaddedTruth.of(GroundTruth.collate(scenes, labels), len(scenes), least)


def boxes(count: int, seed: int) -> Tensor:
    around = draw(count, 7, seed=seed)
    around[:, 3:6] = around[:, 3:6].abs() + 0.5
    return around


# ---------------------------------------------------------------- assignment


def test_an_object_s_box_is_the_one_nearest_to_the_centre_of_its_points() -> None:
    """Points 0 and 1 are what is seen of box 0. Their centre is nearer to box 1."""
    points = torch.tensor([[[1.0, 0, 0], [1.4, 0, 0], [5.0, 5, 5]]])
    batch = PointBatch(points, instance=torch.tensor([[0, 0, -1]]))
    truth = padded(torch.tensor([[0.0, 0, 0, 3, 1, 1, 0], [1.3, 0, 0, 1, 1, 1, 0]]), least=4)
    assert objects_by_centre(batch, truth).tolist() == [[1, 1, -1]]
    # Padded boxes, at the origin, are never nearest.
    alone = padded(torch.tensor([[9.0, 9, 9, 1, 1, 1, 0]]), least=4)
    assert objects_by_centre(batch, alone).tolist() == [[0, 0, -1]]


@pytest.mark.parametrize("most", [0, 1, 2, 3])
def test_a_point_in_several_boxes_belongs_to_the_nearest_centre(most: int) -> None:
    points, truth = draw(2, 200, 3, seed=1), padded(boxes(7, 2), boxes(3, 3))
    found = objects_by_box(points, truth, most)
    for scene in range(2):
        count = int(truth.real[scene].sum())
        own = truth.boxes[scene, :count]
        inside = Boxes(own).contains(points[scene])
        for point, contained, index in zip(points[scene], inside, found[scene], strict=True):
            around = contained.nonzero().squeeze(1).tolist()
            if most and len(around) > most:
                around = [*around[: most - 1], around[-1]]
            distances = {i: float((own[i, :3] - point).norm()) for i in around}
            assert int(index) == min(distances, key=distances.__getitem__, default=-1)
    assert bool((found >= 0).any())


def test_the_nearest_seeds_of_each_object() -> None:
    seeds, truth = draw(2, 60, 3, seed=4), padded(boxes(5, 5), boxes(2, 6))
    objects = torch.randint(-1, 5, (2, 60), generator=torch.Generator().manual_seed(0))
    objects[1] = objects[1].clamp(max=1)
    objects[0, objects[0] == 3] = -1
    objects[0, 7] = 3  # an object with one seed
    found = nearest_seeds(seeds, objects, truth.boxes, count=4)
    for scene in range(2):
        expected = set()
        for truth_index in range(5):
            own = (objects[scene] == truth_index).nonzero().squeeze(1).tolist()
            box = truth.boxes[scene, truth_index]
            relative = {i: ((seeds[scene, i] - box[:3]) / box[3:6]).norm() for i in own}
            expected |= set(sorted(own, key=relative.__getitem__)[:4])
        assert set(found[scene].nonzero().squeeze(1).tolist()) == expected
    assert bool(found[0, 7])


def test_sizes_to_learn() -> None:
    box = torch.tensor([[[1.0, 2, 3, 2, 1, 1, math.pi / 2], [0.0, 0, 0, 2, 1, 1, 0]]])
    assert torch.equal(to_learn(box, "box"), box)
    around = to_learn(box, "extent")
    torch.testing.assert_close(around[0, :, 3:6], torch.tensor([[1.0, 2, 1], [2.0, 1, 1]]))
    assert torch.equal(around[..., 6], box[..., 6])


# ---------------------------------------------------------------- loss


def stage(queries: int, bins: int, metres: bool, seed: int) -> Stage:
    """Outputs for two scenes and two classes."""
    sizes = (None, None) if metres else (draw(2, queries, 2, seed=seed), draw(2, queries, 2, 3))
    return Stage(
        draw(2, queries, seed=seed + 1),
        draw(2, queries, 3, seed=seed + 2),
        draw(2, queries, bins, seed=seed + 3),
        draw(2, queries, bins, seed=seed + 4),
        draw(2, queries, 3, seed=seed + 5),
        draw(2, queries, 2, seed=seed + 6),
        *sizes,
    )


def predictions(bins: int = 1, metres: bool = False) -> GroupFreePredictions:
    points = draw(2, 30, 3, seed=7)
    seeds = PointSet(points, draw(2, 8, 30, seed=8), torch.arange(30).expand(2, -1))
    queries = draw(2, 30, seed=10).topk(12).indices
    stages = {name: stage(12, bins, metres, 10 * i) for i, name in enumerate(("proposal", "last"))}
    return GroupFreePredictions(PointBatch(points), seeds, draw(2, 30, seed=9), queries, stages)


@pytest.mark.parametrize(("bins", "metres"), [(1, False), (12, True)])
def test_every_term_equals_a_loop(bins: int, metres: bool) -> None:
    found, truth = predictions(bins, metres), padded(boxes(4, 2), boxes(2, 3))
    config = GroupFreeLoss(size_target="box", heading_delta=0.04, size_delta=0.1)
    given = assign(found, truth, GroupFreeAssignment(), "box")
    mean = None if metres else MEAN
    sampling, stages = unweighted_losses(found, truth, given, HeadingBins(bins), config, mean)
    rows = [
        (scene, query, int(given.matches[scene, query]))
        for scene in range(2)
        for query in range(12)
        if given.matches[scene, query] >= 0
    ]
    assert rows
    last, total = found.stages["last"], len(rows) + 1e-6
    expected = dict.fromkeys(stages["last"], 0.0)
    for scene, query, index in rows:
        box, label = truth.boxes[scene, index], int(truth.labels[scene, index])
        error = (last.centers[scene, query] - box[:3]).abs()
        delta = config.center_delta
        for e in error.tolist():
            expected["center"] += e**2 / (2 * delta) if e < delta else e - delta / 2
        heading, offset = HeadingBins(bins).encode(-box[6])
        expected["heading_class"] -= float(last.headings[scene, query].log_softmax(0)[heading])
        expected["heading_offset"] += huber(
            last.heading_offsets[scene, query, heading] - offset, config.heading_delta
        )
        expected["label"] -= float(last.classes[scene, query].log_softmax(0)[label])
        if last.size_classes is None or last.size_offsets is None:
            errors = last.sizes[scene, query] - box[3:6]
        else:
            expected["size_class"] -= float(last.size_classes[scene, query].log_softmax(0)[label])
            errors = last.size_offsets[scene, query, label] - (box[3:6] / MEAN[label] - 1)
        expected["size"] += sum(huber(e, config.size_delta) for e in errors)
    for name in {*expected} - {"objectness"}:
        assert float(stages["last"][name]) == pytest.approx(expected[name] / total, rel=1e-5)
    objectness = focal(last.objectness, given.positive)
    assert float(stages["last"]["objectness"]) == pytest.approx(objectness, rel=1e-5)
    assert float(sampling) == pytest.approx(focal(found.seed_logits, given.near), rel=1e-5)


def huber(error: Tensor, delta: float) -> float:
    e = abs(float(error))
    return e**2 / 2 if e < delta else delta * (e - delta / 2)


def focal(logits: Tensor, positive: Tensor) -> float:
    """The mean over all rows of two scenes."""
    p = logits.double().sigmoid()
    right = torch.where(positive, p, 1 - p)
    weight = torch.where(positive, 0.25, 0.75)
    return float((-weight * (1 - right) ** 2 * right.log()).mean())


def test_weights_of_the_terms() -> None:
    """10 (0.8 sampling + (0.1 objectness + box + 0.1 class) / stages)."""
    names = "objectness", "center", "heading_class", "heading_offset", "size_class", "size", "label"
    stages = {
        name: dict.fromkeys(names, torch.tensor(value))
        for name, value in zip("ab", (1.0, 3.0), strict=True)
    }
    terms = weighted_losses(torch.tensor(5.0), stages, GroupFreeLoss())
    expected = {"sampling": 40, "objectness": 2, "center": 20, "heading_class": 2}
    expected |= {"heading_offset": 20, "size_class": 2, "size": 20, "label": 2}
    assert {name: float(value) for name, value in terms.items()} == pytest.approx(expected)


def test_two_processes_add_up_to_the_loss_of_the_whole_batch() -> None:
    found, truth = predictions(), padded(boxes(4, 2), boxes(2, 3))
    config, bins = GroupFreeLoss(), HeadingBins(1)
    given = assign(found, truth, GroupFreeAssignment(), "box")
    whole, whole_stages = unweighted_losses(found, truth, given, bins, config, MEAN)
    parts = []
    for scene in range(2):
        own = replace(
            found,
            batch=PointBatch(found.batch.points[scene : scene + 1]),
            seed_logits=found.seed_logits[scene : scene + 1],
            stages={
                name: Stage._make(None if x is None else x[scene : scene + 1] for x in values)
                for name, values in found.stages.items()
            },
        )
        rows = QueryAssignment(*(x[scene : scene + 1] for x in vars(given).values()))
        share = PaddedTruth(*(x[scene : scene + 1] for x in vars(truth).values()))
        # The number of scenes, then the number of positives.
        counts = iter((torch.tensor(2), given.positive.sum()))
        total = lambda _, counts=counts: next(counts)  # noqa: E731
        parts.append(unweighted_losses(own, share, rows, bins, config, MEAN, total))
    torch.testing.assert_close(parts[0][0] + parts[1][0], whole)
    for name, terms in whole_stages.items():
        for term, value in terms.items():
            torch.testing.assert_close(parts[0][1][name][term] + parts[1][1][name][term], value)


def test_scenes_without_boxes_train_scores_alone() -> None:
    found, none = predictions(), torch.zeros(0, 7)
    for values in found.stages.values():
        for output in values:
            if output is not None:
                output.requires_grad_()
    truth = padded(none, none)
    given = assign(found, truth, GroupFreeAssignment(), "extent")
    assert not given.positive.any()
    assert not given.near.any()
    _, stages = unweighted_losses(found, truth, given, HeadingBins(1), GroupFreeLoss(), MEAN)
    torch.stack([value for terms in stages.values() for value in terms.values()]).sum().backward()
    for terms in stages.values():
        assert {name for name, value in terms.items() if float(value.detach())} == {"objectness"}
    last = found.stages["last"]
    assert last.objectness.grad is not None
    assert bool(last.objectness.grad.any())
    assert last.centers.grad is not None
    assert not bool(last.centers.grad.any())
