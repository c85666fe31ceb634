"""VoteNet's loss of proposals against loops over proposals and ground truths."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from sr3d.data.ground_truth import GroundTruth
from sr3d.detectors.common.heading_bins import HeadingBins
from sr3d.detectors.common.point_inputs import PaddedTruth
from sr3d.detectors.votenet.config import VoteNetLoss
from sr3d.detectors.votenet.loss import Assignment, assign, proposal_losses
from sr3d.detectors.votenet.network import (
    ProposalOutputs,
    count_outputs,
    decode,
    read_outputs,
)

SCENES, PROPOSALS, CLASSES, BINS = 2, 12, 3, 4
MEAN = torch.tensor([[0.5, 0.6, 0.7], [1.0, 2.0, 0.4], [0.3, 0.3, 0.9]])
BOXES = ([1.0, 1, 1, 0.6, 0.7, 0.8, 0.3], [2.0, 1, 0.5, 1.1, 2, 0.5, -2.0])
TRUTH = GroundTruth.collate(
    [torch.tensor(BOXES), torch.tensor(BOXES[:1])], [torch.tensor([0, 1]), torch.tensor([2])]
)


def outputs(seed: int = 0) -> tuple[Tensor, ProposalOutputs]:
    """Clusters near the boxes, near the origin, between near and far, and far away."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(SCENES, PROPOSALS, count_outputs(BINS, CLASSES), generator=generator)
    places = torch.tensor([BOXES[0][:3], BOXES[1][:3], [0.0, 0, 0], [5.0, 5, 5]])
    spread = torch.tensor([0.1, 0.25, 0.4])
    centres = places.repeat(3, 1) + spread.repeat_interleave(4)[:, None] * torch.tensor([1.0, 0, 0])
    clusters = centres.expand(SCENES, -1, -1)
    return clusters, read_outputs(raw, clusters, BINS, CLASSES)


def huber(x: float) -> float:
    return 0.5 * x * x if abs(x) <= 1 else abs(x) - 0.5


def entropy(logits: Tensor, label: int) -> float:
    return float(logits.logsumexp(dim=0) - logits[label])


def encoded(yaw: float) -> tuple[int, float]:
    """Bin and normalised offset of the heading, which is minus yaw."""
    width = 2 * math.pi / BINS
    bin_ = round((-yaw % (2 * math.pi)) / width) % BINS
    offset = (-yaw - bin_ * width + math.pi) % (2 * math.pi) - math.pi
    return bin_, offset / (width / 2)


def by_loops(clusters: Tensor, found: ProposalOutputs, config: VoteNetLoss) -> dict[str, float]:
    """The terms as the fact sheet states them, scene by scene and proposal by proposal."""
    sums = dict.fromkeys(
        ("objectness", "to", "from", "heading_class", "heading_offset", "size_class", "size_offset",
         "label"), 0.0,
    )  # fmt: skip
    positives = judged = objects = 0
    for scene in range(SCENES):
        own = TRUTH.scenes == scene
        real = [
            (box, int(label))
            for box, label in zip(TRUTH.boxes[own], TRUTH.labels[own], strict=True)
        ]
        padded: list[tuple[Tensor | None, int]] = [*real]
        if config.padded_truth:
            padded.append((None, 0))
        places = [torch.zeros(3) if box is None else box[:3] for box, _ in padded]
        for p in range(PROPOSALS):
            squared = [float((clusters[scene, p] - place).square().sum()) for place in places]
            box, label = padded[squared.index(min(squared))]
            distance = math.sqrt(min(squared) + 1e-6)
            positive = distance < config.near
            if not (positive or distance > config.far):
                continue
            judged += 1
            weight = config.object_weight if positive else 1 - config.object_weight
            sums["objectness"] += weight * entropy(found.objectness[scene, p], int(positive))
        for p in range(PROPOSALS):
            squared = [float((clusters[scene, p] - place).square().sum()) for place in places]
            box, label = padded[squared.index(min(squared))]
            if math.sqrt(min(squared) + 1e-6) >= config.near:
                continue
            positives += 1
            sums["to"] += min(
                float((found.centres[scene, p] - place).square().sum()) for place in places
            )
            bin_, offset = (0, 0.0) if box is None else encoded(float(box[6]))
            size = torch.zeros(3) if box is None else box[3:6] / MEAN[label] - 1
            sums["heading_class"] += entropy(found.headings[scene, p], bin_)
            sums["heading_offset"] += huber(float(found.heading_offsets[scene, p, bin_]) - offset)
            sums["size_class"] += entropy(found.sizes[scene, p], label)
            apart = found.size_offsets[scene, p, label] - size
            sums["size_offset"] += sum(huber(x) for x in apart.tolist()) / 3
            sums["label"] += entropy(found.classes[scene, p], label)
        objects += len(real)
        for box, _ in real:
            sums["from"] += float((found.centres[scene] - box[:3]).square().sum(dim=1).min())
    over_positives = {
        name: value / positives
        for name, value in sums.items()
        if name not in ("objectness", "from")
    }
    center = over_positives.pop("to") + sums["from"] / objects
    return {"objectness": sums["objectness"] / judged, "center": center, **over_positives}


def losses(clusters: Tensor, found: ProposalOutputs, config: VoteNetLoss) -> dict[str, float]:
    padded = PaddedTruth.of(TRUTH, SCENES, least=8)
    assignment = assign(clusters, padded, config)
    terms = proposal_losses(found, assignment, padded, HeadingBins(BINS), MEAN, config)
    return {name: float(value) for name, value in terms.items()}


@pytest.mark.parametrize("padded_truth", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_terms_equal_loops(padded_truth: bool, seed: int) -> None:
    config = VoteNetLoss(padded_truth=padded_truth)
    found = outputs(seed)
    assert losses(*found, config) == pytest.approx(by_loops(*found, config), rel=1e-5)


def test_a_padded_ground_truth_makes_proposals_near_the_origin_positive() -> None:
    clusters, _ = outputs()
    padded = PaddedTruth.of(TRUTH, SCENES, least=8)
    as_published = assign(clusters, padded, VoteNetLoss())
    mended = assign(clusters, padded, VoteNetLoss(padded_truth=False))
    gained = as_published.positive & ~mended.positive
    assert gained.sum() == 2 * SCENES  # the clusters at 0.1 and 0.25 m
    assert not clusters[gained].norm(dim=-1).ge(0.3).any()
    assert (as_published.owner[gained] >= torch.tensor([2, 2, 1, 1])).all()  # padded rows
    assert mended.used[gained].all()
    assert not mended.positive[gained].any()


def test_a_batch_without_boxes_trains_objectness_alone() -> None:
    clusters, found = outputs()
    none = GroundTruth(torch.zeros(0, 7), *(torch.zeros(0, dtype=torch.int64) for _ in range(2)))
    padded = PaddedTruth.of(none, SCENES, least=8)
    config = VoteNetLoss(padded_truth=False)
    assignment = assign(clusters, padded, config)
    assert not assignment.positive.any()
    assert assignment.used.all()
    leaf = replace(
        found, **{f.name: getattr(found, f.name).detach().requires_grad_() for f in fields(found)}
    )
    terms = proposal_losses(leaf, assignment, padded, HeadingBins(BINS), MEAN, config)
    values = {name: value.item() for name, value in terms.items()}
    assert {name for name, value in values.items() if value} == {"objectness"}
    assert math.isfinite(values["objectness"])
    torch.stack([*terms.values()]).sum().backward()
    gradients = [getattr(leaf, f.name).grad for f in fields(leaf)]
    assert all(bool(torch.isfinite(g).all()) for g in gradients if g is not None)


def test_decoded_boxes_have_their_targets() -> None:
    """ProposalOutputs that equal a box's targets decode to this box."""
    from sr3d.detectors.votenet.loss import BoxTargets

    bins = HeadingBins(BINS)
    padded = PaddedTruth.of(TRUTH, SCENES, least=2)
    owner = torch.tensor([[0, 1], [0, 0]])
    targets = BoxTargets.of(padded, owner, bins, MEAN)
    boxes = padded.boxes.gather(1, owner[..., None].expand(-1, -1, 7))
    found = ProposalOutputs(
        torch.zeros(SCENES, 2, 2),
        boxes[..., :3],
        torch.eye(BINS)[targets.heading],
        targets.heading_offset[..., None].expand(-1, -1, BINS),
        torch.eye(CLASSES)[targets.label],
        targets.size_offset[:, :, None].expand(-1, -1, CLASSES, -1),
        torch.eye(CLASSES)[targets.label],
    )
    torch.testing.assert_close(decode(found, bins, MEAN), boxes)


def test_sums_run_over_all_processes() -> None:
    """The terms of two processes' scenes add up to those of one batch."""
    clusters, found = outputs()
    config, bins = VoteNetLoss(), HeadingBins(BINS)
    padded = PaddedTruth.of(TRUTH, SCENES, least=8)
    whole = assign(clusters, padded, config)
    expected = proposal_losses(found, whole, padded, bins, MEAN, config)
    everywhere = torch.stack([whole.positive.sum(), whole.used.sum(), padded.real.sum()])
    shares = []
    for i in range(SCENES):
        own = replace(found, **{f.name: getattr(found, f.name)[i : i + 1] for f in fields(found)})
        truth = PaddedTruth(*(x[i : i + 1] for x in (padded.boxes, padded.labels, padded.real)))
        part = Assignment(*(x[i : i + 1] for x in (whole.owner, whole.positive, whole.used)))
        shares.append(proposal_losses(own, part, truth, bins, MEAN, config, lambda _: everywhere))
    for name, value in expected.items():
        torch.testing.assert_close(sum(share[name] for share in shares), value)
