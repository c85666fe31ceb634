"""QFL and VFL against worked values and a literal transcription of their formulas."""

import math

import pytest
import torch

from sr3d.losses.positives import Positives
from sr3d.losses.quality import quality_focal_loss, quality_targets, varifocal_loss

DOUBLE = torch.float64
LN2 = math.log(2)


def literal(kind: str, p: float, q: float) -> float:
    """One anchor and class, as the articles write it."""
    entropy = -(q * math.log(p) + (1 - q) * math.log(1 - p))
    if kind == "qfl":
        return abs(q - p) ** 2 * entropy
    return q * entropy if q > 0 else 0.75 * p**2 * -math.log(1 - p)


def test_by_hand():
    logits = torch.zeros(1, 2, dtype=DOUBLE)  # p = 1/2
    targets = torch.tensor([[0.8, 0.0]], dtype=DOUBLE)
    # QFL: 0.3² ln 2 and 0.5² ln 2; VFL: 0.8 ln 2 and 0.75 · 0.25 ln 2.
    assert quality_focal_loss(logits, targets).tolist() == [pytest.approx([0.09 * LN2, 0.25 * LN2])]
    assert varifocal_loss(logits, targets).tolist() == [pytest.approx([0.8 * LN2, 0.1875 * LN2])]


@pytest.mark.parametrize(("kind", "loss"), [("qfl", quality_focal_loss), ("vfl", varifocal_loss)])
def test_equal_to_the_literal_formula(kind, loss):
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(20, 4, generator=draw, dtype=DOUBLE) * 3
    targets = torch.rand(20, 4, generator=draw, dtype=DOUBLE) * (
        torch.rand(20, 4, generator=draw) < 0.3
    )
    pairs = zip(logits.flatten().sigmoid().tolist(), targets.flatten().tolist(), strict=True)
    expected = torch.tensor([literal(kind, p, q) for p, q in pairs], dtype=DOUBLE)
    torch.testing.assert_close(loss(logits, targets).flatten(), expected)


@pytest.mark.parametrize("loss", [quality_focal_loss, varifocal_loss])
def test_a_positive_is_best_where_its_score_is_its_overlap(loss):
    scores = torch.linspace(0.01, 0.99, 99, dtype=DOUBLE)
    target = torch.full((99, 1), 0.6, dtype=DOUBLE)
    assert scores[loss(torch.logit(scores)[:, None], target).argmin()].item() == pytest.approx(0.6)


@pytest.mark.parametrize("loss", [quality_focal_loss, varifocal_loss])
def test_extreme_logits_stay_finite_with_their_gradients(loss):
    logits = torch.tensor([[-200.0, 200.0], [200.0, -200.0]], requires_grad=True)
    total = loss(logits, torch.tensor([[0.5, 0.0], [0.0, 1.0]])).sum()
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(logits.grad).all()


def test_targets_hold_the_overlap_on_the_true_class_alone():
    assigned, labels = torch.tensor([1, -1, 0, 1]), torch.tensor([2, 0])
    ious = torch.tensor([0.5, 1.5, 0.25], requires_grad=True)
    positives = Positives.of(assigned)
    targets = quality_targets(torch.zeros(4, 3), positives, labels, ious)
    assert targets.tolist() == [[0.5, 0, 0], [0, 0, 0], [0, 0, 1.0], [0.25, 0, 0]]
    assert not targets.requires_grad
    filled = quality_targets(torch.zeros(4, 3), positives, labels, torch.cat([ious, ious[:1]]))
    assert torch.equal(filled, targets)


def test_a_positive_that_misses_is_a_negative_of_vfl():
    logits = torch.tensor([[1.0]])
    zero = torch.zeros(1, 1)
    p = logits.sigmoid()
    expected = 0.75 * p**2 * -torch.log(1 - p)
    torch.testing.assert_close(varifocal_loss(logits, zero), expected)
