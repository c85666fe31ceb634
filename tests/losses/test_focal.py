import math

import pytest
import torch

from sr3d.losses.focal import class_targets, focal_loss, without_ignored


def literal(logits, targets, alpha, gamma):
    """Lin et al. 2017b, Eq. 5, one class at a time."""
    loss = torch.zeros_like(logits)
    for i, row in enumerate(logits.tolist()):
        for c, x in enumerate(row):
            p = 1 / (1 + math.exp(-x))
            if targets[i] == c:
                loss[i, c] = -alpha * (1 - p) ** gamma * math.log(p)
            else:
                loss[i, c] = -(1 - alpha) * p**gamma * math.log(1 - p)
    return loss


def test_values_by_hand():
    # p = 1/2: target 0.25 · 1/4 · ln 2 = 0.0433217; other classes 0.75 · 1/4 · ln 2 = 0.1299651.
    loss = focal_loss(torch.zeros(2, 2), torch.tensor([1, -1]))
    expected = torch.tensor([[0.1299651, 0.0433217], [0.1299651, 0.1299651]])
    torch.testing.assert_close(loss, expected)
    # p = 0.8 = sigmoid(ln 4): target 0.25 · 0.04 · ln 1.25, other 0.75 · 0.64 · ln 5.
    loss = focal_loss(torch.full((1, 2), math.log(4.0)), torch.tensor([0]))
    torch.testing.assert_close(loss, torch.tensor([[0.01 * 0.2231436, 0.48 * 1.6094379]]))


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.7, 0.5), (0.5, 0.0)])
def test_equals_the_literal_transcription(alpha, gamma):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(40, 5, generator=generator, dtype=torch.float64) * 3
    targets = torch.randint(-1, 6, (40,), generator=generator)  # -1 and 5 are background
    expected = literal(logits, targets, alpha, gamma)
    torch.testing.assert_close(focal_loss(logits, targets, alpha=alpha, gamma=gamma), expected)
    one_hot = targets[:, None] == torch.arange(5)
    torch.testing.assert_close(focal_loss(logits, one_hot, alpha=alpha, gamma=gamma), expected)


def test_gradient():
    logits = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 1, 2, -1, 3, 1])
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, targets), logits)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_extreme_logits_stay_finite(gamma):
    logits = torch.tensor([[-1e4, 1e4, -200.0, 200.0]]).T.requires_grad_()
    for target in (0, -1):
        loss = focal_loss(logits, torch.full((4,), target), gamma=gamma)
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert loss.isfinite().all()
        assert gradient.isfinite().all()
    # A confident mistake costs its logit: -ln p = 1e4 where p = sigmoid(-1e4), times alpha.
    assert focal_loss(logits, torch.zeros(4, dtype=torch.int64))[0, 0].item() == 0.25 * 1e4


def test_no_anchors_and_no_classes_hit():
    assert focal_loss(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)).shape == (0, 4)


def test_class_targets():
    assigned = torch.tensor([2, -1, 0, 2])
    assert class_targets(assigned, torch.tensor([7, 8, 9])).tolist() == [9, -1, 7, 9]
    assert class_targets(torch.tensor([-1, -1]), torch.zeros(0, dtype=torch.int64)).tolist() == [
        -1,
        -1,
    ]


def test_ignored_rows_have_neither_loss_nor_gradient():
    matches, labels = torch.tensor([0, -1, -2, 1]), torch.tensor([2, 0])
    targets = class_targets(matches, labels)
    assert targets.tolist() == [2, -1, -2, 0]
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = focal_loss(logits, targets)
    kept = torch.tensor([0, 1, 3])
    torch.testing.assert_close(loss[kept], focal_loss(logits[kept], targets[kept]))
    assert loss[2].tolist() == [0, 0, 0]
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert (gradient[2] == 0).all()
    assert (gradient[kept] != 0).all()
    assert without_ignored(torch.ones(4, 3), matches).sum(dim=1).tolist() == [3, 3, 0, 3]
